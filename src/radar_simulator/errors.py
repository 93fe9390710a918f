"""Errors of the simulated exchange; the text of each is one line."""


class SimulatorError(Exception):
    """Base of every error that the simulator raises on purpose."""


class InvalidOption(SimulatorError):
    """An option cannot be used: choose another value."""


class InvalidLedger(SimulatorError):
    """A file is not a ledger, or a damaged one: name another file."""
