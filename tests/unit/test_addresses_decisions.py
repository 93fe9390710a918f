"""Which stores `radar up` starts itself, decided with real sockets."""

import socket
from collections.abc import Iterator

import pytest

from radar import addresses
from radar.addresses import Address, free_port, is_loopback
from radar.errors import ConfigurationError
from radar.settings import load


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_clickhouse_nothing_listens_is_embedded() -> None:
    port = free_port()
    found = addresses.clickhouse(load(clickhouse_port=port))
    assert found == Address("127.0.0.1", port, embedded=True)


def test_clickhouse_given_port_that_answers_is_used(taken: int) -> None:
    found = addresses.clickhouse(load(clickhouse_port=taken))
    assert found == Address("127.0.0.1", taken, embedded=False)


def test_clickhouse_default_port_that_answers_is_refused(taken: int) -> None:
    # As if the default were that port: it answers, and nobody has named it.
    settings = load().model_copy(update={"clickhouse_port": taken})
    settings.model_fields_set.discard("clickhouse_port")
    with pytest.raises(ConfigurationError) as refused:
        addresses.clickhouse(settings)
    assert str(refused.value) == (
        f"127.0.0.1:{taken} is in use: set CLICKHOUSE_PORT={taken} to use the server there,"
        " or another CLICKHOUSE_PORT to start an own one"
    )


def test_kafka_nothing_listens_is_embedded() -> None:
    port = free_port()
    found = addresses.kafka(load(kafka_broker=f"localhost:{port}"))
    assert found == Address("localhost", port, embedded=True)


def test_kafka_several_brokers_decides_by_the_first(taken: int) -> None:
    found = addresses.kafka(load(kafka_broker=f"127.0.0.1:{taken},127.0.0.1:1"))
    assert found == Address("127.0.0.1", taken, embedded=False)


def test_decide_silent_foreign_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # 192.0.2.0/24 is reserved for documentation.
    monkeypatch.setattr(addresses, "CONNECT_TIMEOUT_S", 0.1)
    with pytest.raises(ConfigurationError, match=r"^no server answers at 192\.0\.2\.1:9092: "):
        addresses.kafka(load(kafka_broker="192.0.2.1:9092"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("no-such-host.invalid", False),
    ],
)
def test_is_loopback_host_is_this_machine_or_not(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("outgoing", "expected"),
    [
        ("32768\t60999\n", range(61_000, 65_536)),
        ("49152 65535", range(10_000, 49_152)),
        ("1024 65535", range(512, 1024)),
    ],
)
def test_listening_ports_are_none_of_outgoing_connections(outgoing: str, expected: range) -> None:
    assert addresses.listening_ports(outgoing) == expected


def test_kafka_on_an_ipv6_address_is_this_machine() -> None:
    port = free_port()
    found = addresses.kafka(load(kafka_broker=f"[::1]:{port}"))
    assert found == Address("::1", port, embedded=True)


def test_free_port_can_be_bound() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_dashboard_whose_port_is_taken_has_another_and_port_0_means_none(taken: int) -> None:
    assert addresses.dashboard(load(dashboard_port=0)) is None
    port = free_port()
    assert addresses.dashboard(load(dashboard_port=port)) == Address(
        "127.0.0.1", port, embedded=True
    )
    other = addresses.dashboard(load(dashboard_port=taken))
    assert other is not None
    assert other.port not in (0, taken)


@pytest.mark.parametrize(
    ("host", "token", "refused"),
    [
        ("127.0.0.1", "", False),
        ("localhost", "", False),
        ("::1", "", False),
        ("0.0.0.0", "", True),
        ("::", "", True),
        ("192.0.2.1", "", True),
        ("0.0.0.0", "a token that nobody guesses", False),
    ],
)
def test_dashboard_that_others_reach_needs_a_token(host: str, token: str, refused: bool) -> None:
    if refused:
        with pytest.raises(ConfigurationError, match=f"DASHBOARD_HOST={host} .* DASHBOARD_TOKEN"):
            load(dashboard_host=host, dashboard_token=token)
    else:
        addresses.check_dashboard(load(dashboard_host=host, dashboard_token=token))
