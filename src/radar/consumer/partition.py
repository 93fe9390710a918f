"""The state of one assigned partition, and the steps of its blocks."""

import enum
import random
import time
from collections import deque
from dataclasses import dataclass, field

from radar.consumer.accounting import CommitMetadata
from radar.consumer.batch import Batch, InsertBlock, Plan
from radar.consumer.breaker import Bad, Breaker
from radar.consumer.chunk import BadMessage
from radar.consumer.insert_request import InsertRequest
from radar.consumer.progress import UNRECORDED, Progress
from radar.consumer.silence import PartitionSilence
from radar.errors import CommitRejected, StoreNeedsRepair, TooManyInvalid
from radar.text import printable

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 10.0
# An operator has to act first; a fast retry would only fill the logs.
REPAIR_RETRY_S = 5.0


class Step(enum.IntEnum):
    """The next step of a block."""

    DEAD_LETTERS = 1
    PLAN = 2
    INSERT = 3
    COMMIT = 4
    DONE = 5


class CrashPoint(enum.Enum):
    """Places on a block's way where a worker may die; tests kill it there.

    A worker passes each place again when it repeats a step.
    """

    AFTER_POLL = enum.auto()  # the worker took messages
    AFTER_DEAD_LETTERS = enum.auto()  # Kafka has the block's bad messages; no plan is committed
    AFTER_PLAN = enum.auto()
    DURING_INSERT = enum.auto()  # immediately before the request, also before that of each half
    AFTER_INSERT = enum.auto()  # ClickHouse has the block; its offset is not committed
    AFTER_COMMIT = enum.auto()


@dataclass
class AssignedPartition:
    """One assigned partition."""

    partition: int
    batch: Batch
    breaker: Breaker
    next_offset: int  # the worker consumed everything before it
    committed: int | None  # as Kafka has it
    commit_metadata: CommitMetadata | None  # beside the committed offset
    topic_id: str  # of the topic to which the offsets belong
    # Why the offsets must be accounted for before the worker reads on; empty: they are.
    review: str = "assigned"
    review_at_s: float = 0.0
    progress: Progress = UNRECORDED  # as this worker recorded it last
    read_from: int | None = None  # this worker read everything from here to the committed offset
    seen_end: int | None = None  # of the log, at the last check of offsets
    check_next: bool = True  # whether to look for the rows of the next block after its insert
    generation: int = 0
    block: InsertBlock | None = None
    rest: deque[InsertBlock] = field(default_factory=deque)  # the later halves of a divided block
    taken_over: bool = False  # the block was planned before the partition came to this worker
    repeated: bool = False  # this or another worker has tried to insert the block before
    check: bool = False  # whether to look for its rows after the insert, although it is new
    # Offsets up to here may be rows already, under the name of a plan that can no longer be met.
    # The commit carries this offset, because it decides under which name a block is inserted.
    maybe_stored_to: int = -1
    silence: PartitionSilence = field(default_factory=PartitionSilence)
    step: Step = Step.DEAD_LETTERS
    # The requests to send, the next one last.
    requests: list[InsertRequest] = field(default_factory=list)
    rejected: list[BadMessage] = field(default_factory=list)  # by the server
    planned_at_s: float = 0.0
    inserted_at_s: float = 0.0  # Unix time
    attempts: int = 0
    cut_off: int = 0  # how often the connection broke during an insert of the block
    rejected_commits: int = 0
    retry_at_s: float = 0.0
    served_at_s: float = 0.0
    paused: bool = False
    halted: bool = False
    flood_alarm_at_s: float | None = None  # when the next alarm is due, while there is a flood
    plan_checked_at_s: float = field(default_factory=time.monotonic)

    @property
    def condition(self) -> str:
        """The name of this partition's condition in the health of the process."""
        return condition(self.partition)

    @property
    def is_empty(self) -> bool:
        """Whether every consumed message is stored."""
        return self.block is None and not self.rest and not self.batch.size

    def may_be_stored_to(self, offset: int) -> None:
        """Record that offsets up to this one may be rows already."""
        self.maybe_stored_to = max(self.maybe_stored_to, offset)

    def forget_plan(self) -> None:
        """Plan anew the messages of a block that another worker planned and may have inserted."""
        if (plan := self.batch.planned) is not None:
            self.may_be_stored_to(plan.hi)
            self.batch.forget_plan()

    def metadata(self, offset: int, plan: Plan | None) -> CommitMetadata:
        """Return the metadata for a commit of this offset."""
        stored_to = self.maybe_stored_to if self.maybe_stored_to >= offset else -1
        return CommitMetadata(self.topic_id, self.generation, plan, stored_to)

    def known_metadata(self, topic_id: str) -> CommitMetadata | None:
        """Return the committed metadata, updated with newer knowledge of this worker."""
        if self.commit_metadata is None or self.topic_id != topic_id:
            return self.commit_metadata
        stored_to = max(self.commit_metadata.maybe_stored_to, self.maybe_stored_to)
        return self.commit_metadata._replace(maybe_stored_to=stored_to)

    def bad_messages(self, block: InsertBlock) -> list[Bad]:
        """Return the messages of a block that become dead letters, as far as is known."""
        keys = {each.offset: each.key for each in (*block.bad_messages, *self.rejected)}
        if not keys:
            return []
        # A rejected message is in a column block as well.
        offsets = sorted(set(keys).union(*(part.messages.offsets for part in block.parts)))
        return [Bad(n, keys[offset]) for n, offset in enumerate(offsets) if offset in keys]

    def judge(self, block: InsertBlock) -> None:
        """Refuse a block with too many bad messages.

        Raises:
            TooManyInvalid: The partition shall be halted.
        """
        try:
            self.breaker.check(block.size, self.bad_messages(block))
        except TooManyInvalid as error:
            last = max((*block.bad_messages, *self.rejected), key=lambda each: each.offset)
            raise TooManyInvalid(
                f"{error}; the one at offset {last.offset}: {printable(str(last.reason))}"
            ) from error

    def retry_later(self, error: Exception) -> None:
        """Record a failed attempt, and choose the time of the next one."""
        self.attempts += 1
        self.repeated = self.repeated or self.step is Step.INSERT
        ceiling_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(self.attempts, 10))
        if isinstance(error, StoreNeedsRepair):
            ceiling_s = REPAIR_RETRY_S
        self.retry_at_s = time.monotonic() + random.uniform(ceiling_s / 2, ceiling_s)  # noqa: S311
        if isinstance(error, CommitRejected):
            self.rejected_commits += 1


def condition(partition: int) -> str:
    """Return the name of a partition's condition in the health of the process."""
    return f"partition {partition}"
