"""Offset accounting: where a partition goes on, and which offsets are lost; pure.

A worker compares three facts: the offsets in Kafka's log, the committed offset of the group, and
the offsets that the database accounts for. It does so when it gets a partition, and when one of the
facts changes. Each difference has one cause. Offsets that can no longer be stored become a
delivery gap.
"""

import re
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from radar.consumer.batch import Plan
from radar.consumer.delivery_gaps import (
    DELETED,
    EXACT,
    MOVED,
    OPEN,
    RECREATED,
    RESTORED,
    TRUNCATED,
    UNKNOWN,
    DeliveryGap,
)
from radar.consumer.progress import Former, Order, Progress

# The client writes a topic's ID in base64 with "+" and "/", other clients with "-" and "_".
_COMMIT_METADATA = re.compile(
    r"(?:S|(?P<plan>P\|(?a:\d{1,19})\|(?a:\d{1,19})))\|(?P<id>(?a:[\w+/=-]{0,64}))"
    r"\|(?P<n>(?a:\d{1,9}))(?:\|(?P<stored>(?a:\d{1,19})))?"
)
_MAX_OFFSET = 2**63 - 1


class CommitMetadata(NamedTuple):
    """The metadata that radar writes beside a committed offset.

    Attributes:
        topic_id: Of the topic to which the offset belongs; None: an older radar wrote it.
        generation: Of the names of insert blocks.
        plan: The block that was planned from this offset on.
        maybe_stored_to: Offsets up to here may be rows, so only missing ones are inserted. The next
            owner of a planned block needs this offset, because the insert's name depends on it.
    """

    topic_id: str | None
    generation: int = 0
    plan: Plan | None = None
    maybe_stored_to: int = -1

    def __str__(self) -> str:
        """Return the metadata."""
        stored = f"|{self.maybe_stored_to}" if self.maybe_stored_to >= 0 else ""
        return f"{self.plan or 'S'}|{self.topic_id or ''}|{self.generation}{stored}"

    @classmethod
    def parse(cls, metadata: str) -> "CommitMetadata | None":
        """Read commit metadata; None if there is none.

        Unreadable metadata may be the plan of a newer radar, whose block may be stored. Then each
        offset may be a row.
        """
        if not metadata:
            return None
        if (found := _COMMIT_METADATA.fullmatch(metadata)) is not None:
            plan = Plan.parse(found["plan"] or "")
            if found["plan"] is None or plan is not None:
                return cls(found["id"], int(found["n"]), plan, int(found["stored"] or -1))
        plan = Plan.parse(metadata)
        return cls(None, 0, plan, -1 if plan is not None else _MAX_OFFSET)


class StoredRows(Protocol):
    """The rows of one partition in the database; each query blocks."""

    def last(self, first: int, end: int) -> int | None:
        """Return the largest offset from `first` on and before `end` that is a row."""

    def first_missing(self, first: int, end: int) -> int:
        """Return the smallest offset from `first` on that is no row, `end` if there is none."""


@dataclass(frozen=True)
class Situation:
    """The known facts about a partition.

    Attributes:
        partition: Its number.
        topic_id: Of the topic as Kafka has it now.
        low: The oldest offset in the log.
        high: The next offset that will be written.
        committed: The committed offset, the next to be stored; None: the group has none.
        metadata: The metadata beside the committed offset.
        progress: How far the database accounts for this topic ID.
        former: How far the database accounted for the newest other topic ID.
        former_end: The end of the former log when it was last seen.
        order: An order to store offsets again.
        is_invalid: Whether Kafka refused the committed offset.
    """

    partition: int
    topic_id: str
    low: int
    high: int
    committed: int | None
    metadata: CommitMetadata | None
    progress: Progress | None = None
    former: Former | None = None
    former_end: int | None = None
    order: Order | None = None
    is_invalid: bool = False


@dataclass(frozen=True)
class Decision:
    """Where a partition goes on, and the gaps to record first.

    Attributes:
        start: The offset at which to go on. Each one before it is a row, a dead letter, or inside
            a gap. An offset that is read again counts as accounted for once it is stored, because
            an older copy may replace the database meanwhile.
        generation: Of the names of insert blocks from now on.
        maybe_stored_to: Offsets up to here may be rows: only missing ones are inserted.
        plan: A block that was planned from `start` on.
        gaps: The lost offsets.
        notice: The difference, for the log; empty if all facts agree.
    """

    start: int
    generation: int
    maybe_stored_to: int = -1
    plan: Plan | None = None
    gaps: list[DeliveryGap] = field(default_factory=list)
    notice: str = ""


