"""From the facts of an overview to the conditions that alert a person. Pure.

Thresholds and severities are those of `radar.status.judgement`. A kind whose evidence is missing is
not judged: its condition neither begins nor ends, and the missing evidence is a condition itself.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from radar.alerts import kinds
from radar.alerts.kinds import Kind
from radar.status import judgement
from radar.status.bottleneck import duration
from radar.status.model import Overview, ProducerState, RecentGap, Subject

SHOWN_SYMBOLS = 3
GIBIBYTE = 1 << 30
# A view derives the gap `not_recording` while it lasts; its cause is reported meanwhile.
LASTING_GAP_S = 30.0
EVERY = ""  # all subjects of a kind
# The kinds whose facts a probe knows. The conditions of a process come from the process itself.
_OF_PROBE: dict[Subject, tuple[Kind, ...]] = {
    "kafka": (kinds.LAG,),
    "clickhouse": (),
    "tables": (kinds.OFFSETS_LOST,),
    "markets": (kinds.GAP,),
    "letters": (kinds.DEAD_LETTERS,),
}
_KNOWN_BY: dict[Subject, str] = {
    "kafka": "how far the workers are (Kafka)",
    "clickhouse": "whether rows can be stored (ClickHouse)",
    "tables": "which offsets are lost (ClickHouse)",
    "markets": "which gaps there are (ClickHouse)",
    "letters": "whether there are dead letters (Kafka)",
}


class Key(NamedTuple):
    """The identity of a condition: one message is sent for each while it lasts."""

    kind: Kind
    subject: str


class Condition(NamedTuple):
    """A condition at this moment; its text changes while it lasts."""

    key: Key
    text: str


@dataclass(frozen=True)
class Judged:
    """The conditions of one overview.

    Attributes:
        conditions: Those that hold.
        unproven: Those that may hold or not; the subject EVERY stands for all of its kind.
    """

    conditions: list[Condition]
    unproven: frozenset[Key]

    def is_unproven(self, key: Key) -> bool:
        """Return whether there is no evidence about a condition."""
        return key in self.unproven or Key(key.kind, EVERY) in self.unproven


class Retries:
    """Remembers when the inserts of each worker were last repeated."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._grew_at_s: dict[tuple[str, str], float] = {}

    def take(self, overview: Overview) -> None:
        """Compare with the observation before; a worker that is new counts from now on."""
        for each in overview.workers:
            name = each.name, each.dataset
            if each.insert_retries > self._counts.get(name, each.insert_retries):
                self._grew_at_s[name] = overview.at_s
            self._counts[name] = each.insert_retries

    def recent(self, now_s: float) -> list[tuple[str, str]]:
        """Return the workers, and their datasets, whose inserts fail."""
        return [
            name for name, at_s in self._grew_at_s.items() if now_s - at_s <= judgement.RETRIES_S
        ]


def judge(overview: Overview, retries: Retries) -> Judged:
    """Return the conditions that the facts prove, and those without evidence."""
    retries.take(overview)
    unproven = frozenset(_unproven(overview))
    found = (
        *(_stores(overview), _unknown(overview), _processes(overview), _stalls(overview)),
        *(_gaps(overview), _lags(overview), _inserts(overview, retries)),
        *(_letters(overview), _lost(overview), _disks(overview)),
    )
    judged = Judged([], unproven)
    conditions = {
        each.key: each
        for conditions in found
        for each in conditions
        if not judged.is_unproven(each.key)
    }
    return Judged(list(conditions.values()), unproven)


def nothing_known(reason: str) -> Judged:
    """Return the judgement without any facts."""
    every = frozenset(Key(each, EVERY) for each in kinds.KINDS if each is not kinds.UNKNOWN)
    text = f"the state of the pipeline is not known: {reason}"
    return Judged([Condition(Key(kinds.UNKNOWN, "overview"), text)], every)


def _unproven(overview: Overview) -> Iterator[Key]:
    for subject, known in _OF_PROBE.items():
        if not judgement.is_known(overview, subject):
            yield from (Key(kind, EVERY) for kind in known)
    errors = {"Kafka": overview.kafka_error, "ClickHouse": overview.clickhouse_error}
    for name in (each for each, error in errors.items() if error):
        # The store that does not answer is the condition; its consequences are not judged.
        yield from (Key(kind, EVERY) for kind in kinds.KINDS if kind.is_effect)
        yield from (Key(kinds.UNKNOWN, each) for each, words in _KNOWN_BY.items() if name in words)
    if overview.disks_error or not overview.disks:
        yield Key(kinds.DISK_FILLS, EVERY)
        yield Key(kinds.DISK_FULL, EVERY)
    for process in overview.processes:
        if not process.alive and process.state != "stopped":
            for kind in (kinds.NOT_READY, kinds.WARNS, kinds.STALL):
                yield Key(kind, process.name)
    for worker in overview.workers:
        if not worker.alive:
            yield Key(kinds.OLD_LAG, worker.dataset)


def _stores(overview: Overview) -> Iterator[Condition]:
    if overview.kafka_error:
        text = f"Kafka does not answer: no message is published or stored. {overview.kafka_error}"
        yield Condition(Key(kinds.KAFKA, "kafka"), text)
    if overview.clickhouse_error:
        text = f"ClickHouse does not answer: no row is stored. {overview.clickhouse_error}"
        yield Condition(Key(kinds.CLICKHOUSE, "clickhouse"), text)


