"""The connections of a producer to its exchange, as it tells them to who asks."""

import time
from collections.abc import Iterable

import msgspec
from msgspec import Struct


class SeenConnection(Struct, frozen=True):
    """What a producer knows of one connection; times are Unix times in seconds."""

    name: str
    markets: int
    opened_at_s: float
    last_frame_at_s: float | None
    frames: int


class ReportedConnection(Struct, frozen=True):
    """The same at the moment in which somebody asks."""

    name: str
    markets: int
    age_s: float
    last_frame_age_s: float | None
    frames: int


class Connections:
    """What was seen last; one thread shows it, any other may ask."""

    def __init__(self) -> None:
        self._shown: tuple[SeenConnection, ...] = ()

    def show(self, seen: Iterable[SeenConnection]) -> None:
        """Replace what is told."""
        self._shown = tuple(seen)

    def as_json(self) -> bytes:
        """Return them, the oldest first, as JSON."""
        now_s = time.time()
        shown = sorted(self._shown, key=lambda each: each.opened_at_s)
        told = [
            ReportedConnection(
                each.name,
                each.markets,
                round(now_s - each.opened_at_s, 3),
                each.last_frame_at_s and round(max(0.0, now_s - each.last_frame_at_s), 3),
                each.frames,
            )
            for each in shown
        ]
        return msgspec.json.encode(told) + b"\n"


def parse(answer: bytes) -> list[ReportedConnection]:
    """Read what a producer told.

    Raises:
        ValueError: It is something else.
    """
    return msgspec.json.decode(answer, type=list[ReportedConnection])
