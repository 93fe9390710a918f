"""What a child process of the supervisor does about its own life."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
SUPERVISOR_VARIABLE = "RADAR_SUPERVISOR_PID"


def follow_supervisor() -> None:
    """Ask Linux to send SIGTERM when the supervisor dies, however it dies.

    Does nothing without a supervisor or on another system. Survives exec.
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if not supervisor or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # It may have died before the call.
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal.SIGTERM)
