"""Queries of files for other programs: one market and UTC day, in the order of receipt.

The placeholders are `source`, `symbol` and `day`. Queries of book updates also take `pieces`: a
JSON list of chain, first and last place; other updates are left out.
"""

_MARKET = "source = {source:String} AND symbol = {symbol:String}"
_BEGIN = "toDateTime64({day:Date}, 6, 'UTC')"
_RECEIVED = (
    f"{_MARKET} AND received_at >= {_BEGIN}"
    " AND received_at < toDateTime64({day:Date} + 1, 6, 'UTC')"
)
_NO_TIME = "toDateTime64(0, 6, 'UTC')"


def _day(relation: str) -> str:
    """Return the SQL of the day's rows. Their time of receipt never goes back, as tools expect."""
    return (
        "(SELECT * REPLACE (received_at + toIntervalMicrosecond(set_back_us) AS received_at)"
        f" FROM (SELECT * FROM {relation} WHERE {_RECEIVED}))"
    )


_DAY_TRADES = _day("trades") + " AS trades"
_DAY_BOOKS = _day("orderbook_depth FINAL")
_DAY_UPDATES = _day("book_updates FINAL")


def _text(number: str) -> str:
    """Return the SQL of the shortest decimal text of a double, without an exponent."""
    decimal = f"toDecimal256OrNull(toString({number}), 40)"
    return (
        f"if(position(toString({number}), 'e') = 0, toString({number}),"
        f" if(toFloat64({decimal}) = {number}, assumeNotNull(toString({decimal})),"
        f" toString({number})))"
    )


def _field(text: str) -> str:
    """Return the SQL of a text as a field of CSV."""
    return (
        f"if(match({text}, '[,\"\\\\r\\\\n]'),"
        f" concat('\"', replaceAll({text}, '\"', '\"\"'), '\"'), toString({text}))"
    )


def _micro(time: str) -> str:
    return f"toUnixTimestamp64Micro({time})"


def _exchange_us(time: str) -> str:
    """Return the SQL of the exchange's time, or of the receipt where the exchange sends none."""
    return f"{_micro(f'if({time} > {_NO_TIME}, {time}, received_at)')}"


def _line(*fields: str) -> str:
    return "concat(" + ", ',', ".join(f"toString({each})" for each in fields) + ")"


_WHOSE = (_field("source"), _field("symbol"))

# Of the file's lines: their count, first and last time of receipt.
_FACTS = (
    "count(), toUnixTimestamp64Micro(min(received_at)), toUnixTimestamp64Micro(max(received_at))"
)

_TRADES = f"FROM {_DAY_TRADES}"
TARDIS_TRADES = (
    "SELECT "
    + _line(
        *_WHOSE,
        _exchange_us("event_time_us"),
        _micro("received_at"),
        _field("native_id"),
        "side",
        "price",
        "base_amount",
    )
    + f" {_TRADES} ORDER BY received_at, event_time_us, native_sequence, trade_id"
)
TARDIS_TRADES_FACTS = f"SELECT {_FACTS} {_TRADES}"

# Both sides of the book at the times of receipt of either: each as it was last received that day.
_BOOKS = (
    "SELECT received_at, any(event_time) AS event_time,"
    " countIf(side = 'bid') > 0 AS has_bids, countIf(side = 'ask') > 0 AS has_asks,"
    " anyIf((prices, quantities), side = 'bid') AS bids,"
    " anyIf((prices, quantities), side = 'ask') AS asks FROM"
    " (SELECT received_at, event_time, side,"
    f" arrayMap(x -> {_text('x')}, arraySlice(prices, 1, {{levels:UInt16}})) AS prices,"
    f" arrayMap(x -> {_text('x')}, arraySlice(quantities, 1, {{levels:UInt16}})) AS quantities"
    f" FROM {_DAY_BOOKS}) GROUP BY received_at"
)
TARDIS_BOOKS = (
    "SELECT "
    + _line(
        _field("{source:String}"),
        _field("{symbol:String}"),
        _exchange_us("event_time"),
        _micro("received_at"),
        "arrayStringConcat(arrayMap(i -> concat(last_asks.1[i], ',', last_asks.2[i], ',',"
        " last_bids.1[i], ',', last_bids.2[i]), range(1, {levels:UInt16} + 1)), ',')",
    )
    + " FROM (SELECT received_at, event_time,"
    " argMaxIf(bids, received_at, has_bids) OVER until_then AS last_bids,"
    " argMaxIf(asks, received_at, has_asks) OVER until_then AS last_asks"
    f" FROM ({_BOOKS}) WINDOW until_then AS (ORDER BY received_at"
    " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) ORDER BY received_at"
)
TARDIS_BOOKS_FACTS = f"SELECT {_FACTS} FROM (SELECT DISTINCT received_at FROM {_DAY_BOOKS})"

