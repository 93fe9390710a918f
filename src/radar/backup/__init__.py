"""Backups of the database: dated, incremental, pruned."""
