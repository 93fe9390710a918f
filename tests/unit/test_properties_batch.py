"""Batching under any sequence of steps: nothing is lost, repeated or reordered in a partition."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from radar.consumer import batch as batch_module
from radar.consumer.batch import Batch, BatchLimits, InsertBlock, Plan
from radar.consumer.chunk import Chunk, ColumnBlock
from radar.consumer.messages import Messages
from support import Consumed

BLOCK_BYTES = 200


def read(run: Messages) -> Chunk:
    """Let every message become a row, of which nothing is wanted."""
    return Chunk([ColumnBlock(run, [])], [])


def offsets(block: InsertBlock) -> list[int]:
    return [offset for part in block.parts for offset in part.messages.offsets]


class OnePartition(RuleBasedStateMachine):
    """A log, and workers that take turns on it: the model of consumer/worker.py without I/O.

    What a worker took is in `committed` once it is stored; a worker that dies leaves the committed
    offset and perhaps a plan behind, and the next one, with other options, reads on from there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Consumed] = []
        self.committed: list[tuple[int, bytes | None]] = []
        self.plan: Plan | None = None
        self.planned_block: InsertBlock | None = None
        self.block: InsertBlock | None = None
        self.now_s = 0.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(batch_module, "BLOCK_BYTES", BLOCK_BYTES, raising=False)
        self.start_worker(3, 5.0)

    def teardown(self) -> None:
        """Let another worker finish what is left, and compare."""
        self.start_worker(7, 1.0)
        self.read(len(self.log))
        while self.read_up_to < len(self.log) or self.batch.size:
            self.now_s += 1000
            self.take()
            self.store()
        assert self.committed == [(each.at, each.content) for each in self.log]
        self.patch.undo()

    @initialize(size=st.integers(1, 10), timeout_s=st.floats(0.1, 10))
    def start_worker(self, size: int, timeout_s: float) -> None:
        self.size = size
        self.max_size = 2 * size
        limits = BatchLimits(size, self.max_size, timeout_s, interval_s=timeout_s / 3)
        self.batch = Batch(limits, read, planned=self.plan)
        self.block = None
        self.read_up_to = len(self.committed)

    @rule(gap=st.integers(1, 4), value=st.binary(max_size=120) | st.none())
    def publish(self, gap: int, value: bytes | None) -> None:
        offset = (self.log[-1].at if self.log else -1) + gap
        self.log.append(Consumed(offset, value))

    @rule(count=st.integers(1, 20))
    def read(self, count: int) -> None:
        messages = self.log[self.read_up_to : self.read_up_to + count]
        if messages:
            self.batch.add(Messages.of(messages), self.now_s)
        self.read_up_to += len(messages)

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.block is None)
    @rule()
    def take(self) -> None:
        """Take a block if one is due, and plan it."""
        if self.batch.due_in_s(self.now_s) != 0.0:
            return
        was_planned = self.batch.planned
        block = self.batch.take(self.now_s)
        assert block is not None
        if was_planned is None:
            assert block.size <= self.max_size
            assert block.plan == Plan(offsets(block)[0], offsets(block)[-1])
        else:
            assert self.planned_block is not None
            assert block.plan == self.planned_block.plan == was_planned
            assert offsets(block) == offsets(self.planned_block)
            assert block.fingerprint == self.planned_block.fingerprint
        self.block = self.planned_block = block
        # As it is read back from the metadata of the commit.
        self.plan = Plan.parse(str(block.plan))

    @precondition(lambda self: self.block is not None)
    @rule()
    def store(self) -> None:
        """Insert and commit the block."""
        if self.block is not None:
            self.committed += zip(
                offsets(self.block),
                [value for part in self.block.parts for value in part.messages.values],
                strict=True,
            )
            self.block = self.plan = self.planned_block = None

    @rule(size=st.integers(1, 10), timeout_s=st.floats(0.1, 10))
    def die_and_start_again(self, size: int, timeout_s: float) -> None:
        """Lose everything but what Kafka keeps: the committed offset and the plan."""
        self.start_worker(size, timeout_s)

    @rule(size=st.integers(1, 10))
    def die_before_planning(self, size: int) -> None:
        """Take a block whose plan never reaches Kafka."""
        if self.block is None and self.batch.planned is None:
            self.batch.take(self.now_s)
            self.start_worker(size, 5.0)

    @invariant()
    def what_is_stored_is_the_beginning_of_the_log(self) -> None:
        expected = self.log[: len(self.committed)]
        assert self.committed == [(each.at, each.content) for each in expected]

    @invariant()
    def what_was_read_is_stored_or_held(self) -> None:
        held = self.block.size if self.block else 0
        assert len(self.committed) + held + self.batch.size == self.read_up_to

    @invariant()
    def a_due_block_is_full_old_or_planned(self) -> None:
        due_in_s = self.batch.due_in_s(self.now_s)
        assert (due_in_s is None) <= (self.batch.size == 0 or self.batch.planned is not None)
        if self.batch.size >= self.size and self.batch.planned is None:
            assert due_in_s == 0.0


OnePartition.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=50)
TestBatchAnySequenceOfSteps = OnePartition.TestCase
