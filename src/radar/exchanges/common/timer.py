"""When a stream that reads no clock has to send again."""


class Timer:
    """Is due at the first call, and then at an interval. Pure."""

    def __init__(self, interval_us: int) -> None:
        self._interval_us = interval_us
        self._due_us = 0

    def take(self, now_us: int) -> bool:
        """Return whether it is due now; a clock that was set back does not stop it."""
        if self._due_us - self._interval_us <= now_us < self._due_us:
            return False
        self._due_us = now_us + self._interval_us
        return True

    @property
    def due_us(self) -> int:
        """When it is due next, Unix time in microseconds."""
        return self._due_us
