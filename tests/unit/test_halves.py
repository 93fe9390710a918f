"""A block in two is what the plans of the halves would be rebuilt to."""

from functools import partial

from radar.consumer.batch import Batch, BatchLimits
from radar.consumer.bisection import halves
from radar.consumer.chunk import decode_chunk
from radar.consumer.messages import Messages
from radar.datasets import TRADES
from workers import trade_value

LIMITS = BatchLimits(size=1, max_size=100, timeout_s=1.0, interval_s=1.0)


def test_half_is_the_block_that_its_plan_is_rebuilt_to() -> None:
    offsets = [10, 11, 14, 15, 16, 20, 21]  # as after a compaction
    values: list[bytes | None] = [trade_value(n) for n in offsets]
    values[2], values[5] = b"bad", None
    run = Messages(offsets, [b"key"] * len(offsets), values)
    batch = Batch(LIMITS, partial(decode_chunk, TRADES, 0))
    batch.add(run, 0.0)
    whole = batch.take(0.0)
    assert whole is not None
    first, second = halves(TRADES, 0, whole)
    assert (first.plan, second.plan) == ((10, 14), (15, 21))
    assert first.size + second.size == whole.size
    for half in (first, second):
        again = Batch(LIMITS, partial(decode_chunk, TRADES, 0), half.plan)
        again.add(run.where(lambda offset, lo=half.plan.lo: offset >= lo), 0.0)  # type: ignore[misc]
        rebuilt = again.take(0.0)
        assert rebuilt is not None
        assert (rebuilt.plan, rebuilt.fingerprint, rebuilt.size, rebuilt.size_bytes) == (
            half.plan,
            half.fingerprint,
            half.size,
            half.size_bytes,
        )
        assert [letter.offset for letter in rebuilt.bad_messages] == [
            letter.offset for letter in half.bad_messages
        ]
        assert [list(part.messages.offsets) for part in rebuilt.parts] == [
            list(part.messages.offsets) for part in half.parts
        ]
