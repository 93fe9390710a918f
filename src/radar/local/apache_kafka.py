"""Apache Kafka as a local broker: a node in KRaft mode, from the jars in `KAFKA_HOME/libs`.

`radar up` runs one node when `KAFKA_HOME` is set. Several nodes that name each other as voters are
a cluster; tests run one. Facts: Kafka's documentation, "KRaft" and "Broker Configs", version 4.
"""

import argparse
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radar.errors import ConfigurationError
from radar.process import follow_supervisor

CLUSTER_ID = "cmFkYXItbG9jYWwta2Fma2E"  # 16 bytes in base64url, as Kafka wants it
MAX_MESSAGE_BYTES = 4 * 1024 * 1024 + 65_536  # a message of radar's limit and its batch's frame
# Nodes start and stop often, on machines with few cores, so a quick start matters most.
JVM_OPTIONS = (
    *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    *("-Djava.awt.headless=true", "-Dorg.apache.logging.log4j.level=WARN"),
)


@dataclass(frozen=True)
class Listener:
    """An address for clients: `advertised_port` is the port that the metadata names."""

    name: str
    port: int
    advertised_port: int


@dataclass(frozen=True)
class Node:
    """One node, broker and controller at once, on one host."""

    data_dir: Path
    host: str
    listeners: tuple[Listener, ...]
    internal_port: int
    """The listener for the other brokers."""
    voters: Mapping[int, int]
    """Port of each node's controller, by the node's id."""
    node_id: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    """Further broker options by name; they win."""

    def properties(self) -> str:
        """Return the node's server.properties."""
        nodes = len(self.voters)
        internal = Listener("INTERNAL", self.internal_port, self.internal_port)
        brokers = (*self.listeners, internal)
        controller = f"CONTROLLER://{self.host}:{self.voters[self.node_id]}"
        names = [each.name for each in brokers] + ["CONTROLLER"]
        voters = ",".join(f"{node}@{self.host}:{port}" for node, port in self.voters.items())
        properties = {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": internal.name,
            "listeners": ",".join(
                [*(f"{each.name}://{self.host}:{each.port}" for each in brokers), controller]
            ),
            "advertised.listeners": ",".join(
                f"{each.name}://{self.host}:{each.advertised_port}" for each in brokers
            ),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
            "log.dirs": str(self.data_dir / "log"),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "6",
            "offsets.topic.replication.factor": str(min(3, nodes)),
            "transaction.state.log.num.partitions": "6",
            "transaction.state.log.replication.factor": str(min(3, nodes)),
            "transaction.state.log.min.isr": str(min(2, nodes)),
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": str(min(3, nodes)),
            "share.coordinator.state.topic.min.isr": str(min(2, nodes)),
            "min.insync.replicas": str(min(2, nodes)),
            "message.max.bytes": str(MAX_MESSAGE_BYTES),
            "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
            # Workers of one machine start together anyway, and tests want short sessions.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
        } | dict(self.options)
        return "".join(f"{name}={value}\n" for name, value in properties.items())


def java(home: Path) -> list[str]:
    """Return the start of a command line that runs a class of Kafka.

    Raises:
        ConfigurationError: There is no Java, or no Kafka in `home`.
    """
    if not any((home / "libs").glob("kafka_*.jar")):
        raise ConfigurationError(
            f"KAFKA_HOME is {str(home)!r}: there is no libs/kafka_*.jar in it (try: make kafka)"
        )
    binary = shutil.which("java")
    if binary is None:
        raise ConfigurationError("Apache Kafka needs Java 17 or newer: install a Java runtime")
    return [binary, *JVM_OPTIONS, "-cp", str(home / "libs" / "*")]


def prepare(home: Path, node: Node) -> list[str]:
    """Write the node's files, format its storage once; return the command line that runs it.

    Blocks about two seconds the first time.

    Raises:
        ConfigurationError: There is no Java, no Kafka in `home`, or the storage is unusable.
    """
    node.data_dir.mkdir(parents=True, exist_ok=True)
    properties = node.data_dir / "server.properties"
    properties.write_text(node.properties())
    command = java(home)
    if not (node.data_dir / "log" / "meta.properties").exists():
        done = subprocess.run(
            [
                *(*command, "kafka.tools.StorageTool", "format"),
                *("--cluster-id", CLUSTER_ID, "--config", str(properties)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise ConfigurationError(f"cannot format Kafka's storage: {lines[-1:] or done}")
    return [*command, "kafka.Kafka", str(properties)]


def single(data_dir: Path, host: str, port: int, internal_port: int, controller_port: int) -> Node:
    """Return a node that is a cluster by itself."""
    return Node(
        data_dir=data_dir,
        host=host,
        listeners=(Listener("CLIENTS", port, port),),
        internal_port=internal_port,
        voters={1: controller_port},
    )


def main() -> None:
    """Run one node: `python -m radar.local.apache_kafka KAFKA_HOME DATA_DIR HOST PORT`."""
    from radar.addresses import free_port

    parser = argparse.ArgumentParser(description="Apache Kafka on this machine")
    parser.add_argument("home", type=Path)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    node = single(options.data_dir, options.host, options.port, free_port(), free_port())
    command = prepare(options.home, node)
    follow_supervisor(signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