# The parts of the day's chains without a hole, and the whole books in each: time and place.
RUNS = (
    "SELECT chain, min(place), max(place), toUnixTimestamp64Micro(min(received_at)),"
    " toUnixTimestamp64Micro(max(received_at)),"
    " arraySort(groupArrayIf((toUnixTimestamp64Micro(received_at), place), is_snapshot)) FROM"
    " (SELECT chain, place, received_at, is_snapshot,"
    " toInt64(place) - toInt64(row_number() OVER (PARTITION BY chain ORDER BY place)) AS run"
    f" FROM {_DAY_UPDATES}) GROUP BY chain, run ORDER BY 4, chain, 2"
)
# The newest update before the day, and whether the book of then can be rebuilt.
BEFORE = (
    "SELECT chain, place, (SELECT any(is_complete) FROM"
    " book_at(exchange = {source:String}, symbol = {symbol:String},"
    f" at = {_BEGIN} - toIntervalMicrosecond(1)))"
    f" FROM book_updates WHERE {_MARKET} AND received_at < {_BEGIN}"
    " ORDER BY received_at DESC, place DESC LIMIT 1"
)


def _updates(*, carried: bool) -> str:
    """Return the query of book updates of the chosen pieces.

    Args:
        carried: Begin with the whole book of midnight, rebuilt from the updates before.
    """
    columns = (
        "received_at, event_time, sequence, chain, place, is_snapshot,"
        " bid_prices, bid_quantities, ask_prices, ask_quantities"
    )
    chosen = (
        f"SELECT {columns} FROM {_DAY_UPDATES} WHERE arrayExists(piece ->"
        " piece.1 = chain AND place BETWEEN piece.2 AND piece.3,"
        " JSONExtract({pieces:String}, 'Array(Tuple(String, UInt64, UInt64))'))"
    )
    if not carried:
        return chosen
    sides = ", ".join(
        f"arrayMap(level -> level.{n}, arraySort(level -> {sign}level.1,"
        f" groupArrayIf((price, quantity), side = '{side}')))"
        for side, sign in (("bid", "-"), ("ask", ""))
        for n in (1, 2)
    )
    return (
        f"{chosen} UNION ALL SELECT {_BEGIN}, {_NO_TIME}, 0, '', 0, true, {sides}"
        " FROM book_at(exchange = {source:String}, symbol = {symbol:String},"
        f" at = {_BEGIN} - toIntervalMicrosecond(1))"
    )


def tardis_updates(*, carried: bool) -> str:
    """Return the query of the lines of `incremental_book_L2`; see `_updates`."""
    line = _line(
        _field("{source:String}"),
        _field("{symbol:String}"),
        _exchange_us("event_time"),
        _micro("received_at"),
        "if(is_snapshot, 'true', 'false')",
        "level.1",
        _text("level.2"),
        _text("level.3"),
    )
    return f"SELECT {line} FROM ({_levels(carried=carried)}) ORDER BY received_at, chain, place, n"


def tardis_updates_facts(*, carried: bool) -> str:
    """Return the query of their count, first and last time; see `_updates`."""
    return f"SELECT {_FACTS} FROM ({_levels(carried=carried)})"


def _levels(*, carried: bool) -> str:
    levels = ", ".join(
        f"arrayMap((price, quantity) -> ('{side}', price, quantity),"
        f" {side}_prices, {side}_quantities)"
        for side in ("bid", "ask")
    )
    return (
        "SELECT received_at, event_time, chain, place, is_snapshot, level, n FROM"
        " (SELECT received_at, event_time, chain, place, is_snapshot,"
        f" arrayConcat({levels}) AS levels FROM ({_updates(carried=carried)}))"
        " ARRAY JOIN levels AS level, arrayEnumerate(levels) AS n"
    )


# Flags of hftbacktest: the kind of an event, and the side of the taker or of the book.
_TRADE, _DEPTH, _CLEAR, _SNAPSHOT = 2, 1, 3, 4
_BUY, _SELL = 1 << 29, 1 << 28
# Reads numbers as the nearest double.
PRECISE = {"precise_float_parsing": "1"}


