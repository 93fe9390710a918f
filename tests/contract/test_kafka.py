"""The Kafka module against a broker: the embedded one through its fetch_proxy, or Apache Kafka."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ports import free_port
from radar.errors import (
    BrokerUnavailable,
    BufferFull,
    ClientHangs,
    CommitRejected,
    ConfigurationError,
    WorkerFenced,
)
from radar.kafka import (
    Cluster,
    Committed,
    GroupReader,
    Message,
    Publisher,
    client,
    cluster,
    group_reader,
    unowned_partitions,
)
from radar.kafka.group_reader import SOCKET_TIMEOUT_S
from radar.local import fetch_answers, fetch_proxy
from radar.settings import Settings, load
from support import Process, eventually

pytestmark = pytest.mark.kafka_decides

TOPIC = "contract"


@pytest.fixture
def settings(kafka_settings: Settings) -> Settings:
    Cluster(kafka_settings).create_topics([TOPIC])
    return kafka_settings


class Member:
    """A group member that takes everything and notes what it is assigned."""

    def __init__(self, settings: Settings, group: str = "group") -> None:
        self.assigned: dict[int, Committed] = {}
        self.messages: list[Message] = []
        self.losses = 0  # times that all partitions were taken away
        self.commit_at_loss = False
        self.rejected: list[str] = []  # why such commits were
        self.reader = GroupReader(
            settings, TOPIC, group, on_assign=self._assign, on_revoke=self._revoke
        )

    def _assign(self, committed: Sequence[Committed]) -> None:
        self.assigned |= {each.partition: each for each in committed}

    def _revoke(self, partitions: Sequence[int]) -> None:
        if self.commit_at_loss:
            try:
                self.reader.commit(partitions[0], 0)
            except CommitRejected as error:
                self.rejected.append(str(error))
        for partition in partitions:
            self.assigned.pop(partition, None)
        self.losses += not self.assigned

    def until(self, condition: Callable[[], bool], what: str) -> None:
        def turn() -> bool:
            self.messages += self.reader.consume(100, 0.05)
            return condition()

        eventually(turn, what)


def publish(settings: Settings, *messages: tuple[bytes, bytes]) -> None:
    publisher = Publisher(settings, TOPIC)
    for key, value in messages:
        publisher.publish(key, value)
    assert publisher.flush(10) == 0
    assert (publisher.acknowledged, publisher.failed) == (len(messages), 0)


# A member that is killed when it gives partitions up, before it asks to join again.
DYING = """
import os, sys
from radar.kafka import GroupReader
from radar.settings import load

def assigned(committed):
    print("assigned", len(committed), flush=True)

def revoked(partitions):
    os._exit(9)

reader = GroupReader(load(), sys.argv[1], "group", on_assign=assigned, on_revoke=revoked)
while True:
    reader.consume(100, 0.1)
