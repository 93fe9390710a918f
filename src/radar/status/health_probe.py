"""`radar health`: probe processes for liveness and readiness.

It runs often, as the health check of a container, so it imports little.
"""

import http.client
import ipaddress
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from radar.errors import ConfigurationError, NotRunning
from radar.status.state import running_pipeline
from radar.text import host_port

if TYPE_CHECKING:
    from radar.settings import Settings

ANSWER_TIMEOUT_S = 2.0
MAX_PORT = 65535


class HealthReport(NamedTuple):
    """A process's report about itself."""

    name: str
    alive: bool
    ready: bool
    reasons: list[str]  # why it is not ready
    warnings: list[str] = []  # noqa: RUF012 - never changed

    def __str__(self) -> str:
        """Return one line."""
        alive, ready = (
            "alive" if self.alive else "NOT alive",
            "ready" if self.ready else "NOT ready",
        )
        lines = [*self.reasons, *(f"warning: {each}" for each in self.warnings)]
        return f"{self.name}: {alive}, {ready}" + "".join(f"; {each}" for each in lines)


def parse(address: str) -> tuple[str, int]:
    """Parse HOST:PORT.

    Raises:
        ConfigurationError: It has another form.
    """
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= MAX_PORT:
        raise ConfigurationError(f"{address!r} is not HOST:PORT: write e.g. 127.0.0.1:9100")
    return host.strip("[]"), int(port)


def ask(host: str, port: int, name: str = "") -> HealthReport:
    """Probe the process that serves at an address; blocks for twice ANSWER_TIMEOUT_S at most."""
    name = name or host_port(host, port)
    try:
        alive, why_not_alive, _ = _get(host, port, "/healthz")
        ready, why_not_ready, warnings = _get(host, port, "/readyz")
    except TimeoutError:
        return HealthReport(name, False, False, [f"no answer within {ANSWER_TIMEOUT_S:g} s"])
    except OSError as error:
        reason = error.strerror or str(error)
        return HealthReport(name, False, False, [f"no answer at {host_port(host, port)}: {reason}"])
    except (http.client.HTTPException, ValueError, TypeError, KeyError):
        where = host_port(host, port)
        reason = f"the server at {where} is no process of radar: give its METRICS_PORT"
        return HealthReport(name, False, False, [reason])
    reasons = list(dict.fromkeys([*why_not_alive, *why_not_ready]))
    return HealthReport(name, alive, ready, reasons, warnings)


def ask_all(settings: "Settings") -> list[HealthReport]:
    """Probe all processes of the running `radar up`, else the one at METRICS_PORT.

    Without both, it probes those of MONITOR_PROCESSES.

    Processes that serve no health are reported only if they do not run.

    Raises:
        NotRunning: There is none of them.
    """
    if (pipeline := running_pipeline(settings.radar_data_dir)) is not None:
        processes = pipeline["processes"]
        with ThreadPoolExecutor(len(processes)) as threads:
            reports = threads.map(_ask_child, processes)
        return [report for report in reports if report is not None]
    if settings.metrics_port:
        return [ask(reachable(settings.metrics_host), settings.metrics_port)]
    if settings.monitor_processes:
        # Imported only here: the import takes longer than a container's health check.
        from radar.status import deployment

        named = deployment.named(settings.monitor_processes)
        with ThreadPoolExecutor(len(named)) as threads:
            return list(threads.map(lambda each: ask(each.host, each.port, each.name), named))
    raise NotRunning(
        f"no `radar up` runs on {settings.radar_data_dir};"
        " METRICS_PORT and MONITOR_PROCESSES are not set:"
        " name a process, e.g. radar health 127.0.0.1:9100"
    )


def _ask_child(process: dict[str, Any]) -> HealthReport | None:
    if process["state"] != "running":
        return HealthReport(process["name"], False, False, [f"the process is {process['state']}"])
    if not process["metrics_port"]:
        return None
    return ask("127.0.0.1", process["metrics_port"], process["name"])


def reachable(host: str) -> str:
    """Return the address to connect to for a server that listens on `host`, maybe all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _get(host: str, port: int, path: str) -> tuple[bool, list[str], list[str]]:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        reasons, warnings = (
            [str(each) for each in lines] for lines in (found["reasons"], found.get("warnings", ()))
        )
        return answer.status == http.HTTPStatus.OK, reasons, warnings
    finally:
        connection.close()
