"""The sides of a book whose levels are parsed only if a side is published."""

from collections.abc import Callable, Mapping
from functools import cached_property

from radar.codec.message_format import check_depth
from radar.errors import InvalidFrame, InvalidMessage
from radar.exchanges.base import UnreadBook
from radar.producer.clock import stamped
from radar.records import BookSide, DepthSnapshot


class LateSides:
    """Both sides of one book, which are parsed together, once."""

    def __init__(
        self,
        book: UnreadBook,
        set_back_us: int,
        on_invalid: Callable[[InvalidFrame | InvalidMessage], None],
    ) -> None:
        """Keep a book.

        Args:
            book: The book.
            set_back_us: By how much the clock had been set back at its receipt.
            on_invalid: Called with the error if the book turns out to be invalid.
        """
        self._book = book
        self._set_back_us = set_back_us
        self._on_invalid = on_invalid

    @cached_property
    def parsed(self) -> Mapping[BookSide, DepthSnapshot]:
        """The snapshot of each side; empty: the book is invalid."""
        try:
            return {snapshot.side: snapshot for snapshot in self._book.read()}
        except InvalidFrame as error:
            self._on_invalid(error)
            return {}

    def checked(self, side: BookSide) -> DepthSnapshot | None:
        """Return the snapshot of a side as a message may have it; None: it is invalid."""
        snapshot = self.parsed.get(side)
        if snapshot is None:
            return None
        try:
            check_depth(snapshot := stamped(snapshot, self._set_back_us))
        except InvalidMessage as error:
            self._on_invalid(error)
            return None
        return snapshot
