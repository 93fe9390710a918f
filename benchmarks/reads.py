"""Reads: what people and pages ask, on tables as large as they get."""

import statistics
import sys
import time

from benchmarks import machine, stack
from benchmarks.cpu import cpu_seconds
from benchmarks.generated import insert_trades
from benchmarks.options import Options
from benchmarks.results import Section, Table
from radar.store.client import Store

NAME = "reads"
TEXT = """
Made-up trades of 60 markets over sixty days, read through the view `trades`, which shows every
trade once (FINAL). The table is as the inserts left it: merges go on in the background.
"""
ROWS = 20_000_000
SNAPSHOTS = 200_000
QUERIES = {
    "newest 10 trades of a market": """
        SELECT event_time, side, price, base_amount FROM trades
        WHERE source = 'wallex' AND symbol = 'M1TMN' AND event_time > now() - 86400
        ORDER BY event_time DESC LIMIT 10""",
    "newest 10 trades of all": """
        SELECT event_time, symbol, side, price, base_amount FROM trades
        WHERE event_time > now() - 3600 ORDER BY event_time DESC LIMIT 10""",
    "one-minute candles of a market, one day": """
        SELECT toStartOfMinute(event_time) AS minute, argMin(price, event_time),
            max(price), min(price), argMax(price, event_time), sum(base_amount)
        FROM trades WHERE symbol = 'M1TMN' AND event_time > now() - 86400
        GROUP BY minute ORDER BY minute""",
    "one-minute candles of a market, everything": """
        SELECT toStartOfMinute(event_time) AS minute, argMin(price, event_time),
            max(price), min(price), argMax(price, event_time), sum(base_amount)
        FROM trades WHERE symbol = 'M1TMN' GROUP BY minute ORDER BY minute""",
    "volume of every market, one day": """
        SELECT symbol, count(), sum(quote_amount) FROM trades
        WHERE event_time > now() - 86400 GROUP BY symbol""",
    "count of all trades": "SELECT count() FROM trades",
    "order book of every market": "SELECT symbol, best_bid, best_ask FROM order_book",
}


def run(options: Options) -> Section:
    """Measure; takes about a minute, most of it to fill the tables."""
    described = machine.describe("embedded")
    rows = options.scaled(ROWS)
    wall_s: dict[str, list[float]] = {name: [] for name in QUERIES}
    cpu_s: dict[str, list[float]] = {name: [] for name in QUERIES}
    with stack.database(options.folder, f"{stack.HOST}:9092") as database:
        sys.stderr.write(f"reads, making {rows:,} trades\n")
        insert_trades(database.store, rows)
        _insert_snapshots(database.store, options.scaled(SNAPSHOTS))
        ((parts,),) = database.store.rows(
            "SELECT count() FROM system.parts WHERE active AND table = 'trades_master'"
        )
        for _ in range(options.rounds):
            for name, sql in QUERIES.items():
                cpu_before_s, began_s = cpu_seconds(database.process.pid), time.perf_counter()
                database.store.rows(sql)
                wall_s[name].append(time.perf_counter() - began_s)
                cpu_s[name].append(cpu_seconds(database.process.pid) - cpu_before_s)
    table = [
        [
            name,
            f"{statistics.median(wall_s[name]) * 1000:,.0f}",
            f"{min(wall_s[name]) * 1000:,.0f}",
            f"{statistics.median(cpu_s[name]) * 1000:,.0f}",
        ]
        for name in QUERIES
    ]
    caption = f"**{rows:,} trades in {parts} parts, {options.scaled(SNAPSHOTS):,} snapshots**"
    return Section(
        name=NAME,
        title="Reads",
        text=TEXT,
        tables=[Table(["", "median ms", "least ms", "CPU ms"], table, caption)],
        machine=described,
    )


def _insert_snapshots(store: Store, count: int) -> None:
    store.command(
        "INSERT INTO orderbook_depth (source, symbol, base, quote, side, received_at, prices,"
        " quantities, kafka_partition, kafka_offset) SELECT 'wallex',"
        " concat('M', toString(number % 60), 'TMN'), concat('M', toString(number % 60)), 'TMN',"
        " if(intDiv(number, 60) % 2, 'bid', 'ask'),"
        f" addMilliseconds(toDateTime64(now(), 6, 'UTC'), (toInt64(number) - {count}) * 10),"
        " arrayMap(level -> 1000 + level, range(50)), arrayMap(level -> 1 + level, range(50)),"
        f" number % 3, number FROM numbers({count})"
    )
