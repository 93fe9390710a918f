"""Queries of a book's depth over time: columns of time and rows of prices.

A column has a number: its begin since 1970 divided by its length. A row has a number too: its
lowest price divided by the price step. Prices are binary floats, so one that lies less than a
millionth of a step below a row belongs to it.
"""

_OF_MARKET = """source = {source:String} AND symbol = {symbol:String}
    AND received_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
    AND received_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')"""

_COLUMN = "intDiv(toUnixTimestamp64Micro(received_at), {column_us:Int64})"

# The last snapshot of each side in each column. Its time is found first, by columns of the key, so
# the levels of the other snapshots are not read.
_LAST_BOOKS = f"""
    SELECT {_COLUMN} AS column, side, argMax(prices, monotonic_at) AS prices,
        argMax(quantities, monotonic_at) AS quantities
    FROM orderbook_depth
    WHERE {_OF_MARKET} AND (side, received_at) IN
    (
        SELECT side, argMax(received_at, monotonic_at)
        FROM orderbook_depth
        WHERE {_OF_MARKET}
        GROUP BY side, {_COLUMN}
    )
    GROUP BY column, side"""

# The lowest and the highest price of these books; both 0: there are none.
PRICES = f"SELECT min(price), max(price) FROM ({_LAST_BOOKS}) ARRAY JOIN prices AS price"

# These books, the oldest first: the rows of prices that have levels, and the quantity in each.
BOOKS = f"""
SELECT of_side, column, groupArray(price_row), groupArray(quantity)
FROM
(
    SELECT toString(side) AS of_side, column,
        toInt64(floor(round(price / {{price_step:Float64}}, 6))) AS price_row,
        sum(level_quantity) AS quantity
    FROM ({_LAST_BOOKS})
    ARRAY JOIN prices AS price, quantities AS level_quantity
    WHERE price_row >= {{first_row:Int64}} AND price_row <= {{last_row:Int64}}
    GROUP BY side, column, price_row
    ORDER BY side, column, price_row
)
GROUP BY of_side, column
ORDER BY column, of_side
"""

# The columns of each side that have a snapshot, also one without a level in these rows.
COLUMNS = f"""
SELECT DISTINCT toString(side), {_COLUMN} FROM orderbook_depth WHERE {_OF_MARKET}
"""

# The first and the last time of each side's snapshots that follow each other within `hold_us`. The
# snapshots of one `hold_us` do, so only its first and its last are put in order.
RUNS = f"""
SELECT toString(side) AS of_side, min(first_us) AS run_begin_us, max(last_us)
FROM
(
    SELECT side, first_us, last_us, sum(begins) OVER before AS run
    FROM
    (
        SELECT side, first_us, last_us,
            first_us - lagInFrame(last_us, 1, toInt64(0)) OVER before > {{hold_us:Int64}} AS begins
        FROM
        (
            SELECT side, min(toUnixTimestamp64Micro(received_at)) AS first_us,
                max(toUnixTimestamp64Micro(received_at)) AS last_us
            FROM orderbook_depth
            WHERE {_OF_MARKET}
            GROUP BY side, intDiv(toUnixTimestamp64Micro(received_at), {{hold_us:Int64}})
        )
        WINDOW before AS
            (PARTITION BY side ORDER BY first_us ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    WINDOW before AS
        (PARTITION BY side ORDER BY first_us ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
GROUP BY side, run
ORDER BY of_side, run_begin_us
"""

# The newest gaps of the book that touch the time.
GAPS = """
SELECT DISTINCT toUnixTimestamp64Micro(began_at) / 1e6 AS began_s,
    toUnixTimestamp64Micro(ended_at) / 1e6
FROM symbol_gaps
WHERE source = {source:String} AND symbol = {symbol:String} AND record_kind = 'depth'
    AND ended_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
    AND began_at <= fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
ORDER BY began_s DESC LIMIT {gaps:UInt32}
"""
