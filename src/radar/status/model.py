"""The facts about a running pipeline at one moment: the same for every view.

The terminal view, the dashboard and `radar status` show these facts and add none. Rates are per
second, over the last `radar.status.rates.WINDOW_S`; ages and durations are in seconds; sizes in
bytes. None means: not known, or there is none yet.
"""

from typing import Literal

from msgspec import Struct

Stage = Literal["exchange", "connections", "partitions", "workers", "tables"]
"""The stages on the data's way, in order."""

Severity = Literal["problem", "unknown", "warning", "passes"]
"""The worst first. A fact is unknown without evidence, or if the evidence is too old."""

Verdict = Literal["stuck", "unknown", "warns", "passes", "idle", "flows"]
"""The state of the whole. Idle: no process is known. Flows: no obstacle is known."""

Subject = Literal["kafka", "clickhouse", "tables", "markets", "letters"]
"""The subjects of the probes."""

Trend = Literal["grows", "steady", "shrinks"]

Condition = Literal["ready", "runs", "warns", "not_ready", "starting", "stopped", "down"]
"""The condition of a process. Runs: it serves no health, so no more is known."""


class ConnectionState(Struct, frozen=True):
    """One connection to the exchange."""

    producer: str
    name: str
    markets: int
    age_s: float
    last_frame_age_s: float | None
    frames: int
    stale: bool = False  # no record for longer than `judgement.SILENT_S`


class ProducerState(Struct, frozen=True):
    """One producer."""

    name: str
    dataset: str
    address: str  # HOST:PORT of its health and metrics
    alive: bool
    ready: bool
    reasons: list[str]  # why it is not ready
    frames_per_s: float
    bytes_per_s: float
    published_per_s: float
    queue: int  # messages that wait for Kafka
    backpressure_share: float  # of the window, in which it did not read the exchange
    last_frame_age_s: float | None
    clock_skew_s: float | None
    reconnects: int
    invalid_frames: int
    publish_failed: int
    connections: list[ConnectionState]
    memory_bytes: int | None
    # This machine's clock minus the exchange's, from its REST answers; None: unknown.
    clock_offset_s: float | None = None
    clock_uncertainty_s: float | None = None  # the true offset is so near
    clock_differs: bool | None = None  # by more than MOST_OFFSET_S for sure; None: unknown


class PartitionState(Struct, frozen=True):
    """One partition of a topic and the position of its worker."""

    dataset: str
    topic: str
    partition: int
    start: int  # oldest offset in the log
    end: int
    committed: int | None
    lag: int  # messages that wait
    lag_per_s: float | None  # above zero it grows
    published_per_s: float | None
    stored_per_s: float | None
    owner: str | None  # name of the worker
    owner_known: bool = True  # False: a worker that has not answered yet may own it
    trend: Trend | None = None
    backlog: bool = False  # more than the batch being filled: `judgement.is_backlog`


class WorkerState(Struct, frozen=True):
    """One worker."""

    name: str
    dataset: str
    address: str
    alive: bool
    ready: bool
    reasons: list[str]
    partitions: list[int]
    rows_per_s: float
    blocks_per_s: float
    insert_s: float | None  # mean of the window
    latency_s: float | None  # mean, from the frame to the durable row, oldest row of each block
    insert_retries: int
    dead_letters: int
    rebalances: int
    halted_partitions: int
    memory_bytes: int | None
    flooding_markets: int = 0  # markets that send too many bad messages
    unreadable_partitions: int = 0  # partitions that stand at a batch which no client can read
    lag_age_s: float | None = None  # of its oldest message that is not stored; None: unknown


class TableState(Struct, frozen=True):
    """One table of ClickHouse, as its readers' view counts it."""

    dataset: str
    name: str
    rows: int
    rows_last_minute: int
    newest_at_s: float | None  # Unix time of the newest row's receipt
    size_bytes: int
    parts: int


class DiskState(Struct, frozen=True):
    """The free space of a disk on which data is stored."""

    name: str
    free_bytes: int
    total_bytes: int


class Flow(Struct, frozen=True):
    """One dataset on its way, summed over all processes.

    Totals count from the start of the processes. For a restarted process, they include the counts
    that radar observed before.
    """

    dataset: str
    connections: int
    frames_per_s: float
    published_per_s: float
    stored_per_s: float
    frames: int
    published: int
    stored: int
    lag: int | None
    latency_s: float | None
    last_frame_age_s: float | None
    invalid_frames: int
    dead_letters: int  # sent by the workers since they began
    open_letters: int | None = None  # in Kafka, neither replayed nor purged
    trend: Trend | None = None  # of the lag
    backlog: bool = False  # in at least one partition
    slow: bool = False  # latency above `judgement.SLOW_S`
    silent: bool = False  # no record for longer than `judgement.SILENT_S`
    heard: bool = True  # a producer has answered: else frames and connections are not known

    @property
    def is_used(self) -> bool:
        """Whether messages have come; an optional dataset may never have any."""
        return bool(self.published or self.stored or self.lag)


class MarketAge(Struct, frozen=True):
    """A market without a record for long."""

    dataset: str
    symbol: str
    age_s: float | None  # since its newest row was received; None if there is no recent one


