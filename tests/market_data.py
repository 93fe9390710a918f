"""Trades and snapshots around a fixed time, for tests of what reads them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from embedded_clickhouse import running
from ports import free_port
from radar.codec import message_format
from radar.consumer.chunk import decode_chunk
from radar.consumer.messages import Messages
from radar.datasets import DEPTH, TRADES, Dataset
from radar.records import BookSide, DepthSnapshot, Trade, TradeSide
from radar.settings import Settings, load
from radar.store.client import Store
from radar.store.migrate import migrate
from support import Consumed

# So far ahead that nothing expires.
MONDAY = datetime(2035, 1, 1, tzinfo=UTC)


def insert(store: Store, dataset: Dataset, values: Sequence[bytes], token: str) -> None:
    """Insert message values as a worker does, from some place in Kafka that depends on the name."""
    place = sum(token.encode())
    messages = [Consumed(place + n, value) for n, value in enumerate(values)]
    chunk = decode_chunk(dataset, place % 3, Messages.of(messages))
    assert not chunk.bad_messages, chunk.bad_messages[0]
    # A test may hold the tables of an earlier release.
    there = {
        str(name)
        for (name,) in store.rows(
            "SELECT name FROM system.columns WHERE database = currentDatabase()"
            " AND table = {table:String}",
            {"table": dataset.table},
        )
    }
    blocks = [
        (len(part.messages), [column for column in part.columns if column.name in there])
        for part in chunk.parts
    ]
    store.insert(dataset.table, blocks, token)


def trade(at_ms: int, received_at_us: int, price: str, symbol: str = "USDTTMN") -> Trade:
    return Trade(
        source="wallex",
        symbol=symbol,
        base=symbol[:4],
        quote=symbol[4:],
        side=TradeSide.BUY,
        price=price,
        base_amount="0.3",
        event_time_ms=at_ms,
        received_at_us=received_at_us,
    )


def side(
    side: BookSide, prices: Sequence[float], at_us: int, symbol: str = "USDTTMN"
) -> DepthSnapshot:
    return DepthSnapshot(
        source="wallex",
        symbol=symbol,
        base=symbol[:4],
        quote=symbol[4:],
        side=side,
        prices=tuple(prices),
        quantities=tuple(float(n + 1) for n in range(len(prices))),
        received_at_us=at_us,
    )


def us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def insert_market(store: Store) -> None:
    """Insert four trades of two markets over two days, a book of then and one of now."""
    at_ms = us(MONDAY) // 1000
    trades = [
        trade(at_ms - 1000, at_ms * 1000, "31704.1234567890123456"),
        trade(at_ms, at_ms * 1000, "31700"),
        trade(at_ms + 60_000, at_ms * 1000, "31800"),
        trade(at_ms + 61_000, at_ms * 1000, "7", "BTC/TMN"),
    ]
    book = [
        side(BookSide.BID, [99.5, 99.0], us(MONDAY)),
        side(BookSide.ASK, [100.5, 101.25], us(MONDAY) + 5),
        side(BookSide.BID, [5.0], time.time_ns() // 1000, "NOWTMN"),
    ]
    values = [message_format.encode_trade(each, f"{n + 1:032x}") for n, each in enumerate(trades)]
    insert(store, TRADES, values, "trades")
    insert(store, DEPTH, [message_format.encode_depth(each) for each in book], "book")


def make_data_at_rest(directory: Path) -> Settings:
    """Return options that lead to such data, which nothing runs on."""
    data = directory / "data"
    data.mkdir()
    with running(data / "clickhouse") as server:
        store = Store(load(clickhouse_port=server.port))
        migrate(store, 90)
        insert_market(store)
        store.close()
        server.end()
    return load(clickhouse_port=free_port(), radar_data_dir=data)
