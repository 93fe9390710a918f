"""What a process says of its health, and how it is told over HTTP."""

import http.client
import json
import socket
import time

import pytest

from ports import free_port
from radar.errors import ConfigurationError
from radar.status.health_probe import ask, parse
from radar.telemetry.connections import Connections, SeenConnection
from radar.telemetry.connections import parse as parse_connections
from radar.telemetry.endpoints import serve
from radar.telemetry.health import BEAT_WITHIN_S, Health


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_health_without_a_beat_in_time_is_neither_alive_nor_ready() -> None:
    clock = Clock()
    health = Health(clock)
    clock.now_s += BEAT_WITHIN_S
    assert health.why_not_alive() == []
    clock.now_s += 1
    reason = "the main loop has not turned for 61 s, 60 s are allowed"
    assert health.why_not_alive() == health.why_not_ready() == [reason]
    health.beat()
    assert health.why_not_alive() == health.why_not_ready() == []


def test_health_beat_allows_as_long_as_it_says() -> None:
    clock = Clock()
    health = Health(clock)
    health.beat(within_s=5)
    clock.now_s += 6
    assert health.why_not_alive()
    health.beat(within_s=500)
    clock.now_s += 499
    assert not health.why_not_alive()


def test_health_with_conditions_is_alive_but_not_ready_until_all_are_cleared() -> None:
    health = Health()
    health.set("store", "ClickHouse is away")
    health.set("kafka", "Kafka is slow")
    health.set("kafka", "Kafka is away")
    assert health.why_not_ready() == ["Kafka is away", "ClickHouse is away"]
    assert health.why_not_alive() == []
    health.clear("kafka")
    assert health.why_not_ready() == ["ClickHouse is away"]
    health.clear("store")
    health.clear("never set")
    assert health.why_not_ready() == []


def test_parts_of_a_process_keep_their_conditions_apart_and_name_themselves() -> None:
    clock = Clock()
    health = Health(clock)
    gaps, watches = health.part("gaps"), health.part("watches")
    gaps.set("partition 1", "partition 1 is halted")
    watches.warn("partition 1", "partition 1 waits")
    assert health.why_not_ready() == ["gaps: partition 1 is halted"]
    assert health.warnings() == watches.warnings() == ["watches: partition 1 waits"]
    gaps.clear("partition 1")
    assert health.why_not_ready() == []
    assert health.warnings() == ["watches: partition 1 waits"]
    clock.now_s += 59
    gaps.beat()
    clock.now_s += 59
    assert not health.why_not_alive()


def test_warning_leaves_the_process_ready_and_everybody_who_asks_gets_it() -> None:
    health, port = Health(), free_port()
    serve("127.0.0.1", port, health)
    health.warn("markets", "2 markets are set aside")
    assert (health.why_not_ready(), health.warnings()) == ([], ["2 markets are set aside"])
    status, body = get(port, "/readyz")
    assert (status, json.loads(body)["warnings"]) == (200, ["2 markets are set aside"])
    assert "radar_warnings 1.0" in get(port, "/metrics")[1].splitlines()
    told = str(ask("127.0.0.1", port, "producer"))
    assert told == "producer: alive, ready; warning: 2 markets are set aside"
    health.set("markets", "no market is left")  # the same condition became worse
    assert (health.why_not_ready(), health.warnings()) == (["no market is left"], [])
    health.warn("markets", "1 market is set aside")
    assert health.why_not_ready() == []
    health.clear("markets")
    assert health.warnings() == []


def test_endpoints_tell_connections_where_there_can_be_some() -> None:
    port, other = free_port(), free_port()
    connections = Connections()
    serve("127.0.0.1", port, Health(), connections)
    serve("127.0.0.1", other, Health())
    assert get(port, "/connections") == (200, "[]\n")
    assert get(other, "/connections")[0] == 404
    now_s = time.time()
    connections.show(
        [
            SeenConnection("2", 25, now_s - 10, None, 0),
            SeenConnection("1", 20, now_s - 100, now_s - 5, 7),
        ]
    )
    status, body = get(port, "/connections")
    first, second = parse_connections(body.encode())
    assert status == 200
    assert (first.name, first.markets, first.frames) == ("1", 20, 7)
    assert first.last_frame_age_s is not None
    assert 5 <= first.last_frame_age_s < first.age_s
    assert (second.name, second.last_frame_age_s) == ("2", None)


