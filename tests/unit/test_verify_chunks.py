"""How messages are divided for a comparison: by number and by size."""

import pytest

from radar.checks import verify
from radar.checks.verify import _chunks
from support import Consumed


class Stored(Consumed):
    """A message as it is looked at in a topic."""

    def headers(self) -> None:
        """Return no headers."""

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1, 1, 1, 1, 1], [[1, 1, 1], [1, 1]]),
        ([9, 1, 10, 30, 1], [[9, 1], [10], [30], [1]]),
    ],
)
def test_chunks_hold_few_messages_and_few_bytes(
    sizes: list[int], expected: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "CHUNK_MESSAGES", 3)
    monkeypatch.setattr(verify, "CHUNK_BYTES", 10)
    messages = [Stored(at, b"x" * size) for at, size in enumerate(sizes)]
    found = [[len(message) for message in chunk] for chunk in _chunks(messages)]
    assert found == expected
