"""What a child process of the supervisor does about its own life."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
SUPERVISOR_VARIABLE = "RADAR_SUPERVISOR_PID"


def follow_supervisor(number: signal.Signals) -> None:
    """Ask Linux to send a signal when the supervisor dies, however it dies.

    Stores want SIGTERM, to save what they have. Producers and workers want SIGKILL: without
    their stores they could only wait, and they lose nothing by it.

    Does nothing without a supervisor or on another system. Survives exec.
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if not supervisor or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    # It may have died before the call.
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), number)
