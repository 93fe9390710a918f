"""The time of this machine in the unit of records."""

import time


def unix_us() -> int:
    """Return the Unix time in microseconds. The system may set it; measure spans otherwise."""
    return time.time_ns() // 1000