def hftbacktest(*, carried: bool | None) -> str:
    """Return the query of the events of hftbacktest, as the bytes of its rows in RowBinary.

    They have no flags for exchange and receiver yet. Events of the same time keep an order: a trade
    comes before the change of the book that it causes.

    Args:
        carried: See `_updates`. None: the book is that of the snapshots.
    """
    trades = (
        f"SELECT received_at, {_exchange_us('event_time_us')} AS exchange_us, 0 AS kind,"
        " '' AS chain, native_sequence AS place,"
        f" [(toUInt64({_TRADE} + if(side = 'buy', {_BUY}, {_SELL})),"
        " toFloat64(toString(price)), toFloat64(toString(base_amount)))] AS events"
        f" FROM {_DAY_TRADES}"
    )
    if carried is None:
        side = f"if(side = 'bid', {_BUY}, {_SELL})"
        book = (
            f"SELECT received_at, {_exchange_us('event_time')}, 1, '', toUInt64(side),"
            f" arrayConcat([(toUInt64({_CLEAR} + {side}), nan, 0.)],"
            f" arrayMap((p, q) -> (toUInt64({_SNAPSHOT} + {side}), p, q), prices, quantities))"
            f" FROM {_DAY_BOOKS}"
        )
    else:
        kind = f"toUInt64(if(is_snapshot, {_SNAPSHOT}, {_DEPTH}) + "
        cleared = ", ".join(f"(toUInt64({_CLEAR + side}), nan, 0.)" for side in (_BUY, _SELL))
        levels = ", ".join(
            f"arrayMap((p, q) -> ({kind}{side}), p, q), {name}_prices, {name}_quantities)"
            for name, side in (("bid", _BUY), ("ask", _SELL))
        )
        book = (
            f"SELECT received_at, {_exchange_us('event_time')}, 1, chain, place,"
            f" arrayConcat(if(is_snapshot, [{cleared}], []), {levels})"
            f" FROM ({_updates(carried=carried)})"
        )
    return (
        "SELECT event.1, toInt64(exchange_us * 1000),"
        " toInt64(toUnixTimestamp64Micro(received_at) * 1000), event.2, event.3,"
        " toUInt64(0), toInt64(0), toFloat64(0) FROM"
        " (SELECT received_at, exchange_us, arrayJoin(events) AS event FROM"
        f" (SELECT * FROM ({trades} UNION ALL {book})"
        " ORDER BY received_at, kind, chain, place, exchange_us))"
    )


def _places(number: str) -> str:
    """Return the SQL of the count of decimal places of a text."""
    return f"if(position({number}, '.') = 0, 0, length({number}) - position({number}, '.'))"


def places(*, carried: bool | None) -> str:
    """Return the query of the decimal places of prices and amounts, and of the greatest ones.

    Args:
        carried: See `hftbacktest`.
    """
    trades = (
        f"SELECT [toString(price)] AS prices, [toString(base_amount)] AS amounts FROM {_DAY_TRADES}"
    )
    if carried is None:
        book = f"SELECT prices, quantities FROM {_DAY_BOOKS}"
    else:
        book = (
            "SELECT arrayConcat(bid_prices, ask_prices) AS prices,"
            f" arrayConcat(bid_quantities, ask_quantities) AS quantities"
            f" FROM ({_updates(carried=carried)})"
        )
    return (
        f"SELECT max(arrayMax(x -> {_places('x')}, prices)),"
        f" max(arrayMax(x -> {_places('x')}, amounts)),"
        " max(arrayMax(x -> toFloat64(x), prices)), max(arrayMax(x -> toFloat64(x), amounts)) FROM"
        f" ({trades} UNION ALL SELECT arrayMap(x -> {_text('x')}, prices),"
        f" arrayMap(x -> {_text('x')}, quantities) FROM ({book}))"
    )


# Enumerations of nautilus_trader: actions and sides of changes of a book, and flags of records.
_ADD, _UPDATE, _DELETE, _CLEAR_ALL = 1, 2, 3, 4
_BUYER, _SELLER = 1, 2
_IS_LAST, _IS_SNAPSHOT = 128, 32
# Longer IDs of trades do not fit.
_ID_CHARACTERS = 36
# Arrow as nautilus_trader's schemas have it.
ARROW = {
    "output_format_arrow_fixed_string_as_fixed_byte_array": "1",
    "output_format_arrow_string_as_string": "1",
    "output_format_arrow_low_cardinality_as_dictionary": "0",
    "output_format_arrow_compression_method": "none",
}


def _fixed(number: str) -> str:
    """Return the SQL of a decimal text times 10 to the 16th, as an integer of 16 bytes."""
    return f"reinterpretAsFixedString(toDecimal128({number}, 16))"


