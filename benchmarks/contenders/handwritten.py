"""The usual hand-written consumer: poll one message, json.loads, row inserts, automatic commits."""

import json

import clickhouse_connect
from confluent_kafka import Consumer, KafkaException

from benchmarks.contenders import arguments
from benchmarks.contenders.rows import COLUMNS, TABLES, TO_ROW, Row


def main() -> None:
    """Run until killed."""
    options = arguments.parse("hand-written consumer")
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=options.clickhouse_port, database=options.database
    )
    consumer = Consumer(
        {
            "bootstrap.servers": options.broker,
            "group.id": options.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": True,
        }
    )
    consumer.subscribe([options.topic])
    to_row = TO_ROW[options.dataset]
    batch: list[Row] = []
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if error := message.error():
            raise KafkaException(error)
        value, partition, offset = message.value(), message.partition(), message.offset()
        assert value is not None and partition is not None and offset is not None  # noqa: PT018
        batch.append(to_row(json.loads(value), partition, offset))
        if len(batch) >= options.block:
            client.insert(TABLES[options.dataset], batch, column_names=COLUMNS[options.dataset])
            batch.clear()


if __name__ == "__main__":
    main()
