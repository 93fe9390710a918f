"""Queries of the Python client.

A query of one market has the placeholders `source` and `symbol`; one of several has `markets`. Its
period is `start` to `end`, not included. `floats`: decimals become doubles in ClickHouse.
"""

import re
from collections.abc import Mapping

_MARKETS = "(source, symbol) IN {markets:Array(Tuple(String, String))}"
_INSTRUMENT = "base = {base:String} AND quote = {quote:String}"
_START = "{start:DateTime64(6, 'UTC')}"
_END = "{end:DateTime64(6, 'UTC')}"
_PERIOD = f"start = {_START}, end = {_END}"

# Before the begin of a part, so that both sides of a book are known at it.
DEPTH_LOOK_BACK_S = 600

# A part of an answer has about so many values; each of its rows counts as one more.
MINUTE_US = 60_000_000


def trades(*, of_instrument: bool, floats: bool) -> str:
    """Return the query of trades, oldest first."""
    price, base_amount, quote_amount = _decimals(floats, "price", "base_amount", "quote_amount")
    return f"""
SELECT toString(trade_id) AS trade_id, source, symbol, base, quote, toString(side) AS side,
    {price}, {base_amount}, {quote_amount}, event_time, received_at, native_id, native_sequence,
    event_time_us
FROM trades
WHERE {_INSTRUMENT if of_instrument else _MARKETS}
    AND event_time >= {_START} AND event_time < {_END}
ORDER BY event_time_us, monotonic_at, trade_id
"""


def trade_minutes(*, of_instrument: bool) -> str:
    """Return the query of the minutes at which parts of an answer of trades begin."""
    return _minutes(
        f"SELECT intDiv(toUnixTimestamp64Milli(event_time), {MINUTE_US // 1000}) AS minute,"
        f" count() AS size FROM trades_master WHERE"
        f" {_INSTRUMENT if of_instrument else _MARKETS}"
        f" AND event_time >= {_START} AND event_time < {_END} GROUP BY minute"
    )


def _minutes(sizes: str) -> str:
    """Return the query of the Unix minutes at which parts begin, of the size of each minute."""
    return (
        "SELECT min(minute) AS begin FROM (SELECT minute,"
        f" intDiv(sum(size) OVER (ORDER BY minute), {{part:UInt64}}) AS number FROM ({sizes}))"
        " GROUP BY number ORDER BY begin"
    )


def candles(*, is_local: bool, floats: bool) -> str:
    """Return the query of candles, oldest first; `is_local`: of days of `time_zone`."""
    columns = ", ".join(
        _decimals(floats, "open", "high", "low", "close", "volume", "quote_volume", "vwap")
    )
    # The views take milliseconds.
    period = _PERIOD.replace("DateTime64(6,", "DateTime64(3,")
    view = f"candles(interval_s = {{interval_s:UInt32}}, {period})"
    zone = "'UTC'"
    if is_local:
        zone = "{time_zone:String}"
        view = f"local_candles(time_zone = {zone}, interval_s = {{interval_s:UInt32}}, {period})"
    return (
        f"SELECT source, symbol, toDateTime64(open_time, 3, {zone}) AS open_time, {columns}, trades"
        f" FROM {view} WHERE {_MARKETS} ORDER BY open_time, source, symbol"
    )


SPREADS = f"""
SELECT source, symbol, toDateTime64(open_time, 3, 'UTC') AS open_time, best_bid, best_ask, mid,
    spread, spread_bps, bid_quantity, ask_quantity, imbalance
FROM spreads(interval_s = {{interval_s:UInt32}}, {_PERIOD})
WHERE {_MARKETS}
ORDER BY open_time, source, symbol
"""

_MID_PRICES = f"""
SELECT source, symbol, time, best_bid, best_ask, mid, spread_bps, age_s
FROM mid_prices(source = {{source:String}}, symbol = {{symbol:String}},
    interval_s = {{interval_s:UInt32}}, max_age_s = {{max_age_s:UInt32}}, {_PERIOD})
"""