def decide(situation: Situation, rows: StoredRows) -> Decision:
    """Return where a partition goes on; look for rows only where facts differ."""
    decision = _decision(situation, rows)
    if situation.order is not None:
        decision = _ordered(situation, situation.order, decision)
    metadata = situation.metadata
    if metadata is None or metadata.topic_id not in (None, situation.topic_id):
        return decision
    is_readable = metadata.maybe_stored_to < _MAX_OFFSET
    noted_to = metadata.maybe_stored_to if is_readable else situation.high - 1
    if noted_to < decision.start:
        return decision
    return replace(decision, maybe_stored_to=max(decision.maybe_stored_to, noted_to))


def _decision(s: Situation, rows: StoredRows) -> Decision:
    if (old := _former(s)) is not None:
        return _recreated(s, old)
    if s.committed is None:
        return _without_commit(s, rows)
    if s.committed > s.high or (s.is_invalid and s.committed >= s.low):
        return _truncated(s, s.committed)
    if s.metadata is not None and s.metadata.topic_id is not None:
        return _own_commit(s, s.committed, rows)
    return _foreign_commit(s, s.committed, rows)


def _generation(s: Situation) -> int:
    return max(
        s.metadata.generation if s.metadata else 0,
        s.progress.generation if s.progress else 0,
    )


def _plan_at(s: Situation, committed: int) -> Plan | None:
    """Return the plan beside the committed offset; None if it is of another offset."""
    plan = s.metadata.plan if s.metadata else None
    return plan if plan is not None and plan.lo == committed else None


def _former(s: Situation) -> Former | None:
    """Return how far the topic was read before it was recreated; None if it was not."""
    if s.metadata is not None and s.metadata.topic_id is not None:
        if s.metadata.topic_id == s.topic_id:
            return None
        return Former(s.metadata.topic_id, s.committed or 0)
    return s.former if s.progress is None else None


def _recreated(s: Situation, old: Former) -> Decision:
    last = max(old.next_offset, (s.former_end or 0) - 1)
    reason = (
        "the topic was deleted and created again; Kafka does not say which messages of the old"
        " one were not stored"
    )
    gap = _gap(s, old.next_offset, last, RECREATED, reason)._replace(
        topic_id=old.topic_id, extent=UNKNOWN
    )
    # Until the new ID was seen, messages of the new topic may have been stored from here on.
    maybe = max(s.committed or 0, s.progress.next_offset if s.progress else 0, old.next_offset)
    decision = _from_low(s, _generation(s) + 1, max(maybe, s.high) - 1, "the topic was recreated")
    return Decision(
        decision.start,
        decision.generation,
        decision.maybe_stored_to,
        gaps=[gap, *decision.gaps],
        notice=decision.notice,
    )


def _from_low(s: Situation, generation: int, maybe_stored_to: int, notice: str) -> Decision:
    """Read the log from its beginning; messages that it lacks were never stored."""
    gaps = [_deleted(s, 0, s.low - 1)] if s.low > 0 else []
    return Decision(s.low, generation, maybe_stored_to, gaps=gaps, notice=notice)


def _deleted(s: Situation, first: int, last: int) -> DeliveryGap:
    return _gap(s, first, last, DELETED, "Kafka deleted the messages before they were stored")


def _gap(s: Situation, first: int, last: int, cause: str, reason: str) -> DeliveryGap:
    return DeliveryGap(s.partition, first, last, reason, cause, s.topic_id, OPEN, EXACT)


def _ordered(s: Situation, order: Order, decision: Decision) -> Decision:
    """Go back to the first offset that an operator ordered to store again."""
    start = min(max(order.first, s.low), decision.start)
    return Decision(
        start,
        max(decision.generation, _generation(s) + 1),
        max(decision.maybe_stored_to, decision.start - 1, order.last),
        gaps=decision.gaps,
        notice=f"offsets {order.first} to {order.last} are stored again, as ordered",
    )


def _without_commit(s: Situation, rows: StoredRows) -> Decision:
    """Decide for a group without a committed offset: it is new, was deleted, or has expired."""
    newest = rows.last(0, s.high)
    known = s.progress.next_offset if s.progress else 0
    gaps = [_deleted(s, known, s.low - 1)] if known < s.low and (s.progress or not newest) else []
    if newest is None and known <= s.low:
        return Decision(s.low, _generation(s), gaps=gaps, notice=_gone(gaps))
    return Decision(
        s.low,
        _generation(s) + 1,
        max(known, (newest or 0) + 1) - 1,
        gaps=gaps,
        notice="the group has no position although offsets are stored: it was deleted or expired",
    )


