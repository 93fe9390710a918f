"""The floor: consume messages in blocks, and insert a ready block for each.

The block is made once, of the first messages. So nothing is decoded, encoded or committed: a worker
cannot be cheaper than its Kafka client and its database.
"""

import uuid

import numpy as np
from clickhouse_connect import get_client
from confluent_kafka import Consumer

from benchmarks.contenders import arguments
from radar.codec.batch_decoder import Column
from radar.datasets import DATASETS, Dataset
from radar.store import native
from radar.store.client import INSERT_SETTINGS


def _block(dataset: Dataset, values: list[bytes]) -> tuple[list[str], bytes]:
    """Return the names of the columns, and a block of rows in the format Native."""
    columns = [
        *dataset.read_columns(values),
        Column("kafka_partition", "UInt16", np.zeros(len(values), np.uint16)),
        Column("kafka_offset", "UInt64", np.arange(len(values), dtype=np.uint64)),
    ]
    return [column.name for column in columns], native.encode([(len(values), columns)])


def main() -> None:
    """Run until killed."""
    options = arguments.parse("floor")
    dataset = DATASETS[options.dataset]
    client = get_client(
        host="127.0.0.1", port=options.clickhouse_port, database=options.database,
        autogenerate_session_id=False,
    )  # fmt: skip
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
    names: list[str] = []
    block = b""
    first: list[bytes] = []
    seen = 0
    while True:
        messages = consumer.consume(min(options.block, 2048), 0.1)
        if not block:
            first += [message.value() or b"" for message in messages]
            # Equal rows would become one.
            if len(first) >= options.block:
                names, block = _block(dataset, first[: options.block])
        seen += len(messages)
        if seen >= options.block:
            seen -= options.block
            settings = INSERT_SETTINGS | {"insert_deduplication_token": uuid.uuid4().hex}
            client.raw_insert(
                dataset.table, column_names=names, insert_block=block, settings=settings,
                fmt="Native",
            )  # fmt: skip


if __name__ == "__main__":
    main()
