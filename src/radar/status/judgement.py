"""One judgement per fact: the thresholds, and the rules that apply them. Pure.

Every view shows these judgements: `radar status`, the monitor, `radar doctor` and the pages have no
thresholds of their own. The alert rules of Prometheus repeat some of them; a test compares both.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from radar.clock import MOST_OFFSET_S as MOST_OFFSET_S
from radar.status.model import (
    Condition,
    ConnectionState,
    DiskState,
    Flow,
    Overview,
    PartitionState,
    ProcessState,
    ProducerState,
    Severity,
    Subject,
    Trend,
    Verdict,
)

# Below this a lag is normal: it is the batch being filled.
FEW_MESSAGES = 500
# A lag is a backlog if its messages arrive over more than this time at the present rate.
BACKLOG_S = 20.0
# Of a window: the longest time in which a producer may stop reading to wait for Kafka.
BACKPRESSURE_SHARE = 0.02
# One insert takes milliseconds; from here on it is the worker's bottleneck.
SLOW_INSERT_S = 1.0
# From the frame to the row; as the alert RadarSlow. A block may wait BATCH_TIMEOUT_SECONDS.
SLOW_S = 30.0
# A connection or dataset without a record for this long is silent; as the alert RadarNoData.
SILENT_S = 60.0
# A page calls a dataset live while its newest row is younger; a pause of this length may be normal.
MOVES_S = 15.0
# The age of a lag at which it is old; as the alert RadarLagOld.
OLD_LAG_S = 300.0
# Inserts fail while one was repeated within this time; as the alert RadarInsertsFail.
RETRIES_S = 120.0
# A gap is recent for this long after its end; as the alert RadarGaps.
RECENT_GAP_S = 900.0
# A disk fills, and is nearly full; as the alerts ClickHouseDiskFills and ClickHouseDiskFull.
DISK_FILLS_SHARE, DISK_FULL_BYTES = 0.15, 1 << 30
# Smallest time from a trade to its receipt; as the alert RadarClockSkew.
MOST_SKEW_S, LEAST_SKEW_S = 5.0, -1.5
# A lag that changes by less each second is steady, and so is one that changes by this share.
LEAST_TREND_PER_S, LEAST_TREND_SHARE = 1.0, 1 / 70
# How long an overview is evidence; one is made every second, and a busy machine delays it.
OVERVIEW_HOLDS_S = 10.0
# Slow tables are probed rarely: from here on views show the age of their facts.
OLD_S = 8.0
# Shares of a day at which coverage reaches the next level, from 0, bad, to 4, complete.
COVERAGE_LEVELS = (0.9, 0.99, 0.999, 1.0)
LEAST_GOOD_LEVEL = 2

IS_STARTING = "is starting"
# Phrases in the reasons of a process that begins or ends.
_PASSING = (
    *(IS_STARTING, "is stopping", "is stopped", "waits for its partitions", "not opened yet"),
    *("has not sent its market list yet", "not confirmed the topics yet"),
)
_WORST_FIRST: tuple[Severity, ...] = ("problem", "unknown", "warning", "passes")
_VERDICTS: dict[Severity, Verdict] = {
    "problem": "stuck",
    "unknown": "unknown",
    "warning": "warns",
    "passes": "passes",
}


def rank(severity: Severity) -> int:
    """Return a number that sorts the worst first."""
    return _WORST_FIRST.index(severity)


def verdict(overview: Overview, now_s: float | None = None) -> Verdict:
    """Return the state of the whole pipeline.

    Args:
        overview: The facts, with their obstacles.
        now_s: Unix time; an overview that is older than OVERVIEW_HOLDS_S then proves no state.
    """
    if now_s is not None and now_s - overview.at_s > OVERVIEW_HOLDS_S:
        return "unknown"
    if overview.obstacles:
        return _VERDICTS[min((each.severity for each in overview.obstacles), key=rank)]
    return "flows" if overview.producers or overview.workers else "idle"


def marked(overview: Overview) -> Overview:
    """Return the overview with the judgement of each single fact."""
    partitions = [_partition(each) for each in overview.partitions]
    producers = [
        replace(
            each,
            connections=[_connection(one) for one in each.connections],
            clock_differs=differs(each.clock_offset_s, each.clock_uncertainty_s),
        )
        for each in overview.producers
    ]
    tables_at_s = overview.tables_at_s
    return replace(
        overview,
        partitions=partitions,
        flows=[_flow(each, partitions, producers) for each in overview.flows],
        producers=producers,
        processes=[replace(each, condition=condition(each)) for each in overview.processes],
        tables_old=tables_at_s is not None and overview.at_s - tables_at_s > OLD_S,
        holds_s=OVERVIEW_HOLDS_S,
    )


def condition(process: ProcessState) -> Condition:
    """Return the condition of a process."""
    if process.state == "stopped":
        return "stopped"
    if process.state in ("starting", "restarting") or process.reasons == [IS_STARTING]:
        return "starting"
    if not process.alive:
        return "down"
    if not process.ready:
        return "starting" if passes(process.reasons) else "not_ready"
    if process.warnings:
        return "warns"
    return "ready" if process.address else "runs"


def passes(reasons: Iterable[str]) -> bool:
    """Return whether all reasons of a process pass by themselves, as at its start or end."""
    given = list(reasons)
    return bool(given) and all(any(words in each for words in _PASSING) for each in given)


def is_backlog(partition: PartitionState) -> bool:
    """Return whether a partition's lag is more than the batch being filled."""
    if not partition.lag or partition.stored_per_s is None:
        return False
    if not partition.stored_per_s and not partition.published_per_s:
        return True  # no message arrives and yet the lag does not shrink
    coming = partition.published_per_s or 0.0
    return partition.lag > max(FEW_MESSAGES, BACKLOG_S * coming)


