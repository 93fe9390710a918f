"""Messages of book updates: which chain each belongs to, and its place there."""

import secrets

from radar.codec import message_format
from radar.codec.message_format import message_key
from radar.records import BookUpdate


class BookChains:
    """The chains of the books of one connection."""

    def __init__(self) -> None:
        self._next: dict[str, tuple[str, int]] = {}  # chain and next place, by symbol

    def message(self, update: BookUpdate) -> tuple[bytes, bytes]:
        """Return key and value of an update.

        An update that no worker would take leaves its place empty, so that a reader sees the hole.

        Raises:
            InvalidMessage: The update breaks a rule of messages.
        """
        chain, place = self._next.get(update.symbol, ("", 0))
        if update.begins or not chain:
            chain, place = secrets.token_hex(8), 0
        self._next[update.symbol] = chain, place + 1
        value = message_format.encode_book_update(message_format.book_update(update, chain, place))
        return message_key(update.source, update.symbol), value
