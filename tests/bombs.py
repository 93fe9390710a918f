"""Record batches that no client can read: some kilobytes that hold more than a client takes."""

import confluent_kafka

from radar.settings import Settings

MEBIBYTE = 1024 * 1024


def send_bomb(
    settings: Settings,
    topic: str,
    partition: int = 0,
    messages: int = 1,
    mebibytes: int = 160,
    codec: str = "zstd",
) -> int:
    """Write one batch of so many messages; return its first offset."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": settings.kafka_broker,
            "message.max.bytes": 1_000_000_000,
            "batch.size": 1_000_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
            "compression.type": codec,
            "linger.ms": 1000,
        }
    )
    offsets: list[int] = []

    def delivered(error: object, message: confluent_kafka.Message) -> None:
        assert error is None, error
        offsets.append(message.offset() or 0)

    value = b" " * (mebibytes * MEBIBYTE // messages)
    for _ in range(messages):
        producer.produce(topic, value, partition=partition, on_delivery=delivered)
    assert producer.flush(60) == 0
    assert max(offsets) - min(offsets) == messages - 1
    return min(offsets)
