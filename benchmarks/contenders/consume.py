"""Consume messages in blocks and do nothing with them."""

from pathlib import Path

from confluent_kafka import Consumer

from benchmarks.contenders import arguments


def main() -> None:
    """Run until killed; tell the count of messages in a file."""
    options = arguments.parse("only consume")
    consumer = Consumer(
        {
            "bootstrap.servers": options.broker,
            "group.id": options.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 2,
        }
    )
    consumer.subscribe([options.topic])
    seen = 0
    with Path(options.progress).open("w", buffering=1) as progress:
        while True:
            seen += len(consumer.consume(options.block, 0.1))
            progress.seek(0)
            progress.write(f"{seen}\n")


if __name__ == "__main__":
    main()
