"""Evidence that the engine works: a query every few seconds, and an end if it answers no more.

After some errors, such as a stack overflow, chDB refuses every query or never answers again, while
its process lives. Then a new process is the only help, so this one ends.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

BEAT_S = 5.0
LATE_S = 15.0  # a health check fails
DEAD_S = 60.0  # also on a machine that is far too busy, a query of a constant takes less
EXIT_CODE = 70  # EX_SOFTWARE


class Liveness:
    """Asks the engine for a constant, again and again.

    An answer counts, also a refusal for want of memory: the engine works.
    """

    def __init__(
        self, probe: Callable[[], object], *, end: Callable[[str], None] | None = None
    ) -> None:
        """Begin with the evidence of now.

        Args:
            probe: Asks the engine; blocks until the answer. If it raises, there was none.
            end: Ends the process, for a reason.
        """
        self._probe = probe
        self._end = end or end_process
        self._answered_s = time.monotonic()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start to ask, in threads that end with the process."""
        for work in (self._beat, self._check_age):
            threading.Thread(target=work, name="liveness", daemon=True).start()

    def stop(self) -> None:
        """Ask no more, and end nothing."""
        self._stopped.set()

    @property
    def age_s(self) -> float:
        """How old the newest answer is, in seconds."""
        return time.monotonic() - self._answered_s

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_S):
            with suppress(Exception):
                self._probe()
                self._answered_s = time.monotonic()

    def _check_age(self) -> None:
        # The first look after a pause of the whole process finds an old answer, too.
        was_late = False
        while not self._stopped.wait(BEAT_S):
            is_late = self.age_s > DEAD_S
            if is_late and was_late:
                self._end(f"the engine has not answered for {self.age_s:.0f} s")
            was_late = is_late


def end_process(reason: str) -> None:
    """End this process at once, with a line that says why: its supervisor starts it again."""
    sys.stderr.write(f"clickhouse: {reason}; this process ends, to be started again\n")
    sys.stderr.flush()
    os._exit(EXIT_CODE)
