"""A simulated exchange that speaks Wallex's protocol on 127.0.0.1, faults included.

`main` runs it for the command line, `run` inside an event loop, and `simulator` as a context for
tests. The ledger records every sent frame.
"""

from radar_simulator.errors import InvalidLedger, InvalidOption, SimulatorError
from radar_simulator.faults import GARBAGE, Fault, FaultName, fault, parse_fault
from radar_simulator.ledger import (
    Ledger,
    LedgerSummary,
    LedgerTrade,
    ledger_exchange,
    ledger_started_us,
    read_ledger,
    stream_ledger,
)
from radar_simulator.options import SimulatorOptions
from radar_simulator.server import Simulator, main, run, simulator

__all__ = [
    "GARBAGE",
    "Fault",
    "FaultName",
    "InvalidLedger",
    "InvalidOption",
    "Ledger",
    "LedgerSummary",
    "LedgerTrade",
    "Simulator",
    "SimulatorError",
    "SimulatorOptions",
    "fault",
    "ledger_exchange",
    "ledger_started_us",
    "main",
    "parse_fault",
    "read_ledger",
    "run",
    "simulator",
    "stream_ledger",
]
