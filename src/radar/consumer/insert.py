"""From a planned block to rows: everything until ClickHouse has the block.

A block is one insert request. The request's name follows from the block's plan
(`insert_request.py`). Three cases need more requests:

- ClickHouse refuses rows: the worker halves the request until the bad rows stand alone. They become
  dead letters.
- ClickHouse refuses a block as too large: the worker divides it, and each half gets a plan of its
  own (`bisection.py`). For a while it divides larger blocks beforehand (`block_limit.py`).
- ClickHouse may have stored the block before: the worker looks for the rows, and inserts the
  missing ones.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import structlog

from radar.consumer.batch import BLOCK_BYTES, InsertBlock
from radar.consumer.bisection import halves
from radar.consumer.block_limit import BlockLimit
from radar.consumer.chunk import BadMessage, ColumnBlock, rows
from radar.consumer.context import Context
from radar.consumer.insert_request import InsertRequest, send_next, whole
from radar.consumer.messages import Messages
from radar.consumer.offsets import Offsets
from radar.consumer.partition import CrashPoint, PartitionWork, Step
from radar.errors import BlockTooLarge, InsertCutOff, InvalidMessage, StoreRejected
from radar.telemetry import metrics

# If the connection breaks this often in a row during an insert, while the server answers otherwise,
# then the block may be too large for a proxy before the server. Smaller blocks are not suspected.
MAX_CUT_OFF = 2
LEAST_SUSPECT_BYTES = 64 * 1024

_log = structlog.get_logger()


class Inserter:
    """Inserts the blocks of one worker."""

    def __init__(self, context: Context, offsets: Offsets) -> None:
        self._context = context
        self._dataset = context.dataset
        self._store = context.store
        self._offsets = offsets
        self._block_limit = BlockLimit()

    def begin(self, work: PartitionWork, block: InsertBlock, step: Step) -> None:
        """Take a block through its steps, from `step` on."""
        work.block, work.step = block, step
        work.attempts, work.rejected_commits, work.retry_at_s, work.cut_off = 0, 0, 0.0, 0
        self.start_over(work, block)

    def start_over(self, work: PartitionWork, block: InsertBlock) -> None:
        """Insert a block again, from its first row on."""
        work.requests = whole(self._dataset, work.topic_id, work.partition, block, work.generation)
        work.rejected = []

    def fitting(self, work: PartitionWork, block: InsertBlock) -> InsertBlock:
        """Divide a block that is larger than a lately refused one."""
        self._block_limit.check(BLOCK_BYTES, time.monotonic())
        limit_bytes = self._block_limit.limit_bytes
        while (
            limit_bytes is not None
            and block.parts
            and block.size > 1
            and block.size_bytes > limit_bytes
        ):
            block = self._divide(work, block)
        return block

    def divide_refused(
        self, work: PartitionWork, block: InsertBlock, error: BlockTooLarge | InsertCutOff
    ) -> InsertBlock:
        """Divide a block that is too large; the caller plans its first half next.

        Raises:
            StoreUnavailable: It cannot be divided, or its size may not be the cause.
        """
        if isinstance(error, InsertCutOff):
            work.cut_off += 1
            if work.cut_off < MAX_CUT_OFF or block.size_bytes < LEAST_SUSPECT_BYTES:
                raise error
            self._context.expect_store()
            self._store.ping()  # an error here: the server is down, not the block too large
        if block.size == 1:
            raise error
        # An earlier attempt of unknown outcome, or a half of its request, may have stored rows.
        # Their inserts have other names than those of the halves.
        in_halves = work.requests[-1].is_half
        if work.repeated or in_halves or isinstance(error, InsertCutOff) or error.is_stored_in_part:
            work.may_be_stored_to(block.plan.hi)
        self._block_limit.refused(block.size_bytes, time.monotonic())
        _log.warning(
            "a block is too large and is divided",
            dataset=self._dataset.name,
            partition=work.partition,
            plan=str(block.plan),
            messages=block.size,
            bytes=block.size_bytes,
            error=str(error),
        )
        return self._divide(work, block)

    def _divide(self, work: PartitionWork, block: InsertBlock) -> InsertBlock:
        """Divide a block into two, each with a plan of its own; return the first.

        The plan of the first half replaces the committed plan before any half is inserted. A worker
        that takes the partition over rebuilds a half like any block.
        """
        if work.taken_over:
            # The worker that planned the whole block may have inserted it.
            work.may_be_stored_to(block.plan.hi)
        first, second = halves(self._dataset, work.partition, block)
        work.rest.appendleft(second)
        attempts = work.attempts
        self.begin(work, first, Step.PLAN)
        work.attempts = attempts
        return first

    def insert(self, work: PartitionWork, block: InsertBlock, turn_ends_s: float) -> bool:
        """Send the block's remaining requests; False if the turn ended before the last one.

        Raises:
            BlockTooLarge, InsertCutOff: See `divide_refused`.
            StoreUnavailable: Insert again later.
            TooManyInvalid: The server refuses too many rows.
            CommitRejected, BrokerUnavailable: An old plan cannot be renewed.
        """
        while work.requests:
            # Renew an old plan: an accepted commit proves that the partition is still ours.
            if time.monotonic() > work.planned_at_s + self._context.reader.session_timeout_s / 2:
                self._offsets.plan(work, block.plan)
            send_next(
                work.requests,
                self._dataset,
                work.partition,
                partial(self._send, work),
                partial(_reject, work, block),
            )
            if work.requests and time.monotonic() > turn_ends_s:
                return False
        return True

    def _send(self, work: PartitionWork, request: InsertRequest) -> None:
        started_s = time.monotonic()
        self._context.expect_store()
        self._context.reached(CrashPoint.DURING_INSERT)
        maybe_stored = work.block is not None and work.block.plan.lo <= work.maybe_stored_to
        if not maybe_stored:
            self._store.insert(self._dataset.table, rows(request.parts), request.name)
        if work.repeated or work.check or maybe_stored:
            self._insert_missing(work, request)
        metrics.INSERT_SECONDS.labels(self._dataset.name).observe(time.monotonic() - started_s)

    def _insert_missing(self, work: PartitionWork, request: InsertRequest) -> None:
        """Insert those messages of a repeated request that are no rows.

        Some versions of ClickHouse note a block's name before they store the block. If the server
        is killed in between, it knows the name and lacks the rows. A message is also no row if
        another of the same key has replaced it; then its row is replaced once more.

        ClickHouse also knows the names of blocks whose rows were deleted since. It silently drops
        such an insert as a repetition. So rows that are still missing afterwards are inserted under
        names of the next generation.
        """
        missing = self._missing(work, request)
        last = request.messages.offsets[-1]
        # Later blocks may be rows too: the mark of stored offsets is some seconds old.
        if work.maybe_stored_to >= 0 and (not len(missing) or missing.offsets[-1] != last):
            work.may_be_stored_to(last + 1)
        if not len(missing):
            return
        _log.info(
            "inserting missing rows",
            name=request.name,
            rows=len(request.messages),
            missing=len(missing),
        )
        rest = request.only(self._dataset, work.partition, missing)
        self._context.expect_store()
        self._store.insert(self._dataset.table, rows(rest.parts), rest.name)
        if len(self._missing(work, rest)) < len(missing):
            return
        work.generation += 1
        self._offsets.record([work])
        _log.warning(
            "the database knows the name of a block whose rows are not there; inserting them under"
            " a new one",
            name=rest.name,
            rows=len(missing),
            generation=work.generation,
        )
        renamed = rest.renamed(work.generation)
        self._context.expect_store()
        self._store.insert(self._dataset.table, rows(renamed.parts), renamed.name)

    def _missing(self, work: PartitionWork, request: InsertRequest) -> Messages:
        messages = request.messages
        self._context.expect_store()
        stored = self._store.places(
            self._dataset.table, work.partition, messages.offsets[0], messages.offsets[-1]
        )
        found = {place[0] for place in _places(request.parts) if place in stored}
        return messages.where(lambda offset: offset not in found)


def _reject(
    work: PartitionWork, block: InsertBlock, request: InsertRequest, error: StoreRejected
) -> None:
    """Make a dead letter of a message that the server refuses."""
    messages = request.messages
    reason = InvalidMessage("rejected", str(error))
    work.rejected.append(
        BadMessage(messages.offsets[0], messages.keys[0], messages.values[0], reason)
    )
    work.judge(block)


def _places(parts: Sequence[ColumnBlock]) -> Iterator[tuple[int, int]]:
    """Yield each message's offset and time of receipt (Unix time, microseconds)."""
    for part in parts:
        (received,) = (column for column in part.columns if column.name == "received_at")
        yield from zip(part.messages.offsets, np.asarray(received.data).tolist(), strict=True)
