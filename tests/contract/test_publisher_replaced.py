"""A broker that lost what it had acknowledged: the publisher goes on with a new client."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import outages
from outages import Service
from ports import free_port
from producing import Topic
from radar.datasets import TRADES
from radar.kafka import Cluster, Publisher
from radar.settings import Settings, load
from support import eventually
from workers import create_topics, trade_value

pytestmark = pytest.mark.kafka_decides


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Service]:
    with outages.kafka(tmp_path, free_port()) as broker:
        yield broker


@pytest.fixture
def settings(broker: Service, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{broker.port}")
    settings = load()
    Cluster(settings).wait_until_up(10)
    create_topics(settings)
    return settings


def test_publisher_whose_broker_forgot_its_sequence_delivers_everything_else(
    broker: Service, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(settings, TRADES.topic)

    def publish(numbers: range) -> None:
        for n in numbers:
            publisher.publish(b"key", trade_value(n))

    publish(range(10))
    assert publisher.flush(20) == 0
    broker.stop()
    shutil.copytree(tmp_path / "kafka", tmp_path / "copy")
    broker.start()
    publish(range(10, 30))
    assert publisher.flush(20) == 0
    broker.stop()
    shutil.rmtree(tmp_path / "kafka")
    (tmp_path / "copy").rename(tmp_path / "kafka")
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
