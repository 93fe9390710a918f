"""From messages to blocks, without Kafka."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.consumer.batch import BLOCK_BYTES, Batch, Block, Entry, Plan
from radar.errors import InvalidMessage

BAD = InvalidMessage("json", "not JSON")


def entry(offset: int, value: bytes = b"value") -> Entry:
    return Entry(offset, b"key", value, BAD)


def filled(batch: Batch, offsets: range, now_s: float = 0) -> Batch:
    for offset in offsets:
        batch.add(entry(offset), now_s)
    return batch


def test_batch_empty_is_never_due() -> None:
    assert Batch(3, 5).due_in_s(1e9) is None


def test_batch_at_its_size_is_due_at_once() -> None:
    assert filled(Batch(3, 5), range(3)).due_in_s(0) == 0


def test_batch_below_its_size_is_due_at_the_age_of_its_oldest_message() -> None:
    batch = Batch(100, 5)
    # A steady trickle must not put the flush off: the age counts from the first message.
    for second in range(5):
        batch.add(entry(second), now_s=second)
    assert batch.due_in_s(4) == 1
    assert batch.due_in_s(5) == 0


def test_batch_take_leaves_what_exceeds_the_size() -> None:
    batch = filled(Batch(3, 5), range(10, 15))
    block = batch.take(0)
    assert block is not None
    assert block.plan == Plan(10, 12)
    assert [e.offset for e in block.entries] == [10, 11, 12]
    assert len(batch) == 2


def test_batch_with_a_plan_waits_for_all_of_it_and_takes_exactly_it() -> None:
    batch = Batch(2, 5, planned=Plan(10, 13))
    filled(batch, range(10, 13))
    assert batch.due_in_s(1e9) is None
    filled(batch, range(13, 16))
    block = batch.take(0)
    assert block is not None
    assert block.plan == Plan(10, 13)
    assert [e.offset for e in block.entries] == [10, 11, 12, 13]
    following = batch.take(0)
    assert following is not None
    assert following.plan == Plan(14, 15)


def test_batch_with_a_plan_whose_last_offset_is_missing_is_due_at_the_next_one() -> None:
    batch = Batch(2, 5, planned=Plan(10, 13))
    batch.add(entry(10), 0)
    batch.add(entry(14), 0)
    assert batch.due_in_s(0) == 0
    block = batch.take(0)
    assert block is not None
    assert [e.offset for e in block.entries] == [10]


def test_batch_with_a_plan_of_deleted_messages_goes_on() -> None:
    batch = Batch(2, 5, planned=Plan(10, 13))
    batch.add(entry(20), 0)
    assert batch.take(0) is None
    assert batch.planned is None
    assert len(batch) == 1


def test_batch_of_large_messages_is_due_before_its_size_and_gives_bounded_blocks() -> None:
    batch, large = Batch(1000, 5), bytes(BLOCK_BYTES // 4)
    full, due_in_s = [], []
    for offset in range(9):
        batch.add(entry(offset, large), 0)
        full.append(batch.is_full)
        due_in_s.append(batch.due_in_s(0))
    assert full == [False] * 3 + [True] * 6
    assert due_in_s == [5] * 3 + [0] * 6
    blocks = [batch.take(0), batch.take(0)]
    assert [block and block.plan for block in blocks] == [Plan(0, 3), Plan(4, 7)]
    assert batch.due_in_s(0) == 5
    assert len(batch) == 1


def test_batch_with_a_plan_is_never_full() -> None:
    assert not filled(Batch(2, 5, planned=Plan(0, 9)), range(9)).is_full


@given(
    counts=st.lists(st.integers(1, 40), max_size=20),
    size=st.integers(1, 30),
    gaps=st.integers(1, 3),
)
def test_batch_loses_and_reorders_nothing(counts: list[int], size: int, gaps: int) -> None:
    batch, taken, offset = Batch(size, 5), list[int](), 0
    given_offsets = []
    for now_s, count in enumerate(counts):
        for _ in range(count):
            offset += gaps
            given_offsets.append(offset)
            batch.add(entry(offset), now_s)
        while batch.due_in_s(now_s) == 0:
            block = batch.take(now_s)
            assert block is not None
            assert len(block.entries) <= size
            assert block.plan == Plan(block.entries[0].offset, block.entries[-1].offset)
            taken += [e.offset for e in block.entries]
    while len(batch):
        block = batch.take(0)
        assert block is not None
        taken += [e.offset for e in block.entries]
    assert taken == given_offsets


def test_plan_as_metadata_is_read_back() -> None:
    assert Plan.parse(str(Plan(5, 900))) == Plan(5, 900)


@pytest.mark.parametrize("text", ["", "P", "P|5", "P|9|5", "P|-1|5", "x|1|2", "P|1|2|3", "P|a|b"])
def test_plan_from_other_metadata_is_none(text: str) -> None:
    assert Plan.parse(text) is None


def test_block_with_other_content_at_the_same_offsets_has_another_fingerprint() -> None:
    first = Block(Plan(1, 2), [entry(1, b"ab"), entry(2, b"c")])
    second = Block(Plan(1, 2), [entry(1, b"a"), entry(2, b"bc")])
    assert first.fingerprint() != second.fingerprint()
    assert first.fingerprint() == Block(Plan(1, 2), list(first.entries)).fingerprint()
