"""The bounds of an HTTP server, and the register of its connections."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of an HTTP server.

    Attributes:
        head_bytes: Size of a head, its URL included; also of the parts of a request that belong
            neither to its head nor to its body.
        headers: Number of fields in a head.
        head_timeout_s: Time for a whole head, from the opening of the connection or the first byte.
        body_timeout_s: Time for a whole body, from the end of the head.
        take_timeout_s: Time for a client to take the bytes that wait for it.
        pipelined: Number of requests that wait for the answer to an earlier one.
        unadmitted: Number of connections that are not admitted yet.
        connections: Number of all connections.
    """

    head_bytes: int = 64 * 1024
    headers: int = 100
    head_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    take_timeout_s: float = 60.0
    pipelined: int = 16
    unadmitted: int = 200
    connections: int = 1000


class ConnectionRegister:
    """The connections of one server; ends the oldest unadmitted one where there are too many.

    So a client with many connections cannot keep others away. It is for one thread.
    """

    def __init__(self, bounds: Bounds) -> None:
        """Start without a connection; the numbers of connections in `bounds` apply."""
        self._bounds = bounds
        # In the order in which they came.
        self._unadmitted: dict[Hashable, Callable[[], object]] = {}
        self._admitted: set[Hashable] = set()

    def add(self, connection: Hashable, end: Callable[[], object]) -> None:
        """Register an unadmitted connection; perhaps end the oldest one, or this one."""
        self._unadmitted[connection] = end
        if (
            len(self._unadmitted) > self._bounds.unadmitted
            or len(self._unadmitted) + len(self._admitted) > self._bounds.connections
        ):
            self._unadmitted.pop(next(iter(self._unadmitted)))()

    def admit(self, connection: Hashable) -> None:
        """Note that the client of a connection has proved who it is."""
        if self._unadmitted.pop(connection, None):
            self._admitted.add(connection)

    def remove(self, connection: Hashable) -> None:
        """Forget a connection."""
        self._unadmitted.pop(connection, None)
        self._admitted.discard(connection)
