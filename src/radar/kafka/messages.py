"""Messages as radar uses them."""

from typing import Protocol

# A depth frame may be as large as MAX_FRAME_BYTES; its message must fit as well.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class Message(Protocol):
    """The part of a consumed message that radar uses (the library's own methods)."""

    def __len__(self) -> int:
        """Return the size of the value in bytes."""

    def partition(self) -> int:
        """Return the partition."""

    def offset(self) -> int:
        """Return the offset."""

    def key(self) -> bytes | None:
        """Return the key."""

    def value(self) -> bytes | None:
        """Return the value; None is a tombstone."""


class StoredMessage(Message, Protocol):
    """The part of a message in a topic that radar uses when it reads the whole topic."""

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of the timestamp, and the time in Unix milliseconds."""