def mid_prices(markets: int) -> str:
    """Return the query of mid prices of so many markets, oldest first."""
    return f"SELECT * FROM ({_of_each(_MID_PRICES, markets)}) ORDER BY time, source, symbol"


_BOOK_SIDE = """
SELECT source, symbol, '{side}' AS side, toUInt16(level) AS level, price, quantity,
    {side}_received_at AS received_at
FROM order_book_at(symbol = {{symbol:String}}, at = {{at:DateTime64(6, 'UTC')}})
ARRAY JOIN {side}_prices AS price, {side}_quantities AS quantity,
    arrayEnumerate({side}_prices) AS level
WHERE source = {{source:String}}
"""


def order_book(markets: int) -> str:
    """Return the query of the newest book of so many markets at `at`."""
    sides = " UNION ALL ".join(_BOOK_SIDE.format(side=side) for side in ("bid", "ask"))
    return f"SELECT * FROM ({_of_each(sides, markets)}) ORDER BY source, symbol, side DESC, level"


def _of_each(sql: str, markets: int) -> str:
    """Return the union of a query for each market, with `source_0` and `symbol_0` and so on."""
    return " UNION ALL ".join(
        re.sub(r"\{(source|symbol):", rf"{{\1_{number}:", sql) for number in range(markets)
    )


def depth(*, levels: int, is_wide: bool) -> str:
    """Return the query of snapshots: at each receipt of a side, both sides as known then.

    Args:
        levels: Of each side at most; 0: all.
        is_wide: A column for each level instead of lists.
    """
    names = [
        f"{side}_{what}" for side in ("bid", "ask") for what in ("prices", "quantities")
    ]  # fmt: skip
    columns = ", ".join(names)
    if is_wide:
        columns = ", ".join(
            f"if(length({side}_prices) < {level}, NULL, {side}_{plural}[{level}])"
            f" AS {side}_{what}_{level}"
            for level in range(1, levels + 1)
            for side in ("bid", "ask")
            for what, plural in (("price", "prices"), ("quantity", "quantities"))
        )
    prices, quantities = (
        (f"arraySlice({name}, 1, {levels})" if levels else name)
        for name in ("prices", "quantities")
    )
    return f"""
SELECT source, symbol, received_at,
    fromUnixTimestamp64Micro(nullIf(bid_at, 0), 'UTC') AS bid_received_at,
    fromUnixTimestamp64Micro(nullIf(ask_at, 0), 'UTC') AS ask_received_at, {columns}
FROM
(
    SELECT source, symbol, received_at, order_us,
        argMaxIf((prices, quantities, received_us), order_us, side_name = 'bid') OVER so_far AS bid,
        argMaxIf((prices, quantities, received_us), order_us, side_name = 'ask') OVER so_far AS ask,
        bid.1 AS bid_prices, bid.2 AS bid_quantities, bid.3 AS bid_at,
        ask.1 AS ask_prices, ask.2 AS ask_quantities, ask.3 AS ask_at,
        row_number() OVER (PARTITION BY source, symbol, order_us ORDER BY side_name DESC) AS number
    FROM
    (
        SELECT source, symbol, toString(side) AS side_name, received_at,
            toUnixTimestamp64Micro(received_at) AS received_us,
            received_us + toInt64(set_back_us) AS order_us,
            any({prices}) AS prices, any({quantities}) AS quantities
        FROM orderbook_depth
        WHERE {_MARKETS} AND received_at >= {_START} - toIntervalSecond({DEPTH_LOOK_BACK_S})
            AND received_at < {_END}
        GROUP BY source, symbol, side_name, received_at, set_back_us
    )
    WINDOW so_far AS (PARTITION BY source, symbol ORDER BY order_us)
)
WHERE number = 1 AND received_at >= {_START}
ORDER BY order_us, source, symbol
"""


def snapshot_minutes(table: str) -> str:
    """Return the query of the minutes at which parts of snapshots or updates begin."""
    size = {
        "orderbook_depth": "sum(1 + 2 * levels)",
        "book_updates": "sum(1 + 2 * (length(bid_prices) + length(ask_prices)))",
    }[table]
    return _minutes(
        f"SELECT intDiv(toUnixTimestamp64Micro(received_at), {MINUTE_US}) AS minute, {size} AS size"
        f" FROM {table} WHERE {_MARKETS} AND received_at >= {_START} AND received_at < {_END}"
        " GROUP BY minute"
    )


