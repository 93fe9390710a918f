"""What people and machines see of radar: metrics, logs, status, the live view."""