def _truncated(s: Situation, committed: int) -> Decision:
    """Decide for a log that went back: some offsets come again with other messages."""
    stored_to = max(committed, s.progress.next_offset if s.progress else 0)
    gaps = []
    if (s.former_end or 0) > stored_to:
        reason = "Kafka lost the end of its log before it was stored"
        gaps.append(_gap(s, stored_to, (s.former_end or 0) - 1, TRUNCATED, reason))
    return Decision(
        s.low,
        _generation(s) + 1,
        max(stored_to, s.high) - 1,
        gaps=gaps,
        notice=f"the log went back: it ends at offset {s.high}, offset {committed} was next",
    )


def _own_commit(s: Situation, committed: int, rows: StoredRows) -> Decision:
    """Decide from an offset that radar committed for this topic."""
    generation = _generation(s)
    plan = _plan_at(s, committed)
    known = s.progress.next_offset if s.progress else 0
    # The worker records progress every few seconds. The newest row is no proof for those before it:
    # a worker may have stored it after an older copy replaced the database. Bad messages are no
    # rows and are read again, which costs little.
    stored_to = committed if known >= committed else rows.first_missing(known, committed)
    if stored_to < committed:
        start = max(stored_to, s.low)
        gaps = []
        if stored_to < min(start, committed):
            reason = "the database is an older copy, and Kafka has deleted the messages since"
            gaps.append(_gap(s, stored_to, min(start, committed) - 1, RESTORED, reason))
        if committed < s.low:
            gaps.append(_deleted(s, committed, s.low - 1))
        return Decision(
            start,
            generation + 1,
            committed - 1 if plan is None else plan.hi,
            gaps=gaps,
            notice=f"offsets {stored_to} to {committed - 1} were committed, and not all are rows",
        )
    accounted_to = max(known, committed)
    if s.low > committed:
        gaps = [_deleted(s, accounted_to, s.low - 1)] if accounted_to < s.low else []
        notice = f"Kafka deleted offsets {committed} to {s.low - 1}"
        return Decision(s.low, generation, accounted_to - 1, gaps=gaps, notice=notice)
    if known > s.high:
        # A broker came back with an older log and the committed offsets that belong to it.
        decision = _truncated(s, known)
        return Decision(
            committed, generation + 1, known - 1, gaps=decision.gaps, notice=decision.notice
        )
    return Decision(committed, generation, known - 1 if known > committed else -1, plan=plan)


def _rows_end(rows: StoredRows, first: int, end: int) -> int:
    newest = rows.last(first, end)
    return first if newest is None else newest + 1


def _foreign_commit(s: Situation, committed: int, rows: StoredRows) -> Decision:
    """Decide from an offset of another tool, or of a radar that wrote no metadata."""
    generation = _generation(s)
    plan = _plan_at(s, committed)
    if s.progress is None:
        if committed and rows.last(0, max(committed, s.high)) is None and not plan:
            return _from_low(
                s, generation + 1, committed - 1, "the group has a position, and no row is stored"
            )
        gaps = [_deleted(s, committed, s.low - 1)] if committed < s.low else []
        start = max(committed, s.low)
        return Decision(start, generation, -1, plan=plan, gaps=gaps, notice=_gone(gaps))
    known = s.progress.next_offset
    if committed < known:
        start = max(committed, s.low)
        return Decision(
            start,
            generation + 1,
            known - 1,
            plan=plan if plan and start == committed else None,
            notice=f"the group was set back from offset {known} to {committed}",
        )
    stored_to = _rows_end(rows, known, committed)
    gaps, start = [], max(committed, s.low)
    if stored_to < committed:
        reason = "the group was set forward over messages that were not stored"
        gaps.append(_gap(s, stored_to, committed - 1, MOVED, reason))
    if committed < s.low:
        gaps.append(_deleted(s, committed, s.low - 1))
    notice = f"the group was set forward from offset {stored_to} to {committed}" if gaps else ""
    return Decision(start, generation, -1, plan=plan, gaps=gaps, notice=notice)


def _gone(gaps: list[DeliveryGap]) -> str:
    return f"Kafka deleted offsets {gaps[0].first} to {gaps[0].last}" if gaps else ""
