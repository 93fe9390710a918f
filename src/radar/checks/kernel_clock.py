"""Whether the kernel counts this machine's clock as synchronised; asks the kernel, no program.

A time service (chrony, systemd-timesyncd, ntpd) tells the kernel how exact the clock is. The
kernel lets that error grow and gives the clock up if the service stays away for hours.
"""

import ctypes
import os
import sys
from typing import NamedTuple

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class KernelClock(NamedTuple):
    """What the kernel says about its clock.

    Attributes:
        is_synchronised: None: the kernel does not say.
        max_error_s: The clock is at most so wrong, as its time service says; 0 if unknown.
        why_unknown: Why the kernel does not say; empty if it does.
    """

    is_synchronised: bool | None
    max_error_s: float = 0.0
    why_unknown: str = ""


class _Timex(ctypes.Structure):
    """`struct timex` of Linux, adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        # More than the rest of it takes in any version.
        ("rest", ctypes.c_long * 64),
    )


def read() -> KernelClock:
    """Ask the kernel, without changing the clock; does not block, needs no right."""
    if not sys.platform.startswith("linux"):
        return KernelClock(None, why_unknown=f"{sys.platform} has no adjtimex")
    timex = _Timex()  # no mode is set: only read
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError) as error:
        return KernelClock(None, why_unknown=f"no adjtimex: {error}")
    if state < 0:
        return KernelClock(None, why_unknown=f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return judged(state, timex.status, timex.maxerror)


def judged(state: int, status: int, max_error_us: int) -> KernelClock:
    """Read the answer of adjtimex(2): its result, `status` and `maxerror`."""
    return KernelClock(
        state != _TIME_ERROR and not status & _STA_UNSYNC, max(0, max_error_us) / 1e6
    )
