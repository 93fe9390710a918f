"""Rows that the database makes up itself: millions of trades without a way through Kafka."""

from radar.store.client import Store

CHUNK_ROWS = 1_000_000
MARKETS = 200
SPAN_S = 30 * 86400
"""The trades lie in the last month."""

_INSERT = """
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
    at, addMilliseconds(at, 40 + chance % 50),
    number % 3, number
FROM
(
    SELECT
        number, cityHash64(number) AS chance,
        -- A few markets are busy and many are quiet.
        toUInt8(pow(bitShiftRight(chance, 20) % 100000 / 100000, 2) * {markets}) AS market,
        intDiv(number * {span} * 1000, {total}) AS elapsed_ms,
        addMilliseconds(toDateTime64(now() - {span}, 3, 'UTC'), elapsed_ms) AS at
    FROM numbers({start}, {count})
)
"""


def insert_trades(store: Store, rows: int) -> None:
    """Fill `trades_master` with made-up trades, oldest first; blocks a second or two a million."""
    for start in range(0, rows, CHUNK_ROWS):
        store.command(
            _INSERT.format(
                markets=MARKETS,
                span=SPAN_S,
                total=rows,
                start=start,
                count=min(CHUNK_ROWS, rows - start),
            )
        )