class MarketLatency(Struct, frozen=True):
    """A market whose rows take long."""

    dataset: str
    symbol: str
    latency_s: float  # mean of the last minute's rows, from the frame to the row


class MarketState(Struct, frozen=True):
    """A market as it was stored last; times are Unix times in seconds."""

    symbol: str
    last_price: str | None  # exact
    best_bid: float | None
    best_ask: float | None
    trade_at_s: float | None  # when the newest stored trade was received
    book_at_s: float | None
    trade_latency_s: float | None  # mean of the last minute's rows, from the frame to the row
    book_latency_s: float | None


class RecentGap(Struct, frozen=True):
    """A time in which no connection covered some markets."""

    dataset: str
    cause: str
    symbols: list[str]
    began_at_s: float  # Unix time
    ended_at_s: float
    repaired: bool  # its trades were fetched afterwards


class RecentDeadLetter(Struct, frozen=True):
    """A message that could not be stored."""

    dataset: str
    at_s: float  # Unix time
    reason: str
    detail: str
    topic: str  # the topic of the message
    partition: int
    offset: int
    replayed: bool


class SkippedOffsets(Struct, frozen=True):
    """Offsets that are no rows: a row of the table `delivery_gaps`."""

    topic: str
    partition: int
    first: int
    last: int  # included
    cause: str
    explanation: str  # the operator's words; of an open gap: the observation
    recorded_at_s: float  # Unix time
    is_open: bool = False  # neither repaired nor acknowledged
    is_exact: bool = True  # otherwise more offsets may be lost than these


class ProcessState(Struct, frozen=True):
    """A process of `radar up`, or one that MONITOR_PROCESSES names."""

    name: str
    state: str  # running, starting, restarting, failed, stopped; "" if unknown
    pid: int | None
    restarts: int
    address: str  # HOST:PORT of its health and metrics; "" if it serves none
    alive: bool
    ready: bool
    reasons: list[str]  # why it is not ready
    warnings: list[str] = []  # for the operator, although it is ready
    condition: Condition = "ready"


class ProbeResult(Struct, frozen=True):
    """A subject of repeated probes, and the age of its newest answer."""

    subject: Subject
    age_s: float | None  # None: it has never answered
    holds: bool  # the answer is younger than its deadline
    error: str | None = None  # why there is no newer one
    starting: bool = False  # it could not answer yet


class Problem(Struct, frozen=True):
    """A warning or error: from a process's log, or about a subject that does not answer."""

    at_s: float
    process: str
    text: str
    code: str = ""  # of the sentence, by which pages translate it; empty: there is none
    values: dict[str, str] = {}  # the values in the sentence
    passes: bool = False  # the process retries it; it is over once the process is ready


class Bottleneck(Struct, frozen=True):
    """A place where the pipeline is stuck or slowest, or that needs the operator's attention."""

    stage: Stage
    dataset: str  # empty: all
    text: str  # one line: the defect and its effect
    severity: Severity = "problem"
    subject: str = ""  # the process, if it is one

    @property
    def passes(self) -> bool:
        """Whether it is expected to pass by itself: a start, a backlog that shrinks."""
        return self.severity == "passes"


class Overview(Struct, frozen=True):
    """All known facts about the pipeline at one moment."""

    at_s: float  # Unix time
    exchange: str
    simulated: bool
    uptime_s: float | None  # of `radar up`; None elsewhere
    kafka: str  # address
    clickhouse: str  # address and database
    flows: list[Flow]
    producers: list[ProducerState]
    partitions: list[PartitionState]
    workers: list[WorkerState]
    tables: list[TableState]
    stalest: list[MarketAge]
    letters: list[RecentDeadLetter]
    problems: list[Problem]  # newest last
    bottleneck: Bottleneck | None  # None: everything flows, or no process is known
    obstacles: list[Bottleneck] = []  # all places where it is stuck, the bottleneck first
    verdict: Verdict = "unknown"
    holds_s: float = 0.0  # the overview is evidence for so long after `at_s`
    probes: list[ProbeResult] = []
    tables_old: bool = False  # the facts of the tables are shown with their age
    processes: list[ProcessState] = []  # in the order of the data's way
    slowest: list[MarketLatency] = []
    markets: list[MarketState] = []  # all recorded markets, by symbol
    gaps: list[RecentGap] = []  # newest first
    delivery_gaps: list[SkippedOffsets] = []  # newest first
    rates_over_s: float = 0.0  # the span of the rates so far; 0.0: not known yet
    tables_at_s: float | None = None  # when ClickHouse answered about its tables
    markets_at_s: float | None = None  # and about markets and gaps
    kafka_origin: str = ""  # real or simulated, from its mark; empty: not marked, or not known
    clickhouse_origin: str = ""
    kafka_error: str | None = None  # why it does not answer
    clickhouse_error: str | None = None
    disk_error: str | None = None  # why the data folder takes no data, if on this machine
    disks: list[DiskState] = []  # of the data folder and of ClickHouse, as far as they are known
    disks_error: str | None = None  # why ClickHouse's disks are not known, although it answers