def _unknown(overview: Overview) -> Iterator[Condition]:
    for probe in overview.probes:
        if not probe.starting and not judgement.is_known(overview, probe.subject):
            text = f"it is not known {_KNOWN_BY[probe.subject]}: {probe.error or 'no answer'}"
            yield Condition(Key(kinds.UNKNOWN, probe.subject), text)
    if overview.disks_error:
        text = f"it is not known how full ClickHouse's disks are: {overview.disks_error}"
        yield Condition(Key(kinds.UNKNOWN, "disks"), text)
    if not overview.processes:
        text = "it is not known whether radar records: set MONITOR_PROCESSES, or start radar up"
        yield Condition(Key(kinds.UNKNOWN, "processes"), text)


def _processes(overview: Overview) -> Iterator[Condition]:
    for each in overview.processes:
        why = "; ".join(each.reasons) or "it gives no reason"
        if each.condition == "down":
            yield Condition(Key(kinds.PROCESS_DOWN, each.name), f"{each.name} is down: {why}")
        elif each.condition in ("not_ready", "starting"):
            yield Condition(Key(kinds.NOT_READY, each.name), f"{each.name} is not ready: {why}")
        if each.alive and each.warnings:
            text = f"{each.name} warns: {'; '.join(each.warnings)}"
            yield Condition(Key(kinds.WARNS, each.name), text)


def _stalls(overview: Overview) -> Iterator[Condition]:
    for each in overview.producers:
        silent_s = _silent_s(each)
        if each.alive and silent_s > judgement.SILENT_S:
            text = f"{each.name} has received no frame of {each.dataset} for {duration(silent_s)}"
            yield Condition(Key(kinds.STALL, each.name), text)


def _silent_s(producer: ProducerState) -> float:
    """Return for how long a producer has received no frame, as far as it knows."""
    if producer.last_frame_age_s is not None:
        return producer.last_frame_age_s
    # Without any frame since its start. Without a connection it is not ready, which is another
    # condition.
    return max((each.age_s for each in producer.connections), default=0.0)


def _gaps(overview: Overview) -> Iterator[Condition]:
    recent: dict[str, list[RecentGap]] = {}
    for gap in overview.gaps:
        ago_s = overview.at_s - gap.ended_at_s
        lasts = gap.cause == "not_recording" and ago_s < LASTING_GAP_S
        if not gap.repaired and not lasts and ago_s <= judgement.RECENT_GAP_S:
            recent.setdefault(f"{gap.dataset} {gap.cause}", []).append(gap)
    for subject, gaps in recent.items():
        symbols = sorted({symbol for gap in gaps for symbol in gap.symbols})
        shown = ", ".join(symbols[:SHOWN_SYMBOLS])
        more = f" and {len(symbols) - SHOWN_SYMBOLS} more" if len(symbols) > SHOWN_SYMBOLS else ""
        longest_s = max(gap.ended_at_s - gap.began_at_s for gap in gaps)
        count = "a gap was" if len(gaps) == 1 else f"{len(gaps)} gaps were"
        text = (
            f"{count} recorded in {gaps[0].dataset} ({gaps[0].cause}): {shown}{more}, at most"
            f" {duration(longest_s)} long"
        )
        yield Condition(Key(kinds.GAP, subject), text)


def _lags(overview: Overview) -> Iterator[Condition]:
    for flow in overview.flows:
        if flow.backlog and flow.trend != "shrinks":
            text = f"{flow.lag or 0:,} messages of {flow.dataset} wait, and do not get fewer"
            yield Condition(Key(kinds.LAG, flow.dataset), text)
    ages: dict[str, float] = {}
    for worker in overview.workers:
        ages[worker.dataset] = max(worker.lag_age_s or 0.0, ages.get(worker.dataset, 0.0))
    for dataset, age_s in ages.items():
        if age_s > judgement.OLD_LAG_S:
            text = f"a message of {dataset} has waited for {duration(age_s)} to be stored"
            yield Condition(Key(kinds.OLD_LAG, dataset), text)


def _inserts(overview: Overview, retries: Retries) -> Iterator[Condition]:
    failing: dict[str, list[str]] = {}
    for name, dataset in retries.recent(overview.at_s):
        failing.setdefault(dataset, []).append(name)
    for dataset, names in failing.items():
        text = f"inserts of {dataset} fail and are repeated ({', '.join(sorted(names))})"
        yield Condition(Key(kinds.INSERTS, dataset), text)


def _letters(overview: Overview) -> Iterator[Condition]:
    for flow in overview.flows:
        if flow.open_letters:
            text = f"{_some(flow.open_letters, 'message')} of {flow.dataset} could not become rows"
            yield Condition(Key(kinds.DEAD_LETTERS, flow.dataset), text)


def _lost(overview: Overview) -> Iterator[Condition]:
    lost: dict[str, int] = {}
    for gap in overview.delivery_gaps:
        if gap.is_open:
            lost[gap.topic] = lost.get(gap.topic, 0) + gap.last - gap.first + 1
    for topic, count in lost.items():
        text = f"{_some(count, 'offset')} of {topic} got lost before a worker stored them"
        yield Condition(Key(kinds.OFFSETS_LOST, topic), text)


def _disks(overview: Overview) -> Iterator[Condition]:
    for disk in overview.disks:
        share = disk.free_bytes / disk.total_bytes if disk.total_bytes else math.nan
        text = f"{disk.free_bytes / GIBIBYTE:,.1f} GiB ({share:.0%}) are free: {disk.name}"
        if judgement.is_nearly_full(disk):
            yield Condition(Key(kinds.DISK_FULL, disk.name), text)
        if judgement.fills(disk):
            yield Condition(Key(kinds.DISK_FILLS, disk.name), text)


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
