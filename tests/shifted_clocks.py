"""`radar …` with clocks that a file shifts: `python tests/shifted_clocks.py FILE ARGUMENTS…`.

FILE holds two numbers of seconds: by how much the wall clock is ahead, and by how much the
monotonic clock is. A clock step changes the first; a suspended machine changes the second, because
its monotonic clock stands still. The file is read again several times a second.
"""

import sys
import time
from pathlib import Path

READ_EVERY_S = 0.05


class Clocks:
    """The real clocks, shifted."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._time_ns, self._monotonic_ns = time.time_ns, time.monotonic_ns
        self._read_at_ns = 0
        self._wall_ns = self._monotonic_shift_ns = 0

    def _read(self) -> None:
        now_ns = self._monotonic_ns()
        if now_ns - self._read_at_ns < READ_EVERY_S * 1e9:
            return
        wall_s, _, monotonic_s = self._file.read_text().partition(" ")
        if monotonic_s:
            self._read_at_ns = now_ns
            self._wall_ns, self._monotonic_shift_ns = (
                int(float(each) * 1e9) for each in (wall_s, monotonic_s)
            )

    def time_ns(self) -> int:
        self._read()
        return self._time_ns() + self._wall_ns

    def monotonic_ns(self) -> int:
        self._read()
        return self._monotonic_ns() + self._monotonic_shift_ns

    def install(self) -> None:
        """Let everything that is imported from now on see these clocks."""
        time.time_ns, time.monotonic_ns = self.time_ns, self.monotonic_ns
        time.time = lambda: self.time_ns() / 1e9
        time.monotonic = lambda: self.monotonic_ns() / 1e9


def write(file: Path, wall_s: float, monotonic_s: float) -> None:
    """Shift the clocks of the processes that read a file; readers never see half of it."""
    draft = file.with_suffix(".draft")
    draft.write_text(f"{wall_s} {monotonic_s}")
    draft.replace(file)


def main() -> None:
    Clocks(Path(sys.argv[1])).install()
    sys.argv = ["radar", *sys.argv[2:]]
    # Not above: what it imports shall see the shifted clocks.
    from radar.cli.main import main as radar

    radar()


if __name__ == "__main__":
    main()
