"""Rows that the database makes up itself: millions of trades without a way through Kafka."""

from collections.abc import Iterator
from itertools import accumulate

from radar.store.client import Store

CHUNK_ROWS = 1_000_000
MARKETS = 200
SPAN_S = 30 * 86400
"""The trades lie in the last month."""

# Shares as in the simulated exchange: the n-th busiest market trades 1/n as often as the busiest.
_DRAWS = 10_000


def _drawn(markets: int) -> list[int]:
    """Return the numbers of markets, each as often as it trades."""
    weights = list(accumulate(1 / rank for rank in range(1, markets + 1)))
    return [
        next(market for market, weight in enumerate(weights) if weight * _DRAWS > n * weights[-1])
        for n in range(_DRAWS)
    ]


_INSERT = f"""
INSERT INTO trades_master
(trade_id, source, symbol, base, quote, side, price, base_amount, event_time, received_at,
 kafka_partition, kafka_offset)
SELECT
    reinterpretAsUUID(sipHash128(number)), 'wallex',
    concat('M', toString(market), if(market % 2, 'TMN', 'USDT')),
    concat('M', toString(market)), if(market % 2, 'TMN', 'USDT'),
    if(chance % 2, 'buy', 'sell'),
    toDecimal128((10000 + market * 1000 + chance % 997) / 100, 18),
    toDecimal128((1 + chance % 99991) / 10000, 18),
    -- The exchange tells whole seconds.
    toStartOfSecond(at), addMilliseconds(at, 40 + chance % 50),
    number % 3, number
FROM
(
    SELECT
        number, cityHash64(number) AS chance,
        {{drawn}}[bitShiftRight(chance, 20) % {_DRAWS} + 1] AS market,
        intDiv(number * {SPAN_S} * 1000, {{total}}) AS elapsed_ms,
        addMilliseconds(toDateTime64({{now}} - {SPAN_S}, 3, 'UTC'), elapsed_ms) AS at
    FROM numbers({{start}}, {{count}})
)
"""


def insert_trades(store: Store, rows: int, markets: int = MARKETS) -> None:
    """Fill `trades_master` with made-up trades, oldest first; blocks a second or two a million.

    The newest day comes hour by hour, so that it lies in parts as it would.
    """
    ((now,),) = store.rows("SELECT toUnixTimestamp(now())")
    drawn = _drawn(markets)
    for start, count in _chunks(rows):
        store.command(_INSERT.format(now=now, total=rows, start=start, count=count, drawn=drawn))


def insert_snapshots(store: Store, count: int, markets: int = MARKETS, every_s: float = 7) -> None:
    """Fill `orderbook_depth` with snapshots of 50 levels until now; blocks.

    Each side of each market has one every `every_s` seconds.
    """
    store.command(
        "INSERT INTO orderbook_depth (source, symbol, base, quote, side, received_at, prices,"
        " quantities, kafka_partition, kafka_offset) SELECT 'wallex',"
        " concat(base, quote), concat('M', toString(market)) AS base,"
        " if(market % 2, 'TMN', 'USDT') AS quote, if(bid, 'bid', 'ask'),"
        f" addMicroseconds(toDateTime64(now(), 6, 'UTC'), (toInt64(number) - {count})"
        f" * {round(every_s * 1_000_000 / (2 * markets))}),"
        " arrayMap(level -> 1000 + if(bid, -level, level + 1) / 10, range(50)),"
        " arrayMap(level -> 1 + level, range(50)), number % 3, number"
        f" FROM (SELECT number, number % {markets} AS market, intDiv(number, {markets}) % 2 AS bid"
        f" FROM numbers({count}))"
    )


def _chunks(rows: int) -> Iterator[tuple[int, int]]:
    hour_rows = max(1, rows * 3600 // SPAN_S)
    start = 0
    while start < rows:
        wanted = CHUNK_ROWS if start < rows - 24 * hour_rows else hour_rows
        count = min(wanted, rows - start)
        yield start, count
        start += count
