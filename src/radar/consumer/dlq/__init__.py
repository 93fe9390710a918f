"""The dead-letter queue: workers write it, operators list, replay and purge it."""