"""


@pytest.mark.fault(
    "A worker dies after it gave partitions up, before it asks to join its group again",
    report="another worker sees that they have no owner; it leaves and joins, so all are assigned",
    place="log of the worker; until then the lag of these partitions grows",
    within_s=30,
)
def test_partitions_that_a_dying_member_gave_up_get_an_owner(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, within_s: float
) -> None:
    monkeypatch.setattr(unowned_partitions, "LOOK_EVERY_S", 0.5)
    script, log = tmp_path / "dying.py", tmp_path / "dying.log"
    script.write_text(DYING)
    dying = Process([sys.executable, str(script), TOPIC], log, WORKER_ID="one")
    try:
        eventually(lambda: "assigned 3" in log.read_text(), "it has all partitions")
        other = Member(settings.model_copy(update={"worker_id": "two"}))
        other.until(lambda: not dying.lives, "it dies when it gives a partition up")
    finally:
        dying.end()
    successor = Member(settings.model_copy(update={"worker_id": "one"}))

    def owned() -> bool:
        other.reader.consume(100, 0.05)
        successor.reader.consume(100, 0.05)
        return {*successor.assigned, *other.assigned} == {0, 1, 2}

    eventually(owned, "every partition has an owner", timeout_s=within_s)
    assert len(successor.assigned) + len(other.assigned) == 3
    for each in (successor, other):
        each.reader.close()


def test_a_member_that_keeps_partitions_when_it_should_leave_ends_its_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(settings, *((str(n).encode(), b"x") for n in range(100)))
    member = Member(settings)
    member.until(lambda: len(member.assigned) == 3, "it has all partitions")
    with monkeypatch.context() as hanging:
        hanging.setattr(unowned_partitions.UnownedPartitions, "check", lambda *_: True)
        hanging.setattr(group_reader, "CLOSE_TIMEOUT_S", -1)
        with pytest.raises(ClientHangs, match="kept partitions"):
            member.reader.consume(100, 0.05)
    member.reader.close()


def test_grow_topics_adds_partitions_and_keeps_messages_and_offsets(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(settings, *((str(n).encode(), b"before") for n in range(20)))
    before = {lag.partition: lag.end for lag in Cluster(settings).lag(TOPIC, "group")}
    monkeypatch.setenv("KAFKA_NUM_PARTITIONS", "7")
    grown = load()
    assert Cluster(grown).grow_topics([TOPIC, "missing"]) == [(TOPIC, 3, 7)]
    eventually(lambda: len(Cluster(grown).lag(TOPIC, "group")) == 7, "seven partitions")
    after = {lag.partition: lag.end for lag in Cluster(grown).lag(TOPIC, "group")}
    assert after == before | dict.fromkeys(range(3, 7), 0)
    # The same keys again: some of them have moved, and a group reads them all.
    publish(grown, *((str(n).encode(), b"after") for n in range(20)))
    member = Member(grown)
    member.until(lambda: len(member.messages) == 40, "every message of both times")
    assert set(member.assigned) == set(range(7))
    assert any(message.partition() >= 3 for message in member.messages)
    member.reader.close()


def test_members_and_publishers_that_run_use_new_partitions(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "NEW_PARTITIONS_S", 0.5)
    # The safety net, for which a member leaves the group, must not be needed.
    monkeypatch.setattr(unowned_partitions.UnownedPartitions, "check", lambda *_: False)
    members = [Member(settings.model_copy(update={"worker_id": name})) for name in ("one", "two")]
    publisher = Publisher(settings, TOPIC)

    def turn() -> None:
        publisher.publish(b"%d" % publisher.acknowledged, b"x")
        publisher.poll(0.02)
        for member in members:
            member.messages += member.reader.consume(100, 0.02)

    def until(condition: Callable[[], bool], what: str) -> None:
        def turned() -> bool:
            turn()
            return condition()

        eventually(turned, what)

    def owned() -> list[int]:
        return sorted(number for member in members for number in member.assigned)

    until(lambda: owned() == [0, 1, 2], "each partition has an owner")
    grown = settings.model_copy(update={"kafka_num_partitions": 7})
    assert Cluster(grown).grow_topics([TOPIC]) == [(TOPIC, 3, 7)]
    (topic,) = Cluster(grown).topics([TOPIC])
    assert topic.partitions == 7
    until(lambda: owned() == list(range(7)), "each of seven partitions has an owner")
    until(
        lambda: {each.partition() for m in members for each in m.messages} == set(range(7)),
        "each of seven partitions brings messages",
    )
    assert all(member.losses == 0 for member in members), "no member left the group"
    for member in members:
        member.reader.close()


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    ],
)
def test_lag_waits_for_a_partition_that_its_leader_has_not_made_yet(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    errors = [KafkaException(KafkaError(code))] * 2

    def answer(request: Any) -> Any:
        if errors:
            raise errors.pop()
        return client.answer(request)

    monkeypatch.setattr(cluster, "answer", answer)
    assert [lag.end for lag in Cluster(settings).lag(TOPIC, "group")] == [0, 0, 0]
    assert not errors


def test_grow_topics_that_cannot_be_read_yet_fails_with_the_next_action(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "GROWN_WITHIN_S", 0.1)
    grown = Cluster(settings.model_copy(update={"kafka_num_partitions": 5}))
    monkeypatch.setattr(grown, "end_offsets", lambda *_: dict.fromkeys(range(3), 0))
    with pytest.raises(BrokerUnavailable, match="run radar topics again"):
        grown.grow_topics([TOPIC])


def test_grow_topics_never_shrinks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_NUM_PARTITIONS", "2")
    assert Cluster(load()).grow_topics([TOPIC]) == []
    (topic,) = Cluster(settings).topics([TOPIC])
    assert topic.partitions == 3


def test_create_topics_by_many_at_once_creates_each_once(kafka_settings: Settings) -> None:
    created: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: created.extend(Cluster(kafka_settings).create_topics(["t"]))
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert created == ["t"]
    (topic,) = Cluster(kafka_settings).topics(["t"])
    assert topic.partitions == kafka_settings.kafka_num_partitions == 3


@pytest.mark.group_protocols
def test_publisher_keeps_the_order_of_a_key_in_one_partition(settings: Settings) -> None:
    publish(settings, *((b"key %d" % (n % 7), b"%d" % n) for n in range(700)))
    member = Member(settings)
    member.until(lambda: len(member.messages) == 700, "all messages")
    member.reader.close()
    for key in range(7):
        taken = [m for m in member.messages if m.key() == b"key %d" % key]
        assert [int(m.value() or 0) for m in taken] == list(range(key, 700, 7))
        assert len({m.partition() for m in taken}) == 1


@pytest.mark.group_protocols
def test_commit_with_metadata_is_given_to_the_next_owner(settings: Settings) -> None:
    publish(settings, (b"a", b"1"), (b"a", b"2"))
    first = Member(settings)
    first.until(lambda: len(first.messages) == 2, "both messages")
    partition = first.messages[0].partition()
    first.reader.commit(partition, 1, "P|1|1")
    first.reader.close()
    second = Member(settings)
    second.until(lambda: len(second.messages) == 1, "the message after the commit")
    assert second.assigned[partition] == Committed(partition, 1, "P|1|1")
    assert second.messages[0].offset() == 1
    second.reader.close()


@pytest.mark.group_protocols
def test_commit_after_leaving_is_rejected(settings: Settings) -> None:
    publish(settings, (b"a", b"1"))
    first = Member(settings)
    first.until(lambda: len(first.messages) == 1, "the message")
    first.reader.close()
    with pytest.raises((CommitRejected, RuntimeError)):
        first.reader.commit(first.messages[0].partition(), 1)


@pytest.mark.group_protocols
def test_reader_paused_partition_brings_nothing_until_resumed(settings: Settings) -> None:
    publish(settings, (b"a", b"1"))
    member = Member(settings)
    member.until(lambda: len(member.messages) == 1, "the first message")
    partition = member.messages[0].partition()
    member.reader.pause(partition)
    publish(settings, (b"a", b"2"), (b"b", b"3"))
    for _ in range(10):
        member.messages += member.reader.consume(10, 0.02)
    assert b"2" not in [m.value() for m in member.messages]
    member.reader.resume(partition)
    member.until(lambda: b"2" in [m.value() for m in member.messages], "the paused message")
    member.reader.close()


@pytest.mark.group_protocols
def test_lag_counts_what_is_not_committed(settings: Settings) -> None:
    publish(settings, *((b"a", b"x") for _ in range(10)))
    member = Member(settings)
    member.until(lambda: len(member.messages) == 10, "all messages")
    partition = member.messages[0].partition()
    member.reader.commit(partition, 4)
    member.reader.close()
    lags = {lag.partition: lag for lag in Cluster(settings).lag(TOPIC, "group")}
    assert len(lags) == 3
    assert lags[partition].messages == 6
    assert sum(lag.messages for lag in lags.values()) == 6


def test_lag_of_a_group_that_goes_on_meanwhile_is_never_negative(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(settings)
    member.until(lambda: len(member.assigned) == 3, "it has all partitions")
    cluster = Cluster(settings)
    log_offsets = cluster._log_offsets

    def then_goes_on(*asked: Any) -> Any:
        found = log_offsets(*asked)
        publish(settings, (b"a", b"x"))
        before = len(member.messages)
        member.until(lambda: len(member.messages) > before, "the next message")
        newest = member.messages[-1]
        member.reader.commit(newest.partition(), newest.offset() + 1)
        return found

    monkeypatch.setattr(cluster, "_log_offsets", then_goes_on)
    for _ in range(3):
        assert min(lag.messages for lag in cluster.lag(TOPIC, "group")) >= 0
    member.reader.close()


def test_log_that_does_not_answer_is_unavailable_and_not_empty(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unknown:
        offset = -1

    monkeypatch.setattr(cluster, "answer", lambda _: Unknown())
    with pytest.raises(BrokerUnavailable, match="no answer within"):
        Cluster(settings).lag(TOPIC, "group")


def test_records_deleted_before_an_offset_are_not_waiting(settings: Settings) -> None:
    publish(settings, *((b"a", b"x") for _ in range(10)))
    cluster = Cluster(settings)
    partition = next(lag.partition for lag in cluster.lag(TOPIC, "none") if lag.messages)
    cluster.delete_records_before(TOPIC, {partition: 7})
    lag = cluster.lag(TOPIC, "none")[partition]
    assert (lag.start, lag.end, lag.messages) == (7, 10, 3)


def test_publisher_without_a_broker_fills_its_buffer_and_says_so(settings: Settings) -> None:
    away = settings.model_copy(
        update={"kafka_broker": f"127.0.0.1:{free_port()}", "kafka_buffer_bytes": 1_048_576}
    )
    publisher = Publisher(away, TOPIC)

    def fill() -> None:
        for _ in range(10_000):
            publisher.publish(b"a", bytes(1024))

    with pytest.raises(BufferFull):
        fill()
    assert 500 < publisher.queued < 1100


def test_publisher_refuses_a_message_beyond_the_limit_and_counts_it(settings: Settings) -> None:
    publisher = Publisher(settings, TOPIC)
    publisher.publish(b"a", bytes(5 * 1024 * 1024))
    publisher.publish(b"a", bytes(3 * 1024 * 1024))
    assert publisher.flush(10) == 0
    assert (publisher.acknowledged, publisher.failed) == (1, 1)


def test_cluster_without_a_broker_is_unavailable_and_named(settings: Settings) -> None:
    address = f"127.0.0.1:{free_port()}"
    away = settings.model_copy(update={"kafka_broker": address})
    with pytest.raises(BrokerUnavailable, match=address):
        Cluster(away).wait_until_up(0.5)


@pytest.mark.embedded_kafka("Apache Kafka has no relay")
def test_relay_is_the_only_address_that_clients_see(settings: Settings) -> None:
    metadata = AdminClient({"bootstrap.servers": settings.kafka_broker}).list_topics(timeout=10)
    addresses = [f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()]
    assert addresses == [settings.kafka_broker]


@pytest.mark.embedded_kafka("Apache Kafka has no relay")
def test_relay_lets_go_of_a_fetch_when_something_is_published(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_proxy, "HOLD_S", 3600)
    host, _, broker_port = settings.kafka_broker.partition(":")
    port = free_port()
    through = settings.model_copy(update={"kafka_broker": f"{host}:{port}"})

    def exchange_messages() -> None:
        publisher, member = Publisher(through, TOPIC), Member(through)
        member.until(lambda: len(member.assigned) == 3, "it has all partitions")
        for n in range(3):
            # Long enough for the fetch of each connection to be held.
            assert member.reader.consume(1, 0.5) == []
            publisher.publish(b"key", b"%d" % n)
            assert publisher.flush(10) == 0
            # The library gives up an answer that does not come, and asks again.
            (message,) = member.reader.consume(1, SOCKET_TIMEOUT_S / 2)
            assert message.value() == b"%d" % n
        member.reader.close()

    async def through_a_relay() -> None:
        async with fetch_proxy.FetchProxy(host, port, int(broker_port)):
            await asyncio.to_thread(exchange_messages)

    asyncio.run(through_a_relay())


@pytest.mark.embedded_kafka("it is about the embedded broker's fetch proxy")
def test_relay_shortens_long_answers_and_the_reader_gets_every_message(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_answers, "LONG_BYTES", 2000)
    monkeypatch.setattr(fetch_answers, "PARTITION_BYTES", 1500)
    monkeypatch.setattr(fetch_answers, "TOTAL_BYTES", 2500)
    host, _, broker_port = settings.kafka_broker.partition(":")
    port = free_port()
    through = settings.model_copy(update={"kafka_broker": f"{host}:{port}"})
    values = [b"%d:" % n + b"x" * (n * 97 % 700) for n in range(200)]
    values[50] = b"50:" + bytes(range(256)) * 40
    publisher = Publisher(settings, TOPIC, linger_ms=0)
    for n, value in enumerate(values):
        publisher.publish(b"%d" % (n % 7), value)
        if n % 3 == 0:
            publisher.flush(10)
    assert publisher.flush(10) == 0

    def read() -> list[bytes]:
        member = Member(through)
        member.until(lambda: len(member.messages) >= len(values), "all messages")
        member.reader.close()
        return [message.value() or b"" for message in member.messages]

    async def through_a_relay() -> list[bytes]:
        async with fetch_proxy.FetchProxy(host, port, int(broker_port)):
            return await asyncio.to_thread(read)

    found = asyncio.run(through_a_relay())
    assert sorted(found) == sorted(values)


@pytest.mark.embedded_kafka("Apache Kafka offers it")
def test_reader_with_a_group_protocol_that_is_not_offered_says_so(settings: Settings) -> None:
    wanted = settings.model_copy(update={"kafka_group_protocol": "consumer"})
    with pytest.raises(ConfigurationError, match="does not offer KAFKA_GROUP_PROTOCOL=consumer"):
        Member(wanted)


def test_reader_that_is_fenced_joins_again_and_gives_up_when_it_is_fenced_again(
    settings: Settings,
) -> None:
    named = settings.model_copy(update={"worker_id": "one"})
    first = Member(named)
    first.commit_at_loss = True
    first.until(lambda: len(first.assigned) == 3, "the first has all partitions")
    second = Member(named)
    second.until(lambda: len(second.assigned) == 3, "the second takes its place")
    # Each takes the place of the other, until one gives up.
    first.until(lambda: first.losses == 1 and len(first.assigned) == 3, "the first joins again")
    assert first.rejected == ["this member has lost its partitions"]
    second.until(lambda: second.losses == 1 and len(second.assigned) == 3, "so does the second")
    with pytest.raises(WorkerFenced, match="another worker running with the same WORKER_ID"):
        first.until(lambda: False, "it gives up")
    with pytest.raises(CommitRejected):
        first.reader.commit(0, 0)
    second.reader.commit(0, 0, "mine")
    second.reader.close()
    first.reader.close()
