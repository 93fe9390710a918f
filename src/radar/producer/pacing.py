"""When to retry, when to give up a silent connection, and how fast to send requests."""

import asyncio
import random
import time


class Backoff:
    """Waits that grow exponentially, with full jitter: from zero to the limit.

    Full jitter spreads connections that were lost together.
    """

    def __init__(self, max_s: float, first_s: float = 0.5) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._failures = 0

    def next(self) -> float:
        """Return how long to wait after one more failure, in seconds."""
        limit = min(self._max_s, self._first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return random.uniform(0, limit)  # noqa: S311 - spreads load, keeps no secret

    def reset(self) -> None:
        """Start over after a success."""
        self._failures = 0


class Pace:
    """Lets callers through one after the other, at a bounded rate."""

    def __init__(self, per_second: float) -> None:
        self._spacing_s = 1 / per_second
        self._next = 0.0

    async def turn(self, cost_s: float = 0.0) -> None:
        """Wait for the caller's turn; the next caller waits for `cost_s`, if that is longer."""
        now = time.monotonic()
        mine = max(now, self._next)
        self._next = mine + max(self._spacing_s, cost_s)
        if mine > now:
            await asyncio.sleep(mine - now)


class StallTimeout:
    """How long the connections of a shard may be silent before they count as dead.

    The exchange pings about every 20 seconds. A live connection would then never be silent for
    long, and the timeout alone would do. But that ping is unconfirmed, and a market without trades
    is quiet for hours. So silence means death at once only where frames came often. A connection
    with rare frames is given up as well, but its successor gets twice the time, until a connection
    lives to be rotated. (The WebSocket protocol's own pings find dead sockets anyway.)

    Attributes:
        tick_s: How often `StallDetector.tick` of each connection is to be called, in seconds.
        rare_ticks: Ticks of silence that a connection with rare frames is allowed.
    """

    TIMEOUT_TICKS = 10

    def __init__(self, timeout_s: float, max_s: float) -> None:
        self.tick_s = timeout_s / self.TIMEOUT_TICKS
        self.rare_ticks = self.TIMEOUT_TICKS
        self._max_ticks = max(self.TIMEOUT_TICKS, int(max_s / self.tick_s))

    def grow(self) -> None:
        """Give the next connection more time: this one may only have been quiet."""
        self.rare_ticks = min(2 * self.rare_ticks, self._max_ticks)

    def reset(self) -> None:
        """Start over: a connection lived long enough."""
        self.rare_ticks = self.TIMEOUT_TICKS


class StallDetector:
    """Detects silence of one connection. Pure: time passes with each `tick`."""

    OFTEN_TICKS = 3  # frames come often: so many ticks with frames, and at least every second one

    def __init__(self, timeout: StallTimeout) -> None:
        self._timeout = timeout
        self._frames = 0
        self._ticks = 0
        self._active = 0
        self._silent = 0

    def tick(self, frames: int) -> bool:
        """Count one more tick; return whether the connection has been silent for too long.

        Args:
            frames: Frames received on the connection so far.
        """
        self._ticks += 1
        if frames != self._frames:
            self._frames = frames
            self._active += 1
            self._silent = 0
            return False
        self._silent += 1
        busy_ticks = self._ticks - self._silent
        if self._active >= self.OFTEN_TICKS and 2 * self._active >= busy_ticks:
            return self._silent >= StallTimeout.TIMEOUT_TICKS
        if self._silent < self._timeout.rare_ticks:
            return False
        self._timeout.grow()
        return True