def is_known(overview: Overview, subject: Subject) -> bool:
    """Return whether an answer is young enough to be evidence."""
    return any(
        each.subject == subject and each.holds and not each.error for each in overview.probes
    )


def is_undecided(overview: Overview) -> bool:
    """Return whether a steady lag may be a backlog, or only the time between two snapshots."""
    return any(
        each.lag > 0 and not each.stored_per_s and not each.published_per_s
        for each in overview.partitions
    )


def trend(per_s: float | None, lag: float) -> Trend | None:
    """Return whether a lag grows; None if unknown."""
    if per_s is None:
        return None
    if abs(per_s) <= max(LEAST_TREND_PER_S, lag * LEAST_TREND_SHARE):
        return "steady"
    return "grows" if per_s > 0 else "shrinks"


def is_nearly_full(disk: DiskState) -> bool:
    """Return whether a disk has nearly no room left."""
    return disk.free_bytes < DISK_FULL_BYTES


def fills(disk: DiskState) -> bool:
    """Return whether little of a disk is free."""
    return disk.free_bytes < DISK_FILLS_SHARE * disk.total_bytes


def is_skewed(skew_s: float | None) -> bool:
    """Return whether the clocks of the exchange and of a producer differ."""
    return skew_s is not None and not LEAST_SKEW_S <= skew_s <= MOST_SKEW_S


def differs(offset_s: float | None, uncertainty_s: float | None) -> bool | None:
    """Return whether two clocks surely differ by more than MOST_OFFSET_S; None: unknown."""
    if offset_s is None or uncertainty_s is None:
        return None
    return abs(offset_s) - uncertainty_s > MOST_OFFSET_S


def coverage_level(share: float) -> int:
    """Return the level of a share of a day, from 0, bad, to 4, complete."""
    return sum(share >= least for least in COVERAGE_LEVELS)


def is_covered(share: float | None) -> bool:
    """Return whether coverage is good enough to need no attention."""
    return share is not None and coverage_level(share) >= LEAST_GOOD_LEVEL


def _partition(each: PartitionState) -> PartitionState:
    return replace(each, trend=trend(each.lag_per_s, each.lag), backlog=is_backlog(each))


def _flow(
    flow: Flow, partitions: Iterable[PartitionState], producers: Iterable[ProducerState]
) -> Flow:
    connections = [
        one for each in producers if each.dataset == flow.dataset for one in each.connections
    ]
    own = [each for each in partitions if each.dataset == flow.dataset]
    changes = [each.lag_per_s for each in own if each.lag_per_s is not None]
    return replace(
        flow,
        trend=trend(sum(changes) if changes else None, flow.lag or 0),
        backlog=any(each.backlog for each in own),
        slow=flow.latency_s is not None and flow.latency_s > SLOW_S,
        silent=bool(connections) and all(each.stale for each in connections),
    )


def _connection(each: ConnectionState) -> ConnectionState:
    silent_s = each.age_s if each.last_frame_age_s is None else each.last_frame_age_s
    return replace(each, stale=silent_s > SILENT_S)
