"""From messages to blocks, without Kafka."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.consumer.batch import (
    BLOCK_BYTES,
    SMALL_BLOCK,
    Batch,
    BatchLimits,
    InsertBlock,
    Plan,
)
from radar.consumer.chunk import Chunk, ColumnBlock
from radar.consumer.messages import Fingerprint, Messages
from support import Consumed


def read(run: Messages) -> Chunk:
    """Let every message become a row, of which nothing is wanted."""
    return Chunk([ColumnBlock(run, [])], [])


def offsets(block: InsertBlock | None) -> list[int]:
    return [offset for part in block.parts for offset in part.messages.offsets] if block else []


def new_batch(size: int, timeout_s: float = 5, planned: Plan | None = None) -> Batch:
    """Return one that takes nothing along and does not look at what was before."""
    return Batch(BatchLimits(size, size, timeout_s, math.inf), read, planned)


def filled(batch: Batch, offsets: range, now_s: float = 0) -> Batch:
    for offset in offsets:
        batch.add(Messages.of([Consumed(offset)]), now_s)
    return batch


def test_batch_empty_is_never_due() -> None:
    assert new_batch(3, 5).due_in_s(1e9) is None


def test_batch_at_its_size_is_due_at_once() -> None:
    assert filled(new_batch(3, 5), range(3)).due_in_s(0) == 0


def test_batch_below_its_size_is_due_at_the_age_of_its_oldest_message() -> None:
    batch = new_batch(100, 5)
    # A steady trickle must not put the flush off: the age counts from the first message.
    for second in range(5):
        batch.add(Messages.of([Consumed(second)]), now_s=second)
    assert batch.due_in_s(4) == 1
    assert batch.due_in_s(5) == 0


def test_batch_that_is_due_takes_along_what_waits_up_to_its_largest_size() -> None:
    batch = filled(
        Batch(BatchLimits(size=3, max_size=8, timeout_s=5, interval_s=5), read), range(10)
    )
    blocks = [batch.take(0), batch.take(0)]
    assert [block and block.plan for block in blocks] == [Plan(0, 7), Plan(8, 9)]


def test_batch_after_a_quiet_time_is_due_at_once_and_then_at_intervals() -> None:
    limits = BatchLimits(size=1000, max_size=1000, timeout_s=5, interval_s=1)
    batch = filled(Batch(limits, read), range(1))
    assert batch.due_in_s(0) == 0
    batch.take(0)
    filled(batch, range(1, 1 + SMALL_BLOCK), now_s=0.25)
    assert batch.due_in_s(0.25) == 0.75
    assert batch.due_in_s(1) == 0


def test_batch_of_few_messages_waits_twice_as_long_but_not_beyond_their_age() -> None:
    limits = BatchLimits(size=1000, max_size=1000, timeout_s=1.8, interval_s=1)
    batch = filled(Batch(limits, read), range(1))
    batch.take(0)
    filled(batch, range(1, SMALL_BLOCK), now_s=0.1)
    assert batch.due_in_s(0.1) == pytest.approx(1.8), "the age of the oldest"
    batch = filled(Batch(limits._replace(timeout_s=5), read), range(1))
    batch.take(0)
    filled(batch, range(1, SMALL_BLOCK), now_s=0.1)
    assert batch.due_in_s(1) == 1
    filled(batch, range(SMALL_BLOCK, SMALL_BLOCK + 1), now_s=1)
    assert batch.due_in_s(1) == 0


def test_batch_take_leaves_what_exceeds_the_size() -> None:
    batch = filled(new_batch(3, 5), range(10, 15))
    block = batch.take(0)
    assert block is not None
    assert block.plan == Plan(10, 12)
    assert offsets(block) == [10, 11, 12]
    assert batch.size == 2


def test_batch_with_a_plan_waits_for_all_of_it_and_takes_exactly_it() -> None:
    batch = new_batch(2, 5, planned=Plan(10, 13))
    filled(batch, range(10, 13))
    assert batch.due_in_s(1e9) is None
    filled(batch, range(13, 16))
    block = batch.take(0)
    assert block is not None
    assert block.plan == Plan(10, 13)
    assert offsets(block) == [10, 11, 12, 13]
    following = batch.take(0)
    assert following is not None
    assert following.plan == Plan(14, 15)


def test_batch_with_a_plan_whose_last_offset_is_missing_is_due_at_the_next_one() -> None:
    batch = new_batch(2, 5, planned=Plan(10, 13))
    batch.add(Messages.of([Consumed(10)]), 0)
    batch.add(Messages.of([Consumed(14)]), 0)
    assert batch.due_in_s(0) == 0
    block = batch.take(0)
    assert block is not None
    assert offsets(block) == [10]


def test_batch_with_a_plan_of_deleted_messages_goes_on() -> None:
    batch = new_batch(2, 5, planned=Plan(10, 13))
    batch.add(Messages.of([Consumed(20)]), 0)
    assert batch.take(0) is None
    assert batch.planned is None
    assert batch.size == 1


def test_batch_of_large_messages_is_due_before_its_size_and_gives_bounded_blocks() -> None:
    batch, large = new_batch(1000, 5), bytes(BLOCK_BYTES // 4)
    full, due_in_s = [], []
    for offset in range(9):
        batch.add(Messages.of([Consumed(offset, large)]), 0)
        full.append(batch.is_full)
        due_in_s.append(batch.due_in_s(0))
    assert full == [False] * 3 + [True] * 6
    assert due_in_s == [5] * 3 + [0] * 6
    blocks = [batch.take(0), batch.take(0)]
    assert [block and block.plan for block in blocks] == [Plan(0, 3), Plan(4, 7)]
    assert batch.due_in_s(0) == 5
    assert batch.size == 1


def test_batch_with_a_plan_is_never_full() -> None:
    assert not filled(new_batch(2, 5, planned=Plan(0, 9)), range(9)).is_full


@given(
    counts=st.lists(st.integers(1, 40), max_size=20),
    size=st.integers(1, 30),
    gaps=st.integers(1, 3),
)
def test_batch_loses_and_reorders_nothing(counts: list[int], size: int, gaps: int) -> None:
    batch, taken, offset = new_batch(size, 5), list[int](), 0
    given_offsets = []
    for now_s, count in enumerate(counts):
        for _ in range(count):
            offset += gaps
            given_offsets.append(offset)
            batch.add(Messages.of([Consumed(offset)]), now_s)
        while batch.due_in_s(now_s) == 0:
            block = batch.take(now_s)
            assert block is not None
            assert block.size <= size
            assert block.plan == Plan(offsets(block)[0], offsets(block)[-1])
            taken += offsets(block)
    while batch.size:
        block = batch.take(0)
        assert block is not None
        taken += offsets(block)
    assert taken == given_offsets


def test_plan_as_metadata_is_read_back() -> None:
    assert Plan.parse(str(Plan(5, 900))) == Plan(5, 900)


@pytest.mark.parametrize("text", ["", "P", "P|5", "P|9|5", "P|-1|5", "x|1|2", "P|1|2|3", "P|a|b"])
def test_plan_from_other_metadata_is_none(text: str) -> None:
    assert Plan.parse(text) is None


def test_block_with_other_content_at_the_same_offsets_has_another_fingerprint() -> None:
    whole = [(1, b"ab"), (2, b"c")]
    fingerprints = []
    for messages in (whole, [(1, b"a"), (2, b"bc")], [(1, b"ab"), (3, b"c")]):
        fingerprint = Fingerprint()
        fingerprint.update(Messages.of([Consumed(offset, value) for offset, value in messages]))
        fingerprints.append(fingerprint.text)
    assert len(set(fingerprints)) == 3


def test_block_that_comes_in_other_parts_has_the_same_fingerprint() -> None:
    whole = Messages.of([Consumed(n, b"%d" % n) for n in range(10)])
    once, often = Fingerprint(), Fingerprint()
    once.update(whole)
    for part in (whole[:3], whole[3:4], whole[4:]):
        often.update(part)
    assert once.text == often.text