def test_endpoints_tell_state_and_reasons_as_status_and_json() -> None:
    clock, port = Clock(), free_port()
    health = Health(clock)
    serve("127.0.0.1", port, health)
    for path, state in (("/healthz", "alive"), ("/readyz", "ready")):
        status, body = get(port, path)
        assert (status, json.loads(body)) == (200, {"status": state, "reasons": []})
    health.set("kafka", "Kafka is away")
    status, body = get(port, "/readyz")
    assert (status, json.loads(body)) == (
        503,
        {"status": "not ready", "reasons": ["Kafka is away"]},
    )
    assert get(port, "/healthz")[0] == 200
    status, body = get(port, "/metrics")
    assert status == 200
    assert {"radar_alive 1.0", "radar_ready 0.0"} < set(body.splitlines())
    clock.now_s += 1000
    assert get(port, "/healthz")[0] == 503
    assert "radar_alive 0.0" in get(port, "/metrics")[1].splitlines()
    assert get(port, "/")[0] == 404


def test_endpoints_with_port_0_serve_nothing() -> None:
    serve("not an address", 0, Health())


def test_endpoints_on_a_taken_port_or_a_foreign_address_name_the_options() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"METRICS_PORT={port}"):
            serve("127.0.0.1", port, Health())
    with pytest.raises(ConfigurationError, match=r"METRICS_HOST=192\.0\.2\.1"):
        serve("192.0.2.1", free_port(), Health())


def test_ask_tells_what_the_process_tells() -> None:
    health, port = Health(), free_port()
    serve("127.0.0.1", port, health)
    assert str(ask("127.0.0.1", port, "worker")) == "worker: alive, ready"
    health.set("kafka", "Kafka is away")
    assert str(ask("127.0.0.1", port, "worker")) == "worker: alive, NOT ready; Kafka is away"


def test_ask_where_nothing_or_something_else_answers_is_not_alive() -> None:
    report = ask("127.0.0.1", free_port())
    assert (report.alive, report.ready) == (False, False)
    assert "refused" in report.reasons[0]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        (reason,) = ask("127.0.0.1", silent.getsockname()[1]).reasons
    assert reason == "no answer within 2 s"


@pytest.mark.parametrize("address", ["9100", ":9100", "host", "host:", "host:http"])
def test_ask_of_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse(address)


def test_ask_reads_addresses_of_both_families() -> None:
    assert parse("worker:9100") == ("worker", 9100)
    assert parse("[::1]:9100") == ("::1", 9100)


def ask_as(port: int, method: str = "GET", path: str = "/metrics", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def named() -> int:
    """Serve under a name of its own; return the port."""
    port = free_port()
    serve("127.0.0.1", port, Health(), Connections(), ("Radar.example",))
    return port


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:9100", 200), ("[::1]:9100", 200), ("10.1.2.3:9100", 200),
        ("wallex-trades:9100", 200), ("trades-consumer-1", 200), ("radar.example:9100", 200),
        ("evil.example", 403), ("evil.example:9100", 403), ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403), ("127.1", 403), ("localhost.", 403), ("", 403),
        ("[::1", 403), ("a b", 403), ("a@localhost", 403), ("[evil]", 403), ("radar.example.", 403),
    ],
)  # fmt: skip
def test_endpoints_answer_only_under_names_that_no_page_can_bring(
    named: int, host: str, status: int
) -> None:
    for path in ("/metrics", "/healthz", "/readyz", "/connections"):
        found = ask_as(named, path=path, Host=host)
        assert found == (status if path == "/metrics" or status != 200 else found)
        assert found != 200 or status == 200


def test_endpoints_refuse_other_pages_and_methods_that_change_something(named: int) -> None:
    assert ask_as(named) == 403  # no name at all
    for site in ("cross-site", "same-site", "Cross-Site"):
        assert ask_as(named, Host="localhost", Sec_Fetch_Site=site) == 403
    for site in ("none", "same-origin"):
        assert ask_as(named, Host="localhost", Sec_Fetch_Site=site) == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "EVIL"):
        assert ask_as(named, method, Host="localhost") == 405
    assert ask_as(named, "HEAD", "/readyz", Host="localhost") == 200


def test_endpoints_refuse_a_request_with_two_hosts(named: int) -> None:
    with socket.create_connection(("127.0.0.1", named), 10) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert raw.recv(1000).split()[1] == b"403"
