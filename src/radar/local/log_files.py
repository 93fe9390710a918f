"""Bounds the logs of `radar up`: large files are rotated while their processes write.

A process keeps its log open as its standard output and error, so another process cannot replace the
file. Rotation therefore copies the file and then empties it. Every writer opens its log to append
(O_APPEND), so its next line begins at the start of the emptied file.

Limits: lines that a process writes between the end of the copy and the emptying, some
microseconds, are not in the copy. A file that grew by more than COPIED_SIZES times the limit
between two looks keeps only its end; the log of `radar up` names the dropped bytes.
"""

import os
from pathlib import Path

import structlog

KEPT_FILES = 5  # of each process: NAME.log and NAME.log.1 to NAME.log.4, the oldest last
COPIED_SIZES = 2  # the largest copied part of a file, in multiples of the limit
CHUNK_BYTES = 1_048_576

_log = structlog.get_logger()


class LogFiles:
    """The logs of one folder."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Prepare.

        Args:
            folder: The folder of files named NAME.log.
            max_bytes: A larger file is rotated.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._failed: set[Path] = set()

    def rotate(self) -> None:
        """Rotate every file above the limit; blocks for the time of a copy.

        A full disk ends no process: a file that cannot be copied is emptied at COPIED_SIZES times
        the limit, and the log names the file.
        """
        for path in sorted(self._folder.glob("*.log")):
            try:
                size_bytes = path.stat().st_size
                if size_bytes > self._max_bytes:
                    self._rotate(path, size_bytes)
                    self._failed.discard(path)
            except OSError as error:
                self._report(path, error)

    def _rotate(self, path: Path, size_bytes: int) -> None:
        dropped_bytes = max(0, size_bytes - COPIED_SIZES * self._max_bytes)
        try:
            _copy(path, self._make_room(path), dropped_bytes)
        except OSError:
            if dropped_bytes:
                os.truncate(path, 0)
            raise
        os.truncate(path, 0)
        if dropped_bytes:
            _log.warning("log kept only its end", file=str(path), dropped_bytes=dropped_bytes)

    def _make_room(self, path: Path) -> Path:
        """Delete the oldest file, rename the others and return the free name."""
        numbered = [path.with_name(f"{path.name}.{n}") for n in range(1, KEPT_FILES)]
        numbered[-1].unlink(missing_ok=True)
        for older, newer in zip(numbered[:0:-1], numbered[-2::-1], strict=True):
            if newer.exists():
                newer.replace(older)
        return numbered[0]

    def _report(self, path: Path, error: OSError) -> None:
        """Log a failure once until it has passed: its line needs space as well."""
        if path not in self._failed:
            self._failed.add(path)
            _log.error("log not rotated", file=str(path), error=error.strerror)


def _copy(source: Path, target: Path, start_bytes: int) -> None:
    """Copy a file from some byte on, up to its end at the moment of the last read."""
    try:
        with source.open("rb") as read, target.open("wb", buffering=0) as written:
            read.seek(start_bytes)
            while chunk := read.read(CHUNK_BYTES):
                left = memoryview(chunk)
                while left:
                    left = left[written.write(left) :]
    except OSError:
        target.unlink(missing_ok=True)
        raise
