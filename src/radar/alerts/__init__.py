"""Alerts that reach people without Prometheus: conditions, messages, and their delivery."""
