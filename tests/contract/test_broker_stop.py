"""The embedded broker told to stop while a producer publishes: what it acknowledged stays."""

import threading
from pathlib import Path

import pytest

import outages
from ports import free_port
from radar.datasets import TRADES
from radar.errors import BufferFull
from radar.kafka import Cluster, Publisher
from radar.settings import load
from support import Process, eventually
from workers import create_topics, trade_value


def test_broker_told_to_stop_while_it_takes_messages_keeps_what_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start() -> Process:
        port = free_port()
        monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{port}")
        return outages.kafka(tmp_path, port).process

    broker = start()
    try:
        settings = load()
        Cluster(settings).wait_until_up(30)
        create_topics(settings)
        publisher = Publisher(settings, TRADES.topic, linger_ms=0)
        told = threading.Event()

        def publish() -> None:
            number = 0
            while not told.is_set():
                try:
                    publisher.publish(b"%d" % (number % 16), trade_value(number))
                    number += 1
                except BufferFull:
                    pass
                publisher.poll(0.0005)

        publishing = threading.Thread(target=publish)
        publishing.start()
        eventually(lambda: publisher.acknowledged > 1000, "the broker takes messages")
        assert broker.terminate() == 0
        told.set()
        publishing.join()
        publisher.poll(0)
        # Somewhere else, where the publisher does not find it and send the rest.
        broker = start()
        cluster = Cluster(load())
        cluster.wait_until_up(30)
        (topic,) = cluster.topics([TRADES.topic])
        assert topic.end >= publisher.acknowledged
    finally:
        broker.end()
