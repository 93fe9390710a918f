"""Decides which stores `radar up` starts itself and which it finds running."""

import ipaddress
import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radar.errors import ConfigurationError
from radar.text import host_port

if TYPE_CHECKING:
    # The broker's process needs ports, not options: their library takes long to import.
    from radar.settings import Settings

CONNECT_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Address:
    """The address of a store, and whether radar runs it."""

    host: str
    port: int
    embedded: bool


def kafka(settings: "Settings") -> Address:
    """Decide on the broker.

    Raises:
        ConfigurationError: The address is taken, or no server answers there.
    """
    host, port = first_broker(settings)
    given = "kafka_broker" in settings.model_fields_set
    assignment = f"KAFKA_BROKER={host_port(host, port)}"
    return _decide("KAFKA_BROKER", assignment, host, port, given=given)


def first_broker(settings: "Settings") -> tuple[str, int]:
    """Return host and port of the first broker in KAFKA_BROKER."""
    host, _, port = settings.kafka_broker.split(",")[0].rpartition(":")
    return host.strip("[]"), int(port)


def clickhouse(settings: "Settings") -> Address:
    """Decide on the database.

    Raises:
        ConfigurationError: The address is taken, or no server answers there.
    """
    host, port = settings.clickhouse_host, settings.clickhouse_port
    given = bool({"clickhouse_host", "clickhouse_port"} & settings.model_fields_set)
    return _decide("CLICKHOUSE_PORT", f"CLICKHOUSE_PORT={port}", host, port, given=given)


def dashboard(settings: "Settings") -> Address | None:
    """Decide where `radar up` serves the dashboard: on another port if its own is taken.

    None if it is not wanted.
    """
    host, port = settings.dashboard_host, settings.dashboard_port
    if not port:
        return None
    try:
        socket.create_server((host, port), family=family(host)).close()
    except OSError:
        port = free_port(host)
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
        " DASHBOARD_TOKEN, which every client then needs"
    )


def url(host: str, port: int) -> str:
    """Return the URL of a web server."""
    return f"http://{host_port(host, port)}"


def _decide(variable: str, assignment: str, host: str, port: int, *, given: bool) -> Address:
    if answers(host, port):
        if given:
            return Address(host, port, embedded=False)
        raise ConfigurationError(
            f"{host_port(host, port)} is in use: set {assignment} to use the server there,"
            f" or another {variable} to start an own one"
        )
    if is_loopback(host):
        return Address(host, port, embedded=True)
    raise ConfigurationError(
        f"no server answers at {host_port(host, port)}: start it or unset {variable}"
    )


def answers(host: str, port: int) -> bool:
    """Return whether a server accepts TCP connections there; blocks up to two seconds."""
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine; blocks for the name's resolution."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port of this machine that is free now.

    The system gives this port to no outgoing connection. So it is still free a moment later, and a
    connection to it cannot reach itself. Two programs that choose at once rarely get the same port.

    Raises:
        ConfigurationError: None of many ports is free.
    """
    for port in random.sample(_LISTENING_PORTS, TRIED_PORTS):
        with socket.socket(family(host)) as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise ConfigurationError(
        f"none of {TRIED_PORTS} TCP ports of {host} is free: end the programs that hold them"
    )


def family(host: str) -> socket.AddressFamily:
    """Return the address family of a host: of an IPv6 address, or else of IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listening_ports(outgoing: str) -> range:
    """Return the ports for servers, which outgoing connections do not use.

    Args:
        outgoing: The system's first and last port for outgoing connections.
    """
    first, last = (int(word) for word in outgoing.split())
    above = range(last + 1, MAX_PORT + 1)
    # Below are the ports that operators choose for their servers.
    return above if len(above) >= FEWEST_PORTS else range(min(FIRST_PORT, first // 2), first)


def _outgoing_ports() -> str:
    try:
        return Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    except OSError:
        return "49152 65535"  # RFC 6335, section 6


MAX_PORT = 65535
FIRST_PORT = 10_000
FEWEST_PORTS = 1000
TRIED_PORTS = 100
_LISTENING_PORTS = listening_ports(_outgoing_ports())
