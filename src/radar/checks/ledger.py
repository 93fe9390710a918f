"""The ledger of a simulated exchange, read for a comparison."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import radar_simulator
from radar.errors import RadarError
from radar_simulator import InvalidLedger, LedgerTrade


def trades(path: Path) -> Iterator[LedgerTrade]:
    """Yield the trades of a ledger in the order in which they happened; blocks.

    Raises:
        RadarError: The file is not a whole ledger.
        OSError: The file cannot be read.
    """
    with _translated():
        yield from radar_simulator.stream_ledger(path)


def started_us(path: Path) -> int:
    """Return when the simulated exchange started, Unix time in microseconds; blocks.

    Raises:
        RadarError: The file is not a ledger.
        OSError: The file cannot be read.
    """
    with _translated():
        return radar_simulator.ledger_started_us(path)


def exchange(path: Path) -> str:
    """Return the name of the exchange that the simulated one imitates; blocks.

    Raises:
        RadarError: The file is not a ledger.
        OSError: The file cannot be read.
    """
    with _translated():
        return radar_simulator.ledger_exchange(path)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except InvalidLedger as error:
        raise RadarError(str(error)) from error
