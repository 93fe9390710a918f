"""Queries of `radar replay`: which markets a period has, and its records in order.

The placeholders are `exchange`, `symbols` (a JSON list; empty: all) and times in microseconds of
Unix time: `begin` and `end` (not included), or `at`. Answers hold times in microseconds.
"""

_CHOSEN = (
    "source = {exchange:String} AND (empty(JSONExtract({symbols:String}, 'Array(String)'))"
    " OR has(JSONExtract({symbols:String}, 'Array(String)'), toString(symbol)))"
)


def _time(name: str) -> str:
    return f"fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"


def _within(column: str) -> str:
    return f"{_CHOSEN} AND {column} >= {_time('begin')} AND {column} < {_time('end')}"


# `event_time` is the key of the table, in milliseconds; the bounds are whole ones.
_TRADES_WITHIN = _within("event_time")
_BOOKS_WITHIN = _within("received_at")


def _places(number: str) -> str:
    return f"length(splitByChar('.', toString({number}))[2])"


# Symbol, base, quote, decimals of prices and of amounts, trades and snapshots. The decimals of
# books are those of some snapshots: they decide on zeros at the end of a number only.
MARKETS = (
    "SELECT symbol, any(base), any(quote), max(price_places), max(amount_places), sum(trades),"
    " sum(books) FROM ("
    f" SELECT symbol, base, quote, max({_places('price')}) AS price_places,"
    f" max({_places('base_amount')}) AS amount_places, count() AS trades, 0 AS books"
    f" FROM trades WHERE {_TRADES_WITHIN} GROUP BY symbol, base, quote"
    " UNION ALL"
    " SELECT symbol, base, quote, 0, 0, 0, count()"
    f" FROM orderbook_depth WHERE {_BOOKS_WITHIN} GROUP BY symbol, base, quote"
    " UNION ALL"
    f" SELECT symbol, base, quote, arrayMax(p -> {_places('p')}, arrayPushBack(prices, 0.)),"
    f" arrayMax(q -> {_places('q')}, arrayPushBack(quantities, 0.)), 0, 0"
    f" FROM (SELECT * FROM orderbook_depth WHERE {_BOOKS_WITHIN} LIMIT 20 BY symbol, side)"
    ") GROUP BY symbol ORDER BY sum(trades) + sum(books) DESC, symbol"
)

_TRADE_COLUMNS = (
    "replaceAll(toString(trade_id), '-', ''), symbol, toUnixTimestamp64Micro(event_time_us),"
    " toUnixTimestamp64Micro(received_at), toString(price), toString(base_amount), side = 'buy',"
    " native_id"
)
# Twins differ in the time of receipt.
_TRADE_ORDER = "event_time_us, native_sequence, received_at, trade_id"

# The trades of a period, as the exchange made them.
TRADES = f"SELECT {_TRADE_COLUMNS} FROM trades WHERE {_TRADES_WITHIN} ORDER BY {_TRADE_ORDER}"

# The newest trades of each market in a period, newest first; `count` of each.
NEWEST_TRADES = (
    f"SELECT {_TRADE_COLUMNS} FROM trades WHERE {_TRADES_WITHIN}"
    f" ORDER BY {', '.join(f'{each} DESC' for each in _TRADE_ORDER.split(', '))}"
    " LIMIT {count:UInt32} BY symbol"
)

_BOOK_COLUMNS = (
    "symbol, side = 'bid', toUnixTimestamp64Micro(received_at),"
    " toUnixTimestamp64Micro(event_time), sequence, prices, quantities"
)

# The snapshots of a period, as they arrived.
BOOKS = (
    f"SELECT {_BOOK_COLUMNS} FROM orderbook_depth FINAL WHERE {_BOOKS_WITHIN}"
    " ORDER BY received_at, symbol, side"
)


def _one_of_each(choice: str) -> str:
    return (
        f"SELECT {_BOOK_COLUMNS} FROM orderbook_depth FINAL WHERE {_BOOKS_WITHIN}"
        f" AND (symbol, side, received_at) IN (SELECT symbol, side, {choice}(received_at)"
        f" FROM orderbook_depth WHERE {_BOOKS_WITHIN} GROUP BY symbol, side)"
        " ORDER BY received_at, symbol, side"
    )


# The newest and the first snapshot of each side of each book in a period.
NEWEST_BOOKS = _one_of_each("max")
FIRST_BOOKS = _one_of_each("min")

# Connections with frames in a period: kind, first place, first and last time of receipt, frames.
CONNECTIONS = (
    "SELECT connection, any(record_kind), min(place), toUnixTimestamp64Micro(min(received_at)),"
    " toUnixTimestamp64Micro(max(received_at)), count() FROM frames"
    f" WHERE source = {{exchange:String}} AND received_at < {_time('end')} AND connection IN ("
    f"SELECT connection FROM frames WHERE source = {{exchange:String}}"
    f" AND received_at >= {_time('begin')} AND received_at < {_time('end')})"
    " GROUP BY connection ORDER BY min(received_at)"
)

# The frames of some connections (a JSON list), part by part, as they arrived.
FRAMES = (
    "SELECT connection, place, part, parts, what, fetch_symbol, fetch_tag, path,"
    " toUnixTimestamp64Micro(received_at), base64Encode(frame) FROM frames"
    " WHERE source = {exchange:String} AND has(JSONExtract({connections:String}, 'Array(String)'),"
    " connection)"
    f" AND received_at >= {_time('begin')} AND received_at < {_time('end')}"
    " ORDER BY received_at_ns, connection, place, part LIMIT 1 BY connection, place, part"
)

# The chains of book updates in a period: market, name, and when the last one arrived.
CHAINS = (
    "SELECT symbol, chain, toUnixTimestamp64Micro(max(received_at)), count() FROM book_updates"
    f" WHERE {_BOOKS_WITHIN} GROUP BY symbol, chain"
)

# The updates of books of a period, as they arrived.
UPDATES = (
    "SELECT symbol, chain, place, is_snapshot, toUnixTimestamp64Micro(received_at),"
    " toUnixTimestamp64Micro(event_time), sequence, bid_prices, bid_quantities, ask_prices,"
    f" ask_quantities FROM book_updates FINAL WHERE {_BOOKS_WITHIN}"
    " ORDER BY received_at, symbol, chain, place"
)