NAUTILUS_TRADES = (
    f"SELECT {_fixed('toString(price)')} AS price, {_fixed('toString(base_amount)')} AS size,"
    f" toUInt8(if(side = 'buy', {_BUYER}, {_SELLER})) AS aggressor_side,"
    f" if(native_id != '' AND length(native_id) <= {_ID_CHARACTERS}, native_id,"
    " toString(trades.trade_id)) AS trade_id,"
    f" toUInt64({_exchange_us('event_time_us')} * 1000) AS ts_event,"
    f" toUInt64({_micro('received_at')} * 1000) AS ts_init"
    f" {_TRADES} ORDER BY received_at, event_time_us, native_sequence, trades.trade_id"
)


def nautilus_deltas(*, carried: bool | None) -> str:
    """Return the query of changes of the book.

    A file begins with a cleared book. Each snapshot of a side becomes its difference from the one
    before; each whole book of updates clears both sides.

    Args:
        carried: See `hftbacktest`.
    """
    if carried is None:
        order = f"if(side = 'bid', {_BUYER}, {_SELLER})"
        changes = (
            "SELECT received_at, event_time, sequence, toUInt64(side) AS place, '' AS chain,"
            f" arrayConcat(if(number = 1, [(toUInt8({_CLEAR_ALL}), toUInt8(0), 0., 0., 0)], []),"
            f" arrayMap(p -> (toUInt8({_DELETE}), toUInt8({order}), p, 0., 0),"
            " arrayFilter(p -> NOT has(prices, p), old_prices)),"
            f" arrayMap((p, q) -> (toUInt8(if(has(old_prices, p), {_UPDATE}, {_ADD})),"
            f" toUInt8({order}), p, q, 0), arrayFilter((p, q) -> NOT has(old, (p, q)),"
            " prices, quantities),"
            " arrayFilter((q, p) -> NOT has(old, (p, q)), quantities, prices))) AS changes FROM"
            " (SELECT *, arrayZip(old_prices, old_quantities) AS old FROM"
            " (SELECT received_at, event_time, sequence, side, prices, quantities,"
            " row_number() OVER (ORDER BY received_at, side) AS number,"
            " lagInFrame(prices) OVER before AS old_prices,"
            " lagInFrame(quantities) OVER before AS old_quantities"
            f" FROM {_DAY_BOOKS} WINDOW before AS (PARTITION BY side"
            " ORDER BY received_at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)))"
        )
    else:
        action = f"if(is_snapshot, {_ADD}, if(q = 0, {_DELETE}, {_UPDATE}))"
        snapshot = f"if(is_snapshot, {_IS_SNAPSHOT}, 0)"
        levels = ", ".join(
            f"arrayMap((p, q) -> (toUInt8({action}), toUInt8({order}), p, q, {snapshot}),"
            f" {side}_prices, {side}_quantities)"
            for side, order in (("bid", _BUYER), ("ask", _SELLER))
        )
        changes = (
            "SELECT received_at, event_time, sequence, place, chain, arrayConcat(if(is_snapshot,"
            f" [(toUInt8({_CLEAR_ALL}), toUInt8(0), 0., 0., {_IS_SNAPSHOT})], []), {levels})"
            f" AS changes FROM ({_updates(carried=carried)})"
        )
    # Changes of one time belong together; the last of them completes the state of the book.
    return (
        "SELECT change.1 AS action, change.2 AS side,"
        f" {_fixed(_text('change.3'))} AS price, {_fixed(_text('change.4'))} AS size,"
        " toUInt64(0) AS order_id,"
        f" toUInt8(change.5 + if(n = length(changes), {_IS_LAST}, 0)) AS flags,"
        f" sequence, toUInt64({_exchange_us('event_time')} * 1000) AS ts_event,"
        f" toUInt64({_micro('received_at')} * 1000) AS ts_init FROM"
        " (SELECT received_at, max(event_time) AS event_time, max(sequence) AS sequence,"
        " arrayFlatten(arrayMap(x -> x.3, arraySort(x -> (x.1, x.2),"
        " groupArray((chain, place, changes))))) AS changes"
        f" FROM ({changes}) GROUP BY received_at ORDER BY received_at)"
        " ARRAY JOIN changes AS change, arrayEnumerate(changes) AS n"
    )


CURRENCIES = (
    "SELECT base, quote FROM ("
    + " UNION ALL ".join(
        f"(SELECT base, quote FROM {table} WHERE {_MARKET} LIMIT 1)"
        for table in ("trades_master", "orderbook_depth", "book_updates")
    )
    + ") LIMIT 1"
)
