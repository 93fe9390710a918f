"""Messages as radar uses them."""

from typing import Protocol

# A depth frame may be as large as MAX_FRAME_BYTES; its message must fit as well.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class Message(Protocol):
    """What radar uses of a consumed message (its methods, as the library has them)."""

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
    """What radar uses of a message that it looks at in a topic."""

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers."""

    def timestamp(self) -> tuple[int, int]:
        """Return which time it is, and the time itself in Unix milliseconds."""
