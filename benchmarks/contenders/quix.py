"""Quix Streams with a batching sink, as "Creating a custom sink" of its documentation shows."""

from typing import Any

import clickhouse_connect
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from benchmarks.contenders import arguments
from benchmarks.contenders.arguments import Arguments
from benchmarks.contenders.rows import COLUMNS, TABLES, TO_ROW


class ClickHouseSink(BatchingSink):  # type: ignore[misc]  # lives in an environment of its own
    """Inserts what was collected when the application commits."""

    def __init__(self, options: Arguments) -> None:
        super().__init__()
        self._options = options
        self._client: Any = None

    def setup(self) -> None:
        """Connect."""
        self._client = clickhouse_connect.get_client(
            host="127.0.0.1", port=self._options.clickhouse_port, database=self._options.database
        )

    def write(self, batch: SinkBatch) -> None:
        """Insert a batch of one partition."""
        dataset = self._options.dataset
        to_row = TO_ROW[dataset]
        for chunk in batch.iter_chunks(n=self._options.block):
            rows = [to_row(item.value, batch.partition, item.offset) for item in chunk]
            self._client.insert(TABLES[dataset], rows, column_names=COLUMNS[dataset])


def main() -> None:
    """Run until killed."""
    options = arguments.parse("Quix Streams")
    application = Application(
        broker_address=options.broker,
        consumer_group=options.group,
        auto_offset_reset="earliest",
        commit_every=options.block,
    )
    stream = application.dataframe(application.topic(options.topic, value_deserializer="json"))
    stream.sink(ClickHouseSink(options))
    application.run()


if __name__ == "__main__":
    main()
