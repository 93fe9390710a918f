"""Kafka and ClickHouse over TLS: what radar's options say reaches both clients."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

import apache_kafka
from ports import free_port
from radar.errors import BrokerUnavailable, StoreUnavailable
from radar.kafka import Cluster, Publisher
from radar.kafka.client import client_config
from radar.local.apache_kafka import Listener
from radar.producer.rest import Rest
from radar.settings import Settings, load
from radar.store.client import Store

USER, PASSWORD = "radar", "canary-of-the-broker"


class Certificate(NamedTuple):
    """A certificate for this machine that vouches for itself, and its key."""

    certificate: Path
    key: Path
    both: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    directory = tmp_path_factory.mktemp("certificate")
    found = Certificate(*(directory / name for name in ("cert.pem", "key.pem", "both.pem")))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(found.key), "-out", str(found.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    found.both.write_text(found.key.read_text() + found.certificate.read_text())
    return found


class TlsDoor:
    """Takes TLS connections and passes what they carry on to a port of this machine."""

    def __init__(self, certificate: Certificate, target: int) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.certificate, certificate.key)

    @contextlib.contextmanager
    def open(self) -> Iterator[int]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        port = free_port()
        starting = asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self._context)
        server = asyncio.run_coroutine_threadsafe(starting, loop).result(10)
        try:
            yield port
        finally:
            asyncio.run_coroutine_threadsafe(_close(server), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_pump(reader, beyond[1]), _pump(beyond[0], writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def secure_clickhouse(
    certificate: Certificate, store: Store, clickhouse_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    assert store.database
    with TlsDoor(certificate, clickhouse_port).open() as port:
        monkeypatch.setenv("CLICKHOUSE_PORT", str(port))
        monkeypatch.setenv("CLICKHOUSE_SECURE", "true")
        yield


@pytest.mark.usefixtures("secure_clickhouse")
def test_store_with_the_ca_of_the_server_talks_tls(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_CA_FILE", str(certificate.certificate))
    secure = Store(load())
    assert secure.rows("SELECT count() FROM trades") == [(0,)]
    secure.close()


@pytest.mark.usefixtures("secure_clickhouse")
def test_store_without_the_ca_of_the_server_refuses_it() -> None:
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
        Store(load()).rows("SELECT 1")


@pytest.mark.usefixtures("secure_clickhouse")
@pytest.mark.fault(
    "A private certificate authority signed a server's certificate",
    report="none, if SSL_CERT_FILE or SSL_CERT_DIR names the authority",
    place="nowhere",
    within_s=10,
)
def test_machine_that_trusts_the_ca_of_a_server_needs_no_option(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, within_s: float
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    settings = load()
    secure = Store(settings, timeout_s=within_s)
    assert secure.rows("SELECT 1") == [(1,)]
    secure.close()

    async def ask() -> bytes:
        rest = Rest(f"https://127.0.0.1:{settings.clickhouse_port}", proxy="")
        try:
            return await rest.get("/ping")
        finally:
            await rest.close()

    assert asyncio.run(ask()) == b"Ok.\n"
    assert client_config(settings)["ssl.ca.location"] == str(certificate.certificate)


class SecuredBroker(NamedTuple):
    """Where a broker wants a password, and where it wants a certificate; over TLS both."""

    password: str
    certificate: str


@pytest.fixture(scope="module")
def secured_broker(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredBroker]:
    """Run a node of Apache Kafka with two listeners for clients, both with TLS."""
    directory = tmp_path_factory.mktemp("secured-kafka")
    node = apache_kafka.single_node(directory)
    internal = Listener("INTERNAL", node.internal_port, node.internal_port)
    clients = [
        Listener(name, port, port) for name in ("PASSWORD", "MUTUAL") if (port := free_port())
    ]
    brokers = [*clients, internal]
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    tls = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificate.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificate.certificate),
    }
    options = {
        "listeners": ",".join(
            [
                *(f"{each.name}://127.0.0.1:{each.port}" for each in brokers),
                f"CONTROLLER://127.0.0.1:{node.voters[1]}",
            ]
        ),
        "advertised.listeners": ",".join(
            f"{each.name}://localhost:{each.port}" for each in brokers
        ),
        "listener.security.protocol.map": "PASSWORD:SASL_SSL,MUTUAL:SSL,"
        "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listener.name.password.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.password.plain.sasl.jaas.config": f'{login} user_{USER}="{PASSWORD}";',
        "listener.name.mutual.ssl.client.auth": "required",
    }
    for each in clients:
        options |= {f"listener.name.{each.name.lower()}.{name}": tls[name] for name in tls}
    broker = apache_kafka.Broker(replace(node, listeners=tuple(clients), options=options))
    broker.start()
    try:
        broker.wait_until_up()
        yield SecuredBroker(*(f"localhost:{each.port}" for each in clients))
    finally:
        broker.stop()


@pytest.fixture
def with_password(
    secured_broker: SecuredBroker,
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Set the options for the listener that wants a password; return the password's file."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("KAFKA_BROKER", secured_broker.password)
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "PLAIN")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", USER)
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(certificate.certificate))
    return tmp_path / "password"


def publish_one(settings: Settings, topic: str) -> int:
    """Create a topic and publish a message; return how many are in it."""
    Cluster(settings).create_topics([topic])
    publisher = Publisher(settings, topic)
    publisher.publish(b"key", b"value")
    assert publisher.flush(20) == 0
    (state,) = Cluster(settings).topics([topic])
    return state.end


@pytest.mark.usefixtures("with_password")
def test_kafka_with_a_password_over_tls_is_reached() -> None:
    assert publish_one(load(), "with-password") == 1


def test_kafka_with_a_wrong_password_is_unavailable_and_does_not_tell_it(
    with_password: Path,
) -> None:
    with_password.write_text("wrong-canary")
    with pytest.raises(BrokerUnavailable) as caught:
        Cluster(load()).wait_until_up(3)
    assert "canary" not in str(caught.value)


@pytest.mark.usefixtures("with_password")
def test_kafka_without_the_ca_of_the_broker_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KAFKA_SSL_CA_FILE")
    with pytest.raises(BrokerUnavailable):
        Cluster(load()).wait_until_up(3)


def test_kafka_with_a_client_certificate_is_reached(
    secured_broker: SecuredBroker, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BROKER", secured_broker.certificate)
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "ssl")
    monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(certificate.certificate))
    with pytest.raises(BrokerUnavailable):
        Cluster(load()).wait_until_up(3)
    monkeypatch.setenv("KAFKA_SSL_CERTIFICATE_FILE", str(certificate.certificate))
    monkeypatch.setenv("KAFKA_SSL_KEY_FILE", str(certificate.key))
    assert publish_one(load(), "with-certificate") == 1
