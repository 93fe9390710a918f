"""What people and machines learn of radar: metrics, health, logs, and the facts of every view."""
