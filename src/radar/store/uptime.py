"""Notices that the database server was restarted: it may hold an older copy of the data since."""

import time

from radar.store.client import Store

UPTIME = "SELECT uptime(), hostName()"


class ServerUptime:
    """The uptime of each database server, compared with this machine's monotonic clock.

    `uptime()` counts whole seconds. So a restart is noticed unless the server had run for less
    than about a second when it was last asked. In a cluster several servers may answer, also behind
    one address; they are told apart by their host names, which must stay the same there.

    Attributes:
        server: The host name of the server of a cluster that was asked last; else empty.
    """

    def __init__(self, store: Store) -> None:
        """Know no server yet; does not block."""
        self._store = store
        self._started_before_s: dict[str, float] = {}  # monotonic; the newest possible start
        self.server = ""

    def was_restarted(self) -> bool:
        """Return whether the server that answers was restarted since it last did; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
        """
        asked_s = time.monotonic()
        ((uptime_s, server),) = self._store.rows(UPTIME)
        self.server = str(server) if self._store.cluster else ""
        known_s = self._started_before_s.get(self.server)
        started_after_s = asked_s - int(uptime_s) - 1
        self._started_before_s[self.server] = time.monotonic() - int(uptime_s)
        return known_s is not None and started_after_s > known_s

    def least_s(self) -> int:
        """Return the uptime that `server` has at least, unless it was restarted since."""
        if self.server not in self._started_before_s:
            return 0
        return max(0, int(time.monotonic() - self._started_before_s[self.server]))
