"""Which server of a replicated ClickHouse to use: pure.

All servers take inserts and reads. A process uses one until it fails, then the next one. A failed
server is avoided for `AVOID_FAILED_S`, unless all have failed.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from radar.settings import Settings
from radar.text import host_port

AVOID_FAILED_S = 30.0


class Server(NamedTuple):
    """The address of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as host:port."""
        return host_port(*self)


class Replicas:
    """The servers of one cluster, and which of them have failed lately.

    Attributes:
        servers: All of them, in this process's order of preference.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        """Begin without failures; at least one server."""
        self.servers = list(servers)
        self._avoided_until_s: dict[Server, float] = {}

    def in_order(self, now_s: float) -> Iterator[Server]:
        """Yield all servers: those without a recent failure first, then the oldest failure first.

        Args:
            now_s: Monotonic time.
        """
        yield from sorted(
            self.servers,
            key=lambda each: max(0.0, self._avoided_until_s.get(each, 0.0) - now_s),
        )

    def failed(self, server: Server, now_s: float) -> None:
        """Avoid a server for a while."""
        self._avoided_until_s[server] = now_s + AVOID_FAILED_S


def servers(settings: Settings) -> list[Server]:
    """Return the servers that the options name, in the order for this process.

    The order begins at a place that follows from WORKER_ID, so workers spread over the servers.
    """
    named = [Server(settings.clickhouse_host, settings.clickhouse_port)]
    for value in settings.clickhouse_replicas:
        host, separator, port = value.rpartition(":")
        if not separator or value.endswith("]"):
            host, port = value, str(settings.clickhouse_port)
        named.append(Server(host.strip("[]"), int(port)))
    distinct = list(dict.fromkeys(named))
    first = zlib.crc32(settings.worker_id.encode()) % len(distinct) if settings.worker_id else 0
    return distinct[first:] + distinct[:first]
