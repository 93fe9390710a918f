"""The basis of all Kafka clients: how to reach the brokers, and how to wait for an answer."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition, libversion
from confluent_kafka.admin import AdminClient

from radar import tls
from radar.daemon_threads import begin
from radar.errors import BrokerUnavailable, ClientHangs
from radar.settings import ANSWER_WITHIN_S, Settings

if TYPE_CHECKING:
    from concurrent.futures import Future

REQUEST_TIMEOUT_S = 10.0
ASK_AGAIN_S = 0.2
# A host may have several addresses, of which the client tries one after the other.
REFUSED_AFTER_S = 0.6
# Producers and members of groups look for new partitions this often; the library's default is five
# minutes.
NEW_PARTITIONS_S = 10.0
NO_ENDS = "cannot read the ends of a partition"

_Result = TypeVar("_Result")

log = logging.getLogger("confluent")


class Committed(NamedTuple):
    """A partition's committed offset and the metadata stored beside it."""

    partition: int
    offset: int | None  # None: no offset was committed yet
    metadata: str


def client_config(settings: Settings) -> dict[str, Any]:
    """Return the options that every client needs to reach the brokers."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_broker,
        "security.protocol": settings.kafka_security_protocol,
        "client.id": settings.worker_id or "radar",
        "reconnect.backoff.max.ms": 2000,
        "topic.metadata.refresh.interval.ms": int(NEW_PARTITIONS_S * 1000),
        "logger": log,
    }
    if settings.kafka_sasl_mechanism:
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_sasl_username
        config["sasl.password"] = settings.kafka_sasl_password.get_secret_value()
    if authorities := settings.kafka_ssl_ca_file or tls.authorities():
        config["ssl.ca.location"] = authorities
    if settings.kafka_ssl_certificate_file:
        config["ssl.certificate.location"] = settings.kafka_ssl_certificate_file
        config["ssl.key.location"] = settings.kafka_ssl_key_file
        config["ssl.key.password"] = settings.kafka_ssl_key_password.get_secret_value()
    return config


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """Return the options of every consumer: it commits only offsets that radar commits itself.

    Radar writes without transactions. A consumer that reads only committed messages would get none
    behind a transaction that another client has left open, and would see the log end there.
    """
    return client_config(settings) | {
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_uncommitted",
    }


def check_answer(settings: Settings, timeout_s: float = ANSWER_WITHIN_S) -> None:
    """Return once a broker answers; blocks up to `timeout_s`, less where all refuse to connect.

    Raises:
        BrokerUnavailable: No broker answers; the message names the remedy.
    """
    reported: list[KafkaError] = []
    admin = AdminClient(client_config(settings) | {"error_cb": reported.append})
    began_s = time.monotonic()
    while True:
        try:
            admin.list_topics(timeout=ASK_AGAIN_S)
        except KafkaException:
            admin.poll(0)
        else:
            return
        waited_s = time.monotonic() - began_s
        codes = {error.code() for error in reported}
        if waited_s >= timeout_s or (
            waited_s >= REFUSED_AFTER_S and KafkaError._ALL_BROKERS_DOWN in codes  # noqa: SLF001
        ):
            raise BrokerUnavailable(_why_silent(settings.kafka_broker, codes))


def _why_silent(address: str, codes: set[int]) -> str:
    if KafkaError._AUTHENTICATION in codes:  # noqa: SLF001
        remedy = "set KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
        return f"Kafka at {address} refuses this user: {remedy}"
    if KafkaError._SSL in codes:  # noqa: SLF001
        remedy = "set KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_CA_FILE"
        return f"Kafka at {address} and this machine do not agree on TLS: {remedy}"
    return f"Kafka does not answer at {address}: start it, or set KAFKA_BROKER"


def library_version() -> str:
    """Return the version of the client library's core."""
    return str(libversion()[0])


def answer(request: "Future[Any]") -> Any:
    """Wait for the answer to a request; blocks.

    Raises:
        KafkaException: It failed, or no answer came. librdkafka reports a timeout itself, but
            sometimes later than this function waits.
    """
    try:
        return request.result(REQUEST_TIMEOUT_S)
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error  # noqa: SLF001


def within(timeout_s: float, action: Callable[[], _Result], name: str) -> _Result:
    """Wait for an action that may hang; after the timeout it goes on in a thread of its own.

    Raises:
        ClientHangs: It was not done in time.
    """
    future = begin(action, name)
    # An exception of the action may be a TimeoutError as well.
    done, _ = wait([future], timeout_s)
    if not done:
        raise ClientHangs(f"{name}: the Kafka library did not return within {timeout_s:g} s")
    return future.result()


def committed_offsets(consumer: Consumer, partitions: list[TopicPartition]) -> list[Committed]:
    """Read the committed offsets of a consumer's group; blocks.

    Raises:
        BrokerUnavailable: The group's coordinator did not answer.
    """
    if not partitions:
        return []
    # A coordinator that has just started or moved answers at once that it is not the coordinator.
    answers = insist(
        lambda: consumer.committed(partitions, timeout=REQUEST_TIMEOUT_S),
        "cannot read committed offsets",
    )
    return [
        Committed(
            answer.partition, answer.offset if answer.offset >= 0 else None, answer.metadata or ""
        )
        for answer in answers
    ]


def watermarks(consumer: Consumer, position: TopicPartition) -> tuple[int, int]:
    """Read the oldest offset and the next that will be written; blocks.

    Raises:
        KafkaException: The partition's leader did not answer.
    """
    return consumer.get_watermark_offsets(position, timeout=REQUEST_TIMEOUT_S, cached=False)


def has_no_leader(error: KafkaError) -> bool:
    """Return whether a partition has no leader: it is new, moved, or its node has left."""
    return error.code() in (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,  # the leader of a new partition has not made it yet
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the library's code for it
        # A broker that has just started knows an older leader than the other brokers, or a newer.
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
    )


def insist(
    ask: Callable[[], _Result],
    failure: str,
    passes: Callable[[KafkaError], bool] = lambda _: True,
) -> _Result:
    """Repeat a request for REQUEST_TIMEOUT_S while its error is one that passes.

    Raises:
        BrokerUnavailable: It did not pass.
    """
    deadline_s = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if not passes(error.args[0]) or time.monotonic() > deadline_s:
                raise BrokerUnavailable(f"{failure}: {error}") from error
            time.sleep(ASK_AGAIN_S)
