"""FastStream with a batch subscriber, as "Batching" of its documentation shows."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import clickhouse_connect
from faststream import FastStream
from faststream.confluent import KafkaBroker, KafkaMessage
from pydantic import BaseModel

from benchmarks.contenders import arguments
from benchmarks.contenders.rows import COLUMNS, TABLES, Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Trade(BaseModel):
    """A message of trades."""

    trade_id: str
    source: str
    symbol: str
    base: str
    quote: str
    side: str
    price: Decimal
    base_amount: Decimal
    event_time_ms: int
    received_at_us: int

    def row(self) -> Row:
        """Return the row but for its position."""
        return (
            *(self.trade_id, self.source, self.symbol, self.base, self.quote, self.side),
            *(self.price, self.base_amount),
            _EPOCH + timedelta(milliseconds=self.event_time_ms),
            _EPOCH + timedelta(microseconds=self.received_at_us),
        )


class Depth(BaseModel):
    """A message of depth snapshots."""

    source: str
    symbol: str
    base: str
    quote: str
    side: str
    prices: list[float]
    quantities: list[float]
    received_at_us: int

    def row(self) -> Row:
        """Return the row but for its position."""
        return (
            *(self.source, self.symbol, self.base, self.quote, self.side),
            *(self.prices, self.quantities),
            _EPOCH + timedelta(microseconds=self.received_at_us),
        )


async def main() -> None:
    """Run until killed."""
    options = arguments.parse("FastStream")
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=options.clickhouse_port, database=options.database
    )
    broker = KafkaBroker(options.broker)
    subscriber = broker.subscriber(
        options.topic,
        batch=True,
        max_records=options.block,
        group_id=options.group,
        auto_offset_reset="earliest",
    )

    async def store(rows: Sequence[Trade | Depth], message: KafkaMessage) -> None:
        raw: Any = message.raw_message
        batch = [
            (*row.row(), each.partition(), each.offset())
            for row, each in zip(rows, raw, strict=True)
        ]
        table, columns = TABLES[options.dataset], COLUMNS[options.dataset]
        await asyncio.to_thread(client.insert, table, batch, column_names=columns)

    if options.dataset == "trades":

        @subscriber
        async def store_trades(messages: list[Trade], message: KafkaMessage) -> None:
            await store(messages, message)

    else:

        @subscriber
        async def store_depth(messages: list[Depth], message: KafkaMessage) -> None:
            await store(messages, message)

    await FastStream(broker).run()


if __name__ == "__main__":
    asyncio.run(main())
