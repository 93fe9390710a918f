"""What a running pipeline does right now: rates, lag, rows, latency, problems."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from radar.errors import BrokerUnavailable
from radar.kafka import Cluster
from radar.kinds import KINDS
from radar.observe.scrape import Totals, scrape

WINDOW_S = 15.0  # longer than the interval of depth snapshots, which come in bursts
PROBLEMS = 8
READ_BYTES = 1_000_000


@dataclass(frozen=True)
class Flow:
    """One kind of record on its way, now."""

    received_per_s: float
    published_per_s: float
    stored_per_s: float
    received: int
    published: int
    stored: int
    waiting: int | None  # lag of the workers; None before it is known
    latency_s: float | None  # mean of the blocks stored in the last seconds
    invalid_frames: int
    dead_letters: int
    connections: int


@dataclass(frozen=True)
class Problem:
    """A warning or error from the log of a process."""

    at: str
    process: str
    text: str


@dataclass(frozen=True)
class _Moment:
    at_s: float
    counters: dict[tuple[str, str], float]


_COUNTERS = (
    "radar_frames_total",
    "radar_published_total",
    "radar_rows_total",
    "radar_latency_seconds_sum",
    "radar_latency_seconds_count",
    "radar_invalid_frames_total",
    "radar_dead_letters_total",
)


class Progress:
    """Collects from the processes' metrics, from Kafka and from the logs."""

    def __init__(self, log_dir: Path) -> None:
        self.period_s = 1.0
        self.rounds = 0  # how often everything was collected
        self.stopping = False
        self.problems: deque[Problem] = deque(maxlen=PROBLEMS)
        self._log_dir = log_dir
        self._log_ends = {path: path.stat().st_size for path in log_dir.glob("*.log")}
        self._totals = Totals()
        self._names: list[str] = []
        self._waiting: dict[str, int] = {}
        self._moments: deque[_Moment] = deque()

    async def keep_up(self, metrics_ports: Callable[[], dict[str, int]], cluster: Cluster) -> None:
        """Collect regularly until cancelled, from the processes that serve metrics."""
        while True:
            await asyncio.to_thread(self._collect, metrics_ports(), cluster)
            self.rounds += 1
            await asyncio.sleep(self.period_s)

    @property
    def frames_received(self) -> float:
        """Frames received so far, of all kinds."""
        return sum(self._totals.total("radar_frames_total", kind) for kind in KINDS)

    def flow(self, kind: str) -> Flow:
        """Return the state of one kind of record."""
        count = {name: self._totals.total(name, kind) for name in _COUNTERS}
        rate = {name: self._rate(name, kind) for name in _COUNTERS}
        blocks_per_s = rate["radar_latency_seconds_count"]
        return Flow(
            received_per_s=rate["radar_frames_total"],
            published_per_s=rate["radar_published_total"],
            stored_per_s=rate["radar_rows_total"],
            received=int(count["radar_frames_total"]),
            published=int(count["radar_published_total"]),
            stored=int(count["radar_rows_total"]),
            waiting=self._waiting.get(kind),
            latency_s=rate["radar_latency_seconds_sum"] / blocks_per_s if blocks_per_s else None,
            invalid_frames=int(count["radar_invalid_frames_total"]),
            dead_letters=int(count["radar_dead_letters_total"]),
            connections=int(self._totals.gauge("radar_connections", kind, self._names)),
        )

    def _rate(self, name: str, kind: str) -> float:
        if len(self._moments) < 2:
            return 0.0
        first, last = self._moments[0], self._moments[-1]
        grown = last.counters[name, kind] - first.counters[name, kind]
        return grown / (last.at_s - first.at_s)

    def _collect(self, ports: dict[str, int], cluster: Cluster) -> None:
        self._names = list(ports)
        for name, port in ports.items():
            self._totals.add(name, scrape(port))
        now_s = time.monotonic()
        self._moments.append(
            _Moment(now_s, {(n, k): self._totals.total(n, k) for n in _COUNTERS for k in KINDS})
        )
        while self._moments[0].at_s < now_s - WINDOW_S:
            self._moments.popleft()
        try:
            for kind in KINDS.values():
                lags = cluster.lag(kind.topic, kind.group)
                self._waiting[kind.name] = sum(lag.messages for lag in lags)
        except BrokerUnavailable:
            self._waiting = {}
        self._read_logs()

    def _read_logs(self) -> None:
        for path in sorted(self._log_dir.glob("*.log")):
            start = self._log_ends.get(path, 0)
            with path.open("rb") as log:
                log.seek(start)
                read = log.read(READ_BYTES)
            lines = read.split(b"\n")
            # The last line may not be complete yet; one that never ends is left out.
            rest = len(lines.pop()) if lines[1:] or len(read) < READ_BYTES else 0
            self._log_ends[path] = start + len(read) - rest
            self.problems.extend(
                problem for line in lines if (problem := _problem(path.stem, line)) is not None
            )


def _problem(process: str, line: bytes) -> Problem | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("level") not in ("warning", "error", "critical"):
        return None
    details = [
        f"{key}={value}"
        for key, value in fields.items()
        if key not in ("level", "timestamp", "event", "role", "logger")
    ]
    text = " ".join(" ".join([str(fields.get("event", "")), *details]).split())
    return Problem(str(fields.get("timestamp", ""))[11:19], process, text[:300])
