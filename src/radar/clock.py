"""The time of this machine in the unit of records, and times as text."""

import time
from datetime import UTC, datetime

# Longer than the records of one frame take, at 1 µs each.
FRAME_US = 10_000

# Views and producers warn if the clocks of this machine and of an exchange differ by more for sure.
MOST_OFFSET_S = 1.0


def unix_us() -> int:
    """Return the Unix time in microseconds. The system may set it; measure spans otherwise."""
    return time.time_ns() // 1000


def utc_text(unix_s: float) -> str:
    """Return a Unix time as text, in whole seconds: 2026-07-01T00:00:00Z."""
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def received_after(received_at_us: int, newest_us: int) -> int:
    """Return when a record counts as received if another one came before it.

    Records of one frame arrive together, but two states of a book with one time would be one row.
    A clock that was set back is followed.

    Args:
        received_at_us: When its frame arrived, Unix time.
        newest_us: When the record before counts as received.
    """
    return (
        newest_us + 1 if received_at_us <= newest_us < received_at_us + FRAME_US else received_at_us
    )
