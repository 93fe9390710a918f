"""Apache Kafka for tests: nodes as real processes, and a clean broker for each test."""

import contextlib
import os
from collections import deque
from dataclasses import replace
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ports import free_port
from radar.addresses import answers
from radar.local import apache_kafka
from radar.local.apache_kafka import Listener, Node
from support import Process, eventually

# `make test-kafka KAFKA_VERSION=…` names another one.
HOME = Path(os.environ.get("APACHE_KAFKA", Path(__file__).parents[1] / ".kafka"))
SESSION_TIMEOUT_S = 6
HOST = "127.0.0.1"
# With KIP-848 the brokers decide on it.
OPTIONS = {
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": str(SESSION_TIMEOUT_S * 1000),
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
}
START_TIMEOUT_S = 150


def group_protocols() -> list[str]:
    """Return the group protocols of the version in HOME; KIP-848 is on since Kafka 4."""
    jars = (HOME / "libs").glob("kafka-clients-*.jar")
    is_old = any(jar.name.startswith(("kafka-clients-2.", "kafka-clients-3.")) for jar in jars)
    return ["classic"] if is_old else ["classic", "consumer"]


class Broker:
    """One node; it can be started, stopped and killed again and again on its data."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.address = f"{node.host}:{node.listeners[0].port}"
        self.command = apache_kafka.prepare(HOME, node)
        self.log = node.data_dir / "node.log"
        self._process: Process | None = None

    def start(self) -> None:
        self._process = Process(self.command, self.log)

    def wait_until_up(self) -> None:
        port = self.node.listeners[0].port
        eventually(lambda: answers(HOST, port), "the node answers", START_TIMEOUT_S)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.end()


class Brokers:
    """A cluster of three on which every topic has three replicas, two of them in sync."""

    def __init__(self, directory: Path) -> None:
        voters = {node_id: free_port() for node_id in (1, 2, 3)}
        self.by_id: dict[int, Broker] = {}
        for node_id in voters:
            port = free_port()
            node = Node(
                data_dir=directory / f"node-{node_id}",
                host=HOST,
                listeners=(Listener("CLIENTS", port, port),),
                internal_port=free_port(),
                voters=voters,
                node_id=node_id,
                options=OPTIONS | {"default.replication.factor": "3"},
            )
            self.by_id[node_id] = Broker(node)
        self.address = ",".join(broker.address for broker in self.by_id.values())
        self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def start(self) -> None:
        for broker in self.by_id.values():
            broker.start()
        eventually(lambda: self.live == 3, "three brokers", START_TIMEOUT_S)

    def stop(self) -> None:
        # Together: a node that is alone cannot hand over what it leads, and waits.
        for broker in self.by_id.values():
            broker.kill()

    @property
    def live(self) -> int:
        try:
            return len(self.admin.list_topics(timeout=5).brokers)
        except KafkaException:
            return 0

    def leaders(self, topic: str) -> dict[int, int]:
        """Return each partition's leader; -1 is none."""
        partitions = self.admin.list_topics(topic, timeout=10).topics[topic].partitions
        return {number: partition.leader for number, partition in partitions.items()}

    def in_sync(self) -> bool:
        """Tell whether every partition of every topic has its three replicas in sync."""
        try:
            topics = self.admin.list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        partitions = [each for topic in topics for each in topic.partitions.values()]
        return self.live == 3 and all(len(each.isrs) == 3 for each in partitions)


def single_node(directory: Path) -> Node:
    """Return a node on free ports."""
    return apache_kafka.single(directory, HOST, free_port(), free_port(), free_port())


class RestingBrokers:
    """Single nodes that tests use in turn: while one rests, members that died in it expire.

    A group can be deleted only without members, and a member that was killed stays for the time of
    its session.
    """

    def __init__(self, directory: Path, count: int = 2) -> None:
        self._directory = directory
        self._count = count
        self._brokers: deque[Broker] = deque()

    def take(self) -> str:
        """Return the address of a broker without topics and groups; blocks."""
        if len(self._brokers) < self._count:
            directory = self._directory / f"node-{len(self._brokers)}"
            broker = Broker(replace(single_node(directory), options=OPTIONS))
            self._brokers.appendleft(broker)
            broker.start()
            broker.wait_until_up()
        self._brokers.rotate(-1)
        address = self._brokers[-1].address
        clean(address)
        return address

    def stop(self) -> None:
        for broker in self._brokers:
            broker.stop()


def clean(address: str) -> None:
    """Delete every group and topic; waits for members that died without leaving."""
    admin = AdminClient({"bootstrap.servers": address})

    def groups_gone() -> bool:
        groups = [each.group_id for each in admin.list_consumer_groups().result(20).valid or []]
        for deleted in admin.delete_consumer_groups(groups).values() if groups else ():
            try:
                deleted.result(20)
            except KafkaException as error:
                if error.args[0].code() not in _NOT_YET:
                    raise
        return not groups

    def topics_gone() -> bool:
        found = [name for name in admin.list_topics(timeout=20).topics if name[:2] != "__"]
        for deleted in admin.delete_topics(found).values() if found else ():
            with contextlib.suppress(KafkaException):
                deleted.result(20)
        return not found

    eventually(topics_gone, "topics are deleted", 60, every_s=0.1)
    eventually(groups_gone, "groups are deleted", 60, every_s=0.2)


_NOT_YET = {
    KafkaError.NON_EMPTY_GROUP,
    KafkaError.GROUP_ID_NOT_FOUND,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
}
