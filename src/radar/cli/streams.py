"""Standard output and error that may end before the command does.

The reader of a pipe may go away, a disk may be full, and a descriptor may be closed at the start.
A command that records must not end because of it.
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
    """A text stream that raises no error of the system when nobody takes what is written."""

    def __init__(self, stream: TextIO, *, once: bool) -> None:
        """Take the place of a stream.

        Args:
            stream: The stream; nothing else may write to it from now on.
            once: Report the first error on standard error, and write nothing more after it.
        """
        stream.flush()
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
        )
        self._once = once
        self._stream = stream  # it closes the descriptor when nobody holds it any more

    def write(self, text: str) -> int:
        """Write, if somebody takes it."""
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Pass on what was written, if somebody takes it."""
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # A full disk may get room again, and a log goes on then. A pipe has no second reader.
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

    Opens /dev/null for each of the three that is closed: the next file would take its number, and
    then everything that libraries print.
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
