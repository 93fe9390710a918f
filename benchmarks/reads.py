"""Reads: what people and pages ask, on tables as large as they get."""

import statistics
import sys
import time

from benchmarks import machine, pages, stack
from benchmarks.cpu import cpu_seconds
from benchmarks.generated import MARKETS, insert_snapshots, insert_trades
from benchmarks.options import Options
from benchmarks.results import Section, Table
from radar.store import sums
from radar.store.client import Store

NAME = "reads"
TEXT = """
The trades are made up: 200 markets over a month, 17 % of them in the busiest, as in the simulated
exchange. Each book has a snapshot every 7 s. The queries use the views, which show every trade
once (FINAL). Past weeks are one part and summed, as they are a day later; the other weeks are as
the inserts left them.
"""
ROWS = 10_000_000
SNAPSHOTS = 400_000
WATCHED = 25  # markets of a connection
FILL_TIMEOUT_S = 3600.0
QUERIES = {
    "newest 10 trades of a market": """
        SELECT event_time, side, price, base_amount FROM trades
        WHERE source = 'wallex' AND symbol = 'M1TMN' AND event_time > now() - 86400
        ORDER BY event_time DESC LIMIT 10""",
    "newest 10 trades of all": """
        SELECT event_time, symbol, side, price, base_amount FROM trades
        WHERE event_time > now() - 3600 ORDER BY event_time DESC LIMIT 10""",
    "one-minute candles of a market, one day": """
        SELECT * FROM candles(interval_s = 60, start = now() - 86400, end = now())
        WHERE symbol = 'M1TMN' ORDER BY open_time""",
    "one-hour candles of a market, twenty days": """
        SELECT * FROM candles(interval_s = 3600, start = now() - 20 * 86400, end = now())
        WHERE symbol = 'M1TMN' ORDER BY open_time""",
    "one-day candles of a market, a month": """
        SELECT * FROM candles(interval_s = 86400, start = now() - 30 * 86400, end = now())
        WHERE symbol = 'M1TMN' ORDER BY open_time""",
    "one-day candles of the busiest market, a month": """
        SELECT * FROM candles(interval_s = 86400, start = now() - 30 * 86400, end = now())
        WHERE symbol = 'M0USDT' ORDER BY open_time""",
    "the same by market_candles": """
        SELECT * FROM market_candles(source = 'wallex', symbol = 'M0USDT', interval_s = 86400,
            start = now() - 30 * 86400, end = now()) ORDER BY open_time""",
    "the same by summed_market_candles": """
        SELECT * FROM summed_market_candles(source = 'wallex', symbol = 'M0USDT',
            interval_s = 86400, start = now() - 30 * 86400, end = now()) ORDER BY open_time""",
    "list of all markets": "SELECT * FROM markets ORDER BY quote_volume_24h DESC",
    "order book of a market an hour ago": """
        SELECT * FROM order_book_at(symbol = 'M1TMN', at = now() - 3600)""",
    "depth of a market within 20 basis points": """
        SELECT * FROM book_depth_at(symbol = 'M1TMN', at = now(), bps = 20)""",
    "spreads of a market by minute, an hour": """
        SELECT * FROM spreads(interval_s = 60, start = now() - 3600, end = now())
        WHERE symbol = 'M1TMN' ORDER BY open_time""",
    "volume of every market, one day": """
        SELECT symbol, count(), sum(quote_amount) FROM trades
        WHERE event_time > now() - 86400 GROUP BY symbol""",
    "count of all trades": "SELECT count() FROM trades",
    "order book of every market": "SELECT symbol, best_bid, best_ask FROM order_book",
}


def _query(sql: str) -> pages.Question:
    return lambda store: store.rows(sql)


QUESTIONS: dict[str, pages.Question] = {
    **{name: _query(sql) for name, sql in QUERIES.items()},
    **pages.QUESTIONS,
}


def run(options: Options) -> Section:
    """Measure; takes about a minute, most of it to fill the tables."""
    described = machine.describe("embedded")
    rows = options.scaled(ROWS)
    wall_s: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    cpu_s: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    with stack.database(options.folder, f"{stack.HOST}:9092") as database:
        sys.stderr.write(f"reads, making {rows:,} trades\n")
        filling = Store(database.settings, timeout_s=FILL_TIMEOUT_S)
        insert_trades(filling, rows)
        insert_snapshots(filling, options.scaled(SNAPSHOTS))
        _insert_watches(filling)
        for (week,) in filling.rows(
            "SELECT DISTINCT partition FROM system.parts WHERE active AND table = 'trades_master'"
            " AND partition < toString(toMonday(now() - 7 * 86400))"
        ):
            filling.command(f"OPTIMIZE TABLE trades_master PARTITION '{week}' FINAL")
        for past in sums.due(filling):
            sums.add(filling, past)
        filling.close()
        ((parts,),) = database.store.rows(
            "SELECT count() FROM system.parts WHERE active AND table = 'trades_master'"
        )
        for _ in range(options.rounds):
            for name, ask in QUESTIONS.items():
                cpu_before_s, began_s = cpu_seconds(database.process.pid), time.perf_counter()
                ask(database.store)
                wall_s[name].append(time.perf_counter() - began_s)
                cpu_s[name].append(cpu_seconds(database.process.pid) - cpu_before_s)
    table = [
        [
            name,
            f"{statistics.median(wall_s[name]) * 1000:,.0f}",
            f"{min(wall_s[name]) * 1000:,.0f}",
            f"{statistics.median(cpu_s[name]) * 1000:,.0f}",
        ]
        for name in QUESTIONS
    ]
    caption = f"**{rows:,} trades in {parts} parts, {options.scaled(SNAPSHOTS):,} snapshots**"
    return Section(
        name=NAME,
        title="Reads",
        text=TEXT,
        tables=[Table(["", "median ms", "least ms", "CPU ms"], table, caption)],
        machine=described,
    )


def _insert_watches(store: Store) -> None:
    """Insert what producers tell in a month, with connections that last 25 minutes."""
    store.command(
        "INSERT INTO watches (source, record_kind, connection, symbols, began_at, ended_at,"
        " end_reason, interval_ms, received_at, kafka_partition, kafka_offset)"
        " SELECT 'wallex', if(number % 2, 'trades', 'depth'), toString(number),"
        " arrayMap(n -> concat('M', toString(n), if(n % 2, 'TMN', 'USDT')),"
        f" range(first, first + {WATCHED})), began_at, addSeconds(began_at, 1505), 'rotated', 0,"
        " addSeconds(began_at, 1505), 0, number FROM (SELECT number,"
        f" (intDiv(number, 2) % {MARKETS // WATCHED}) * {WATCHED} AS first,"
        " addSeconds(toDateTime64(now(), 6, 'UTC') - 30 * 86400,"
        f" intDiv(number, {2 * MARKETS // WATCHED}) * 1500) AS began_at"
        f" FROM numbers({30 * 86400 // 1500 * 2 * MARKETS // WATCHED}))"
    )
