"""The pace of a replay: which recorded moment is shown when. Pure; the caller passes the time.

Times of the caller are seconds of any clock that does not go back; recorded moments are Unix time
in microseconds.
"""

import math

FASTEST = math.inf
"""The speed of a replay that waits only for its clients."""


class Pace:
    """A clock of the recorded time, which can be stopped, moved and made faster."""

    def __init__(self, moment_us: int, speed: float) -> None:
        """Stand still at a moment.

        Args:
            moment_us: The moment.
            speed: Recorded seconds a second, above 0; FASTEST: without waiting.
        """
        self.speed = speed
        self._moment_us = float(moment_us)
        self._since: float | None = None  # when the clock showed it; None: it stands still

    @property
    def is_running(self) -> bool:
        """Whether recorded time passes."""
        return self._since is not None

    def run(self, now: float) -> None:
        """Let time pass."""
        if self._since is None:
            self._since = now

    def stop(self, now: float) -> None:
        """Stand still."""
        self._moment_us = self.moment_us(now)
        self._since = None

    def set_speed(self, speed: float, now: float) -> None:
        """Let time pass at another speed from now on."""
        self._settle(now)
        self.speed = speed

    def seek(self, moment_us: int, now: float) -> None:
        """Go to a moment."""
        self._moment_us = float(moment_us)
        if self._since is not None:
            self._since = now

    def reached(self, moment_us: int, now: float) -> None:
        """Take that a moment is shown; the fastest clock only learns from this where it is."""
        if self.speed == FASTEST and moment_us > self._moment_us:
            self.seek(moment_us, now)

    def moment_us(self, now: float) -> float:
        """Return the moment that is shown."""
        if self._since is None or self.speed == FASTEST:
            return self._moment_us
        return self._moment_us + (now - self._since) * self.speed * 1e6

    def wait_s(self, moment_us: int, now: float) -> float:
        """Return how long a moment is still to come; 0: it is due; infinite: time stands still."""
        if self._since is None:
            return math.inf
        if self.speed == FASTEST:
            return 0.0
        return max(0.0, (moment_us - self.moment_us(now)) / 1e6 / self.speed)

    def _settle(self, now: float) -> None:
        self._moment_us = self.moment_us(now)
        if self._since is not None:
            self._since = now
