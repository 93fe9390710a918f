"""Radar records cryptocurrency markets and never loses a message."""

__version__ = "0.1.0"
