"""Decides which stores `radar up` starts itself and which it finds running."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radar.errors import ConfigurationError

if TYPE_CHECKING:
    # The broker's process needs ports, not options: their library takes long to import.
    from radar.settings import Settings

CONNECT_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Address:
    """Where a store is, and whether radar runs it."""

    host: str
    port: int
    embedded: bool


def kafka(settings: "Settings") -> Address:
    """Decide on the broker.

    Raises:
        ConfigurationError: The address is taken, or nothing answers there.
    """
    first = settings.kafka_broker.split(",")[0]
    host, _, port = first.rpartition(":")
    given = "kafka_broker" in settings.model_fields_set
    return _decide("KAFKA_BROKER", f"KAFKA_BROKER={first}", host, int(port), given=given)


def clickhouse(settings: "Settings") -> Address:
    """Decide on the database.

    Raises:
        ConfigurationError: The address is taken, or nothing answers there.
    """
    host, port = settings.clickhouse_host, settings.clickhouse_port
    given = bool({"clickhouse_host", "clickhouse_port"} & settings.model_fields_set)
    return _decide("CLICKHOUSE_PORT", f"CLICKHOUSE_PORT={port}", host, port, given=given)


def dashboard(settings: "Settings") -> Address | None:
    """Decide where `radar up` serves the dashboard: another port where its own is taken.

    None if it is not wanted.
    """
    host, port = settings.dashboard_host, settings.dashboard_port
    if not port:
        return None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError:
        port = free_port()
    return Address(host, port, embedded=True)


def check_dashboard(settings: "Settings") -> None:
    """Refuse to serve the dashboard to other machines without a token.

    Raises:
        ConfigurationError: The options would do so.
    """
    if settings.dashboard_token.get_secret_value() or is_loopback(settings.dashboard_host):
        return
    raise ConfigurationError(
        f"DASHBOARD_HOST={settings.dashboard_host} is reached from other machines: set"
        " DASHBOARD_TOKEN, which everybody then needs"
    )


def url(host: str, port: int) -> str:
    """Return the URL of a web server."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _decide(variable: str, assignment: str, host: str, port: int, *, given: bool) -> Address:
    if answers(host, port):
        if given:
            return Address(host, port, embedded=False)
        raise ConfigurationError(
            f"{host}:{port} is in use: set {assignment} to use what runs there,"
            f" or another {variable} to start an own one"
        )
    if is_loopback(host):
        return Address(host, port, embedded=True)
    raise ConfigurationError(f"nothing answers at {host}:{port}: start it or unset {variable}")


def answers(host: str, port: int) -> bool:
    """Tell whether something accepts TCP connections there; blocks up to two seconds."""
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine; blocks for the name's resolution."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def free_port() -> int:
    """Return a TCP port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
