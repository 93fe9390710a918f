"""Insert requests and their names: pure.

ClickHouse recognises a repeated insert by its name. The name follows from the block's plan and
messages, so a worker that rebuilds the block inserts it under the same name. The names are:

- a block: `TOPIC:TOPIC_ID:PARTITION:LO:HI:FINGERPRINT`, from the second generation on with
  `@GENERATION`;
- the halves of a request: its name with `<` and `>`;
- the missing rows of a request: its name with `+FINGERPRINT`, under a new name with `@GENERATION`.
"""

from collections.abc import Callable
from typing import NamedTuple

from radar.consumer.batch import InsertBlock
from radar.consumer.chunk import ColumnBlock, decode_chunk
from radar.consumer.messages import Fingerprint, Messages
from radar.datasets import Dataset
from radar.errors import StoreRejected


class InsertRequest(NamedTuple):
    """Rows that one request inserts, and the name of that insert."""

    parts: list[ColumnBlock]
    name: str

    @property
    def messages(self) -> Messages:
        """The messages behind the rows."""
        return Messages.joined([part.messages for part in self.parts])

    @property
    def is_half(self) -> bool:
        """Whether it is a half of another request."""
        return self.name.endswith(("<", ">"))

    def halves(self, dataset: Dataset, partition: int) -> "tuple[InsertRequest, InsertRequest]":
        """Divide a request of at least two messages in the middle."""
        messages = self.messages
        middle = len(messages) // 2
        return (
            _request(dataset, partition, messages[:middle], f"{self.name}<"),
            _request(dataset, partition, messages[middle:], f"{self.name}>"),
        )

    def only(self, dataset: Dataset, partition: int, missing: Messages) -> "InsertRequest":
        """Return a request for some of its messages."""
        return _request(dataset, partition, missing, f"{self.name}+{Fingerprint.of(missing)}")

    def renamed(self, generation: int) -> "InsertRequest":
        """Return a request for the same rows under the name of another generation."""
        return self._replace(name=self.name + _suffix(generation))


def send_next(
    requests: list[InsertRequest],
    dataset: Dataset,
    partition: int,
    send: Callable[[InsertRequest], None],
    refused: Callable[[InsertRequest, StoreRejected], None],
) -> None:
    """Send the last request of a list, and take it off; blocks.

    A request that the server refuses is replaced by its halves, until the bad rows stand alone.

    Args:
        requests: The requests that are left; at least one.
        dataset: The dataset of the rows.
        partition: The partition of the messages.
        send: Inserts a request.
        refused: Called with a request of one message that the server refuses.
    """
    request = requests[-1]
    try:
        send(request)
    except StoreRejected as error:
        if len(request.messages) > 1:
            first, second = request.halves(dataset, partition)
            requests[-1:] = [second, first]
            return
        refused(request, error)
    requests.pop()


def whole(
    dataset: Dataset, topic_id: str, partition: int, block: InsertBlock, generation: int
) -> list[InsertRequest]:
    """Return the request that inserts a whole block; none if the block has no rows."""
    if not block.parts:
        return []
    name = ":".join(
        (
            dataset.topic,
            topic_id,
            f"{partition}:{block.plan.lo}:{block.plan.hi}",
            block.fingerprint,
        )
    )
    return [InsertRequest(block.parts, name + _suffix(generation))]


def _request(dataset: Dataset, partition: int, messages: Messages, name: str) -> InsertRequest:
    return InsertRequest(decode_chunk(dataset, partition, messages).parts, name)


def _suffix(generation: int) -> str:
    return f"@{generation}" if generation else ""