BOOK_UPDATES = f"""
SELECT source, symbol, received_at, if(event_time = 0, NULL, event_time) AS event_time, sequence,
    chain, place, is_snapshot, bid_prices, bid_quantities, ask_prices, ask_quantities, verified
FROM book_updates FINAL
WHERE {_MARKETS} AND received_at >= {_START} AND received_at < {_END}
ORDER BY monotonic_at, source, symbol, chain, place
"""


def coverage(*, of_markets: bool) -> str:
    """Return the query of the coverage of days."""
    return f"""
SELECT source, record_kind AS dataset, symbol, day, elapsed_s, watched_s, watched_share, gaps,
    gaps_s, repaired_gaps, repaired_s, complete_share, in_progress
FROM coverage
WHERE day >= {{first:Date}} AND day <= {{last:Date}}
    AND ({{dataset:String}} = '' OR record_kind = {{dataset:String}})
    {f"AND {_MARKETS}" if of_markets else ""}
ORDER BY day, source, symbol, dataset
"""


def gaps(*, of_markets: bool) -> str:
    """Return the query of the gaps that touch a period."""
    return f"""
SELECT source, record_kind AS dataset, symbol, began_at, ended_at,
    (toUnixTimestamp64Micro(ended_at) - toUnixTimestamp64Micro(began_at)) / 1e6 AS lasted_s, cause,
    repaired AS backfilled
FROM symbol_gaps
WHERE ended_at > {_START} AND began_at < {_END}
    AND ({{dataset:String}} = '' OR record_kind = {{dataset:String}})
    {f"AND {_MARKETS}" if of_markets else ""}
ORDER BY began_at, source, symbol, dataset
"""


def markets(*, floats: bool) -> str:
    """Return the query of the list of markets at `at`, those with the most volume first."""
    last, high, low, volume, quote_volume = _decimals(
        floats, "last_price", "high_24h", "low_24h", "volume_24h", "quote_volume_24h"
    )
    return f"""
SELECT source, symbol, base, quote, {last}, last_trade_at, change_24h, {high}, {low}, {volume},
    {quote_volume}, trades_24h, best_bid, best_ask, mid, spread_bps, book_received_at, trade_age_s,
    book_age_s
FROM markets_at(at = {{at:DateTime64(6, 'UTC')}})
ORDER BY quote, toFloat64(quote_volume_24h) DESC, source, symbol
"""


def _decimals(floats: bool, *names: str) -> list[str]:
    return [f"{_as_double(name)} AS {name}" if floats else name for name in names]


def _as_double(name: str) -> str:
    """Return the nearest double of a decimal: toFloat64 alone makes 31700.000000000004 of 31700."""
    return f"toFloat64(toInt256({name})) + toFloat64({name} - trunc({name}))"


def described(sql: str) -> str:
    """Return the query of the names and types of another query's columns."""
    return f"DESCRIBE TABLE (\n{sql}\n)"


def with_plain_columns(sql: str, types: Mapping[str, str], *, floats: bool) -> str:
    """Return a query whose columns every reader of Arrow understands.

    Enums and times in whole seconds would be plain numbers.

    Args:
        sql: The query.
        types: The types of its columns, by name.
        floats: Decimals become doubles.
    """
    changes = []
    for name, type_ in types.items():
        column = _quoted(name)
        plain = type_.removeprefix("LowCardinality(").removeprefix("Nullable(")
        if plain.startswith("Enum"):
            changes.append(f"toString({column}) AS {column}")
        elif plain.startswith("DateTime") and not plain.startswith("DateTime64"):
            changes.append(f"toDateTime64({column}, 3) AS {column}")
        elif plain.startswith("Decimal") and floats:
            changes.append(f"{_as_double(column)} AS {column}")
    return f"SELECT * REPLACE ({', '.join(changes)}) FROM (\n{sql}\n)" if changes else sql


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
