"""A broker that lost what it had acknowledged: the publisher goes on with a new client."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ports import free_port
from producing import Topic
from radar.addresses import answers
from radar.datasets import TRADES
from radar.kafka import Cluster, Publisher
from radar.settings import Settings, load
from support import Process, eventually
from workers import create_topics, trade_value

pytestmark = pytest.mark.kafka_decides


class ForgetfulBroker:
    """An embedded broker that can be killed and started on an older state of its data."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._data, self._copy = directory / "kafka", directory / "copy"
        self._log = directory / "kafka.log"

    def start(self) -> None:
        command = [sys.executable, "-m", "radar.local.broker"]
        self._process = Process([*command, str(self._data), "127.0.0.1", str(self.port)], self._log)
        eventually(lambda: answers("127.0.0.1", self.port), "Kafka answers")

    def stop(self) -> None:
        self._process.end()

    def save(self) -> None:
        shutil.copytree(self._data, self._copy)

    def forget(self) -> None:
        shutil.rmtree(self._data)
        self._copy.rename(self._data)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ForgetfulBroker]:
    broker = ForgetfulBroker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def settings(broker: ForgetfulBroker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{broker.port}")
    settings = load()
    Cluster(settings).wait_until_up(10)
    create_topics(settings)
    return settings


def test_publisher_whose_broker_forgot_its_sequence_delivers_everything_else(
    broker: ForgetfulBroker, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(settings, TRADES.topic)

    def publish(numbers: range) -> None:
        for n in numbers:
            publisher.publish(b"key", trade_value(n))

    publish(range(10))
    assert publisher.flush(20) == 0
    broker.stop()
    broker.save()
    broker.start()
    publish(range(10, 30))
    assert publisher.flush(20) == 0
    broker.stop()
    broker.forget()
    publish(range(30, 130))
    broker.start()
    assert publisher.flush(30) == 0
    assert (publisher.acknowledged, publisher.failed) == (130, 0)
    assert "replacing the Kafka producer" in caplog.text
    topic = Topic(settings, TRADES)
    try:
        eventually(lambda: topic.read() or len(topic.messages) >= 110, "what was delivered")  # type: ignore[func-returns-value]
        amounts = {int(each["base_amount"]) - 1 for each in topic.messages}
        assert amounts == {*range(10), *range(30, 130)}
    finally:
        topic.close()
