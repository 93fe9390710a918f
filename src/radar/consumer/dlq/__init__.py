"""The dead-letter queue: written by workers, read, replayed."""
