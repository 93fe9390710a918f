"""Divide a block in two: pure. A worker that rebuilds a half from its plan gets the same block."""

from radar.consumer.batch import InsertBlock, Plan
from radar.consumer.chunk import decode_chunk
from radar.consumer.messages import Fingerprint, Messages
from radar.datasets import Dataset


def halves(dataset: Dataset, partition: int, block: InsertBlock) -> tuple[InsertBlock, InsertBlock]:
    """Divide a block of at least two messages in the middle."""
    found = {bad.offset: (bad.key, bad.value) for bad in block.bad_messages}
    for part in block.parts:
        messages = part.messages
        found.update(
            zip(messages.offsets, zip(messages.keys, messages.values, strict=True), strict=True)
        )
    offsets = sorted(found)
    messages = Messages(
        offsets, [found[each][0] for each in offsets], [found[each][1] for each in offsets]
    )
    middle = len(offsets) // 2
    first = Plan(block.plan.lo, offsets[middle - 1])
    second = Plan(offsets[middle], block.plan.hi)
    return (
        _block(dataset, partition, first, messages[:middle]),
        _block(dataset, partition, second, messages[middle:]),
    )


def _block(dataset: Dataset, partition: int, plan: Plan, messages: Messages) -> InsertBlock:
    chunk = decode_chunk(dataset, partition, messages)
    return InsertBlock(
        plan=plan,
        size=len(messages),
        size_bytes=messages.size_bytes,
        parts=chunk.parts,
        bad_messages=chunk.bad_messages,
        fingerprint=Fingerprint.of(messages),
    )
