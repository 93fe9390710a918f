"""The processes and their addresses: those of a running `radar up`, or of MONITOR_PROCESSES."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from radar.settings import Settings
from radar.status.state import running_pipeline
from radar.text import host_port


class Served(NamedTuple):
    """A process.

    Attributes:
        name: Its name.
        host: The host at which it serves health and metrics.
        port: Its port; 0 if it serves none.
        state: Running, starting, restarting, failed or stopped; empty if unknown.
        pid: Its process id, if known.
        restarts: How often it was started again.
    """

    name: str
    host: str
    port: int
    state: str = ""
    pid: int | None = None
    restarts: int = 0

    @property
    def address(self) -> str:
        """HOST:PORT; empty if it serves no health."""
        return host_port(self.host, self.port) if self.port else ""


class Deployment(NamedTuple):
    """The processes of a pipeline and the addresses of its stores.

    Attributes:
        processes: All known ones, in the order of the data's way.
        simulated: Whether the exchange is simulated.
        started_at_s: When `radar up` was started, Unix time; None if none runs.
        log_dir: Where the processes' logs are, if they are on this machine.
        kafka: Address of the brokers; empty: as in the options.
        clickhouse: Address of the database; empty: as in the options.
        dashboard: URL of the dashboard; empty: none is known.
    """

    processes: list[Served]
    simulated: bool = False
    started_at_s: float | None = None
    log_dir: Path | None = None
    kafka: str = ""
    clickhouse: str = ""
    dashboard: str = ""

    def reach(self, settings: Settings) -> Settings:
        """Return options that lead to the stores of this deployment."""
        changes: dict[str, Any] = {}
        if self.kafka and self.kafka not in settings.kafka_broker.split(","):
            changes["kafka_broker"] = self.kafka
        if self.clickhouse:
            host, _, port = self.clickhouse.rpartition(":")
            changes |= {"clickhouse_host": host.strip("[]"), "clickhouse_port": int(port)}
        return settings.model_copy(update=changes) if changes else settings


def find(settings: Settings) -> Deployment:
    """Return the `radar up` that runs on this data, else the processes in MONITOR_PROCESSES."""
    pipeline = running_pipeline(settings.radar_data_dir)
    if pipeline is None:
        return Deployment(named(settings.monitor_processes))
    return of_state(pipeline)


def of_state(state: Mapping[str, Any]) -> Deployment:
    """Read the state file of a `radar up`."""
    processes = [
        Served(
            each["name"],
            "127.0.0.1",
            each["metrics_port"],
            each["state"],
            each["pid"],
            each["restarts"],
        )
        for each in state["processes"]
    ]
    return Deployment(
        processes,
        state["simulated"],
        state["started_at"],
        Path(state["data_dir"]) / "logs",
        state["kafka_broker"],
        state["clickhouse"],
        state.get("dashboard", ""),
    )


def named(processes: tuple[str, ...]) -> list[Served]:
    """Parse MONITOR_PROCESSES; a process without a name gets its host's, if that is unique."""
    split = [each.rpartition("=") for each in processes]
    hosts = Counter(address.rpartition(":")[0] for _, _, address in split)
    found = []
    for name, _, address in split:
        host, _, port = address.rpartition(":")
        own = name or (host if hosts[host] == 1 else address)
        found.append(Served(own, host.strip("[]"), int(port)))
    return found
