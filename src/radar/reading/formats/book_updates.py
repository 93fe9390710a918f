"""Which book updates of a day make one consistent sequence of states of the book.

Several connections may record the same book, a connection may end, and an update may be missing.
A piece begins with a whole book and has no hole; pieces do not overlap.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from radar.datasets import BOOK_UPDATES
from radar.reading.formats.base import Day, rows_of
from radar.reading.query import Ask
from radar.store.queries import export_formats as queries


@dataclass(frozen=True)
class Run:
    """A part of a chain without a hole; times are Unix time in microseconds."""

    chain: str
    first_place: int
    last_place: int
    last_us: int
    books: tuple[tuple[int, int], ...]  # time and place of its whole books, in order


@dataclass(frozen=True)
class Piece:
    """Updates of a chain that follow one another, from a whole book on."""

    chain: str
    first_place: int
    last_place: int


@dataclass(frozen=True)
class Updates:
    """The chosen updates of a day."""

    pieces: tuple[Piece, ...]
    carried: bool  # the first goes on from the book of midnight

    @property
    def parameters(self) -> dict[str, str]:
        """Return the value of the placeholder `pieces`."""
        pieces = [[each.chain, each.first_place, each.last_place] for each in self.pieces]
        return {"pieces": json.dumps(pieces)}


def choose(runs: Sequence[Run]) -> tuple[Piece, ...]:
    """Return pieces that follow one another: each begins after the end of the one before."""
    pieces: list[Piece] = []
    covered_us = -1
    while True:
        begins = [
            (at_us, -run.last_us, place, run)
            for run in runs
            if (later := [book for book in run.books if book[0] > covered_us])
            for at_us, place in later[:1]
        ]
        if not begins:
            return tuple(pieces)
        _, _, place, run = min(begins, key=lambda begin: begin[:3])
        pieces.append(Piece(run.chain, place, run.last_place))
        covered_us = max(run.last_us, covered_us + 1)


def find(ask: Ask, day: Day) -> Updates:
    """Return the updates to export; blocks for two queries."""
    runs = [
        Run(
            chain,
            int(first),
            int(last),
            int(last_us),
            tuple((int(at_us), int(place)) for at_us, place in books),
        )
        for chain, first, last, _first_us, last_us, books in rows_of(
            ask, queries.RUNS, day.parameters
        )
    ]
    before = rows_of(ask, queries.BEFORE, day.parameters)
    carried = False
    for chain, place, complete in before:
        for n, run in enumerate(runs):
            if complete and (run.chain, run.first_place) == (chain, int(place) + 1):
                books = ((day.begins_us, run.first_place), *run.books)
                runs[n] = Run(run.chain, run.first_place, run.last_place, run.last_us, books)
                carried = True
    return Updates(choose(runs), carried)


def book(ask: Ask, day: Day) -> tuple[dict[str, str], bool | None]:
    """Return the placeholders of queries of trades and book, and the value of their `carried`.

    A day with book updates has the book of the updates, else that of the snapshots: a mixture would
    cut the deep levels that only updates hold.
    """
    if BOOK_UPDATES.name in day.datasets and (found := find(ask, day)).pieces:
        return day.parameters | found.parameters, found.carried
    return day.parameters, None
