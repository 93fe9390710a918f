"""The kinds of conditions that alert a person. Pure.

A kind has the name of the alert rule of Prometheus that judges the same fact, and its remedy is the
section of that name in docs/operations.md. A test compares both.
"""

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of condition.

    Attributes:
        name: Its name in metrics and logs.
        rule: The alert rule of the same fact; empty: there is none.
        hold_s: A condition is reported only after it has lasted this long.
        remedy: The first step, as an imperative.
        over: The sentence of the recovery message.
        critical: Whether data is missing, or soon will be.
        section: Heading in docs/operations.md; empty: that of the rule.
        is_effect: A store that does not answer explains it, so it is not judged then.
    """

    name: str
    rule: str
    hold_s: float
    remedy: str
    over: str
    critical: bool = False
    section: str = ""
    is_effect: bool = False

    @property
    def words(self) -> str:
        """Its name as words."""
        return self.name.replace("_", " ")

    @property
    def link(self) -> str:
        """The place of the remedy in the documents."""
        return f"docs/operations.md#{self.section or self.rule.lower()}"


KAFKA = Kind(
    "kafka",
    "",
    60,
    "start Kafka, and check that its disk has room",
    "Kafka answers again",
    critical=True,
    section="radarnotready",
)
CLICKHOUSE = Kind(
    "clickhouse",
    "ClickHouseDown",
    60,
    "start ClickHouse; messages wait in Kafka until then",
    "ClickHouse answers again",
    critical=True,
)
UNKNOWN = Kind(
    "unknown",
    "",
    120,
    "run radar status, and restore the service that does not answer",
    "the fact is known again",
    critical=True,
    section="where-to-look",
)
PROCESS_DOWN = Kind(
    "process_down",
    "RadarProcessDown",
    60,
    "start the process, and read the end of its log",
    "the process answers again",
    critical=True,
)
NOT_READY = Kind(
    "not_ready",
    "RadarNotReady",
    120,
    "follow the reason",
    "the process is ready again",
    critical=True,
    is_effect=True,
)
WARNS = Kind("warns", "RadarWarns", 120, "follow the warning", "the process does not warn any more")
STALL = Kind(
    "stall",
    "RadarNoData",
    30,
    "read the producer's log, and connect to the exchange from its machine",
    "frames arrive again",
    critical=True,
)
# A producer records a gap when its backfill has ended. The rule counts repaired gaps, too.
GAP = Kind(
    "gap",
    "RadarGaps",
    0,
    "run radar coverage MARKET, and look for a cause that comes back",
    "no further gap has ended within 15 minutes",
)
LAG = Kind(
    "lag",
    "RadarLagGrows",
    300,
    "run radar lag, and start more workers",
    "the lag shrinks, or is stored",
    is_effect=True,
)
OLD_LAG = Kind(
    "old_lag",
    "RadarLagOld",
    60,
    "run radar lag and radar status, and restart the worker that stores nothing",
    "no message waits that long any more",
    critical=True,
    is_effect=True,
)
INSERTS = Kind(
    "inserts_fail",
    "RadarInsertsFail",
    180,
    "read the error in the worker's log",
    "inserts succeed again",
    critical=True,
    is_effect=True,
)
DEAD_LETTERS = Kind(
    "dead_letters",
    "RadarDeadLetters",
    0,
    "run radar dlq list, remove the cause, then run radar dlq replay",
    "no dead letter is open any more",
)
OFFSETS_LOST = Kind(
    "offsets_lost",
    "RadarOffsetsLost",
    0,
    "run radar verify, then radar restore or radar acknowledge",
    "no lost offset is open any more",
    critical=True,
)
DISK_FILLS = Kind(
    "disk_fills", "ClickHouseDiskFills", 300, "free space, or lower RETENTION_DAYS", "space is free"
)
DISK_FULL = Kind(
    "disk_full",
    "ClickHouseDiskFull",
    60,
    "free space at once",
    "more than 1 GiB is free again",
    critical=True,
)

KINDS = (
    *(KAFKA, CLICKHOUSE, UNKNOWN, PROCESS_DOWN, NOT_READY, WARNS, STALL, GAP, LAG, OLD_LAG),
    *(INSERTS, DEAD_LETTERS, OFFSETS_LOST, DISK_FILLS, DISK_FULL),
)
