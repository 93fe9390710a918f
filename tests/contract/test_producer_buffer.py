"""Publishing when Kafka is away: the callers wait, and nothing is dropped."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from link import Link
from ports import free_port
from radar.errors import BufferFull
from radar.kafka import Cluster, Publisher
from radar.producer.publish import BufferedPublisher
from radar.settings import Settings

pytestmark = pytest.mark.kafka_decides

TOPIC = "buffer"
VALUE = bytes(1024)


def waited_s() -> float:
    return REGISTRY.get_sample_value("radar_backpressure_seconds_total", {"dataset": TOPIC}) or 0.0


async def fill(buffer: BufferedPublisher) -> int:
    """Publish until there is no room; return how many messages fitted."""
    for count in range(1_000_000):
        try:
            buffer.publish(b"key", VALUE)
        except BufferFull:
            return count
    raise AssertionError("the buffer is not bounded")


def test_publisher_with_a_full_buffer_waits_for_room_and_drops_nothing(
    kafka_settings: Settings,
) -> None:
    Cluster(kafka_settings).create_topics([TOPIC])
    port = free_port()
    host, broker_port = kafka_settings.kafka_broker.split(":")

    async def publish() -> None:
        publisher = Publisher(
            kafka_settings.model_copy(
                update={"kafka_broker": f"127.0.0.1:{port}", "kafka_buffer_bytes": 1_048_576}
            ),
            TOPIC,
        )
        buffer = BufferedPublisher(publisher, TOPIC)
        fitted = await fill(buffer)
        waiting = [asyncio.create_task(buffer.publish_when_room(b"key", VALUE)) for _ in range(3)]
        await asyncio.wait(waiting, timeout=0.3)
        assert buffer.waiting == 3
        buffer.update_metrics()
        assert 0.2 < waited_s() < 2, "the time of several callers counts once"
        # Kafka comes back.
        async with Link(host, int(broker_port), port):
            await asyncio.wait_for(asyncio.gather(*waiting), 20)
            assert buffer.waiting == 0
            assert await asyncio.to_thread(publisher.flush, 20) == 0
            assert (publisher.acknowledged, publisher.failed) == (fitted + 3, 0)

    asyncio.run(publish())
    (topic,) = Cluster(kafka_settings).topics([TOPIC])
    assert topic.end > 1000


def test_cancelled_wait_for_room_is_counted(kafka_settings: Settings) -> None:
    async def publish() -> None:
        away = kafka_settings.model_copy(
            update={"kafka_broker": f"127.0.0.1:{free_port()}", "kafka_buffer_bytes": 1_048_576}
        )
        buffer = BufferedPublisher(Publisher(away, TOPIC), TOPIC)
        await fill(buffer)
        waiting = asyncio.create_task(buffer.publish_when_room(b"key", VALUE))
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (buffer.waiting, buffer.abandoned) == (0, 1)

    asyncio.run(publish())
