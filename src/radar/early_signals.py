"""Ends a command at its start when SIGTERM or SIGINT comes: at once, without a traceback.

The command line imports this module before all others, because their imports take most of the time
of a start. Commands that hold resources replace these handlers with their own.
"""

import os
import signal
import sys
from types import FrameType

SIGNAL_EXIT = 128  # a shell's exit code for a signal: this and the signal's number
_OWN = ("/radar", "/radar/__main__.py")


def leave(number: int, _frame: FrameType | None = None) -> None:
    """End this process as the signal itself would."""
    if os.getpid() != 1:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    # Linux gives process 1 no default action.
    os._exit(SIGNAL_EXIT + number)


def leave_on_signals() -> None:
    """Install the handlers, but not for a signal that was ignored at the start (`nohup`)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, leave)


def interrupt_again() -> None:
    """Let SIGINT raise KeyboardInterrupt again, for commands that end with it in their own way."""
    if signal.getsignal(signal.SIGINT) is leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Other programs import the command line as well: tests, and the forkserver.
if f"/{sys.argv[0]}".endswith(_OWN):
    leave_on_signals()
