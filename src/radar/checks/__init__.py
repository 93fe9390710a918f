"""Checks of recorded data and of the environment: verify, coverage, doctor, disk."""
