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
from radar.consumer.partition import AssignedPartition, CrashPoint, Step
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

    def begin(self, state: AssignedPartition, block: InsertBlock, step: Step) -> None:
        """Take a block through its steps, from `step` on."""
        state.block, state.step = block, step
        state.attempts, state.rejected_commits, state.retry_at_s, state.cut_off = 0, 0, 0.0, 0
        self.start_over(state, block)

    def start_over(self, state: AssignedPartition, block: InsertBlock) -> None:
        """Insert a block again, from its first row on."""
        state.requests = whole(
            self._dataset, state.topic_id, state.partition, block, state.generation
        )
        state.rejected = []

    def fitting(self, state: AssignedPartition, block: InsertBlock) -> InsertBlock:
        """Divide a block that is larger than a lately refused one."""
        self._block_limit.raise_if_due(BLOCK_BYTES, time.monotonic())
        limit_bytes = self._block_limit.limit_bytes
        while (
            limit_bytes is not None
            and block.parts
            and block.size > 1
            and block.size_bytes > limit_bytes
        ):
            block = self._divide(state, block)
        return block

    def divide_refused(
        self, state: AssignedPartition, block: InsertBlock, error: BlockTooLarge | InsertCutOff
    ) -> InsertBlock:
        """Divide a block that is too large; the caller plans its first half next.

        Raises:
            StoreUnavailable: It cannot be divided, or its size may not be the cause.
        """
        if isinstance(error, InsertCutOff):
            state.cut_off += 1
            if state.cut_off < MAX_CUT_OFF or block.size_bytes < LEAST_SUSPECT_BYTES:
                raise error
            self._context.expect_store()
            self._store.ping()  # an error here: the server is down, not the block too large
        if block.size == 1:
            raise error
        # An earlier attempt of unknown outcome, or a half of its request, may have stored rows.
        # Their inserts have other names than those of the halves.
        in_halves = state.requests[-1].is_half
        if (
            state.repeated
            or in_halves
            or isinstance(error, InsertCutOff)
            or error.is_stored_in_part
        ):
            state.may_be_stored_to(block.plan.hi)
        self._block_limit.refused(block.size_bytes, time.monotonic())
        _log.warning(
            "a block is too large and is divided",
            dataset=self._dataset.name,
            partition=state.partition,
            plan=str(block.plan),
            messages=block.size,
            bytes=block.size_bytes,
            error=str(error),
        )
        return self._divide(state, block)

    def _divide(self, state: AssignedPartition, block: InsertBlock) -> InsertBlock:
        """Divide a block into two, each with a plan of its own; return the first.

        The plan of the first half replaces the committed plan before any half is inserted. A worker
        that takes the partition over rebuilds a half like any block.
        """
        if state.taken_over:
            # The worker that planned the whole block may have inserted it.
            state.may_be_stored_to(block.plan.hi)
        first, second = halves(self._dataset, state.partition, block)
        state.rest.appendleft(second)
        attempts = state.attempts
        self.begin(state, first, Step.PLAN)
        state.attempts = attempts
        return first

    def insert(self, state: AssignedPartition, block: InsertBlock, turn_ends_s: float) -> bool:
        """Send the block's remaining requests; False if the turn ended before the last one.

        Raises:
            BlockTooLarge, InsertCutOff: See `divide_refused`.
            StoreUnavailable: Insert again later.
            TooManyInvalid: The server refuses too many rows.
            CommitRejected, BrokerUnavailable: An old plan cannot be renewed.
        """
        while state.requests:
            # Renew an old plan: an accepted commit proves that the partition is still ours.
            if time.monotonic() > state.planned_at_s + self._context.reader.session_timeout_s / 2:
                self._offsets.plan(state, block.plan)
            send_next(
                state.requests,
                self._dataset,
                state.partition,
                partial(self._send, state),
                partial(_reject, state, block),
            )
            if state.requests and time.monotonic() > turn_ends_s:
                return False
        return True

    def _send(self, state: AssignedPartition, request: InsertRequest) -> None:
        started_s = time.monotonic()
        self._context.expect_store()
        self._context.reached(CrashPoint.DURING_INSERT)
        maybe_stored = state.block is not None and state.block.plan.lo <= state.maybe_stored_to
        if not maybe_stored:
            self._store.insert(self._dataset.table, rows(request.parts), request.name)
        if state.repeated or state.check or maybe_stored:
            self._insert_missing(state, request)
        metrics.INSERT_SECONDS.labels(self._dataset.name).observe(time.monotonic() - started_s)

    def _insert_missing(self, state: AssignedPartition, request: InsertRequest) -> None:
        """Insert those messages of a repeated request that are no rows.

        Some versions of ClickHouse note a block's name before they store the block. If the server
        is killed in between, it knows the name and lacks the rows. A message is also no row if
        another of the same key has replaced it; then its row is replaced once more.

        ClickHouse also knows the names of blocks whose rows were deleted since. It silently drops
        such an insert as a repetition. So rows that are still missing afterwards are inserted under
        names of the next generation.
        """
        missing = self._missing(state, request)
        last = request.messages.offsets[-1]
        # Later blocks may be rows too: the mark of stored offsets is some seconds old.
        if state.maybe_stored_to >= 0 and (not len(missing) or missing.offsets[-1] != last):
            state.may_be_stored_to(last + 1)
        if not len(missing):
            return
        _log.info(
            "inserting missing rows",
            name=request.name,
            rows=len(request.messages),
            missing=len(missing),
        )
        rest = request.only(self._dataset, state.partition, missing)
        self._context.expect_store()
        self._store.insert(self._dataset.table, rows(rest.parts), rest.name)
        if len(self._missing(state, rest)) < len(missing):
            return
        state.generation += 1
        self._offsets.record([state])
        _log.warning(
            "the database knows the name of a block whose rows are not there; inserting them under"
            " a new one",
            name=rest.name,
            rows=len(missing),
            generation=state.generation,
        )
        renamed = rest.renamed(state.generation)
        self._context.expect_store()
        self._store.insert(self._dataset.table, rows(renamed.parts), renamed.name)

    def _missing(self, state: AssignedPartition, request: InsertRequest) -> Messages:
        messages = request.messages
        self._context.expect_store()
        stored = self._store.places(
            self._dataset.table, state.partition, messages.offsets[0], messages.offsets[-1]
        )
        found = {place[0] for place in _places(request.parts) if place in stored}
        return messages.where(lambda offset: offset not in found)


def _reject(
    state: AssignedPartition, block: InsertBlock, request: InsertRequest, error: StoreRejected
) -> None:
    """Make a dead letter of a message that the server refuses."""
    messages = request.messages
    reason = InvalidMessage("rejected", str(error))
    state.rejected.append(
        BadMessage(messages.offsets[0], messages.keys[0], messages.values[0], reason)
    )
    state.judge(block)


def _places(parts: Sequence[ColumnBlock]) -> Iterator[tuple[int, int]]:
    """Yield each message's offset and time of receipt (Unix time, microseconds)."""
    for part in parts:
        (received,) = (column for column in part.columns if column.name == "received_at")
        yield from zip(part.messages.offsets, np.asarray(received.data).tolist(), strict=True)
