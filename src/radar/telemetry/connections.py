"""The connections of a producer to its exchange, as the producer serves them."""

import time
from collections.abc import Iterable

import msgspec
from msgspec import Struct


class SeenConnection(Struct, frozen=True):
    """The facts about one connection; times are Unix times in seconds."""

    name: str
    markets: int
    opened_at_s: float
    last_frame_at_s: float | None
    frames: int


class ReportedConnection(Struct, frozen=True):
    """The facts about one connection at the moment of a request."""

    name: str
    markets: int
    age_s: float
    last_frame_age_s: float | None
    frames: int


class Connections:
    """The newest facts about all connections; one thread updates them, any other may read them."""

    def __init__(self) -> None:
        self._shown: tuple[SeenConnection, ...] = ()

    def show(self, seen: Iterable[SeenConnection]) -> None:
        """Replace the facts."""
        self._shown = tuple(seen)

    def as_json(self) -> bytes:
        """Return the connections, the oldest first, as JSON."""
        now_s = time.time()
        shown = sorted(self._shown, key=lambda each: each.opened_at_s)
        listed = [
            ReportedConnection(
                each.name,
                each.markets,
                round(now_s - each.opened_at_s, 3),
                each.last_frame_at_s and round(max(0.0, now_s - each.last_frame_at_s), 3),
                each.frames,
            )
            for each in shown
        ]
        return msgspec.json.encode(listed) + b"\n"


def parse(answer: bytes) -> list[ReportedConnection]:
    """Parse a producer's answer.

    Raises:
        ValueError: It has another form.
    """
    return msgspec.json.decode(answer, type=list[ReportedConnection])
