"""Notices that the database server was restarted: it may hold an older copy of the data since."""

import time

from radar.store.client import Store

UPTIME = "SELECT uptime()"


class ServerUptime:
    """The uptime of the database server, compared with this machine's monotonic clock.

    `uptime()` counts whole seconds. So a restart is noticed unless the server had run for less
    than about a second when it was last asked.
    """

    def __init__(self, store: Store) -> None:
        """Know no server yet; does not block."""
        self._store = store
        self._started_before_s: float | None = None  # monotonic; the newest possible start

    def was_restarted(self) -> bool:
        """Return whether the server was restarted since the last call; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
        """
        asked_s = time.monotonic()
        ((uptime_s,),) = self._store.rows(UPTIME)
        known_s, started_after_s = self._started_before_s, asked_s - int(uptime_s) - 1
        self._started_before_s = time.monotonic() - int(uptime_s)
        return known_s is not None and started_after_s > known_s

    def least_s(self) -> int:
        """Return the uptime that the server has at least, unless it was restarted since."""
        if self._started_before_s is None:
            return 0
        return max(0, int(time.monotonic() - self._started_before_s))
