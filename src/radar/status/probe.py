"""A repeated probe that never makes its caller wait long for an answer."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from radar.errors import RadarError

SLOW_AFTER_S = 5.0  # a subject without an answer for this long counts as silent
MEASURED = 3  # answers, the quickest of which shows the cost of one
KEPT_S = 10.0  # an answer holds for this long when no newer one comes

_Answer = TypeVar("_Answer")


class Probe(Generic[_Answer]):
    """Probes in threads of its own, one at a time. Its methods are for one thread.

    Attributes:
        answered_at_s: When the newest answer came, in monotonic seconds.
        answer_asked_at_s: When that probe began.
    """

    def __init__(
        self,
        subject: str,
        ask: Callable[[], _Answer],
        every_s: float = 0.0,
        share: float = 1.0,
        first_after_s: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            subject: The name of the subject, as a sentence begins.
            ask: Blocks for as long as it likes; raises a RadarError or an OSError.
            every_s: Probe this often at most.
            share: The largest part of the time that probes may take.
            first_after_s: Do not probe before this time from now.
        """
        self._subject = subject
        self._ask = ask
        self._every_s = every_s
        self._share = share
        self._done = threading.Event()
        self._done.set()
        self._asked_at_s = self._holds_until_s = 0.0
        self._made_at_s = time.monotonic()
        self._next_at_s = self._made_at_s + first_after_s
        self.answered_at_s = self.answer_asked_at_s = 0.0
        self._lasted_s: deque[float] = deque(maxlen=MEASURED)
        self._answer: _Answer | None = None
        self._error: str | None = None

    def begin(self) -> None:
        """Start a probe if it is time and none runs; does not block."""
        now_s = time.monotonic()
        if self._done.is_set() and now_s >= self._next_at_s:
            self._done.clear()
            self._asked_at_s = now_s
            threading.Thread(target=self._run, name=f"ask {self._subject}", daemon=True).start()

    def wait(self, deadline_s: float) -> bool:
        """Wait for the running probe until a monotonic time; return whether none runs any more."""
        return self._done.wait(max(0.0, deadline_s - time.monotonic()))

    @property
    def answer(self) -> _Answer | None:
        """The newest answer, if it still holds."""
        return self._answer if time.monotonic() < self._holds_until_s else None

    @property
    def age_s(self) -> float | None:
        """The age of the newest answer, from the start of its probe; None if there was none."""
        return time.monotonic() - self.answer_asked_at_s if self.answered_at_s else None

    @property
    def known_s(self) -> float:
        """The age of this object."""
        return time.monotonic() - self._made_at_s

    @property
    def error(self) -> str | None:
        """Why the last probe failed; None if it did not."""
        return self._error

    @property
    def trouble(self) -> str | None:
        """The same, or that the subject has not answered for long."""
        waits_s = time.monotonic() - self._asked_at_s
        if not self._done.is_set() and waits_s > SLOW_AFTER_S:
            return self._error or f"{self._subject} has not answered for {waits_s:.0f} s"
        return self._error

    def _run(self) -> None:
        answered = False
        try:
            self._answer = self._ask()
        except (RadarError, OSError) as error:
            self._error = str(error) or type(error).__name__
        except BaseException as error:
            self._error = f"{type(error).__name__}: {error}"
            raise
        else:
            self._error, answered = None, True
        finally:
            lasted_s = time.monotonic() - self._asked_at_s
            self._next_at_s = self._asked_at_s + max(self._every_s, lasted_s)
            if answered:
                # One measurement is not enough: the first answer is slow, as on a busy machine.
                self._lasted_s.append(lasted_s)
                if len(self._lasted_s) > 1:
                    self._next_at_s = max(
                        self._next_at_s, self._asked_at_s + min(self._lasted_s) / self._share
                    )
                self.answer_asked_at_s = self._asked_at_s
                self.answered_at_s = self._asked_at_s + lasted_s
                self._holds_until_s = max(self._next_at_s, self.answered_at_s) + KEPT_S
            self._done.set()
