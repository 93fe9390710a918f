"""Standard output and error that may end before the command does.

The reader of a pipe may close it, a disk may be full, and a descriptor may be closed at the start.
A command that records must not end because of that.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

import structlog

_INPUT, _OUTPUT, _ERROR = 0, 1, 2


class LastingOutput(io.TextIOWrapper):
    """A text stream that raises no system error when the written text cannot be delivered."""

    def __init__(self, stream: TextIO, *, once: bool) -> None:
        """Replace a stream.

        Args:
            stream: The stream; no other code may write to it from now on.
            once: Report the first error on standard error, and write no more after it.
        """
        stream.flush()
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
        )
        self._once = once
        self._stream = stream  # keeps the descriptor open: the stream closes it with its last use

    def write(self, text: str) -> int:
        """Write; drop the text if the stream has ended."""
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Flush the written text; ignore the error if the stream has ended."""
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # A full disk may get free space again, and a log goes on then. A pipe has no second reader.
        if not self._once and error.errno != errno.EPIPE:
            return
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        if self._once:
            self._once = False
            why = error.strerror or str(error)
            structlog.get_logger().warning("standard output ended", error=why)
            with suppress(OSError):
                sys.stderr.write(f"radar: standard output ended ({why}); the command runs on\n")


def outlive(*, output: bool) -> None:
    """Let this process outlive its standard error and, if wanted, its standard output.

    It opens /dev/null for each of the three that is closed. Otherwise the next opened file would
    take the number, and libraries would print into it.
    """
    for number, mode in ((_INPUT, os.O_RDONLY), (_OUTPUT, os.O_WRONLY), (_ERROR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    sys.stdin = sys.stdin or open(_INPUT, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(_OUTPUT, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(_ERROR, "w", closefd=False)  # noqa: SIM115
    with suppress(OSError):
        sys.stderr = LastingOutput(sys.stderr, once=False)
    if output:
        with suppress(OSError):
            sys.stdout = LastingOutput(sys.stdout, once=True)
