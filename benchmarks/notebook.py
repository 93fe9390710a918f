"""The notebook of the documentation over tables of a size: how long each answer takes."""

import json
import subprocess
import sys
from typing import NamedTuple

from benchmarks import machine, stack
from benchmarks.options import Options
from benchmarks.results import Section, Table
from radar.store.client import Store

NAME = "notebook"
TEXT = """
The notebook of ten questions, run from its file. The trades are made up: all of the last week,
98 % of them in the market of the questions, whose book has a snapshot every 7 s. Memory is the
most that the notebook's process ever held; pandas, numpy and Arrow take part of it.
"""
ROWS = (10_000_000, 100_000_000)
PATH = stack.ROOT / "docs/notebooks/ten-questions.ipynb"
SPAN_S = 7 * 86400
CHUNK_ROWS = 2_000_000
SNAPSHOT_EVERY_S = 7
FILL_TIMEOUT_S = 3600.0
# The market of the questions, and two for the price of USDT at two exchanges.
MARKETS = (
    ("binance", "BTC", "USDT", 98),
    ("wallex", "USDT", "TMN", 1),
    ("nobitex", "USDT", "IRT", 1),
)

_INSERT = """
INSERT INTO trades_master
(trade_id, source, symbol, base, quote, side, price, base_amount, event_time, received_at,
 kafka_partition, kafka_offset)
SELECT
    reinterpretAsUUID(sipHash128(number, {source:String})), {source:String},
    concat({base:String}, {quote:String}), {base:String}, {quote:String},
    if(chance % 2, 'buy', 'sell'),
    toDecimal128((6000000 + intDiv(number, 1000) % 5000 + chance % 997) / 100, 18),
    toDecimal128((1 + chance % 99991) / 10000, 18),
    at, addMilliseconds(at, 40 + chance % 50), 0, number
FROM
(
    SELECT
        number, cityHash64(number) AS chance,
        addMicroseconds(toDateTime64({begin:UInt32}, 6, 'UTC'),
            toInt64(number * {step_us:Float64})) AS at
    FROM numbers({first:UInt64}, {count:UInt64})
)
"""
_INSERT_SNAPSHOTS = """
INSERT INTO orderbook_depth
(source, symbol, base, quote, side, received_at, prices, quantities, kafka_partition, kafka_offset)
SELECT
    'binance', 'BTCUSDT', 'BTC', 'USDT', if(number % 2, 'bid', 'ask'),
    addSeconds(toDateTime64({begin:UInt32}, 6, 'UTC'), intDiv(number, 2) * {every_s:UInt32}),
    arrayMap(level -> 60000 + if(number % 2, -level, level + 1) / 10, range(50)),
    arrayMap(level -> 0.01 * (1 + level), range(50)), 0, number
FROM numbers({count:UInt64})
"""


class Answer(NamedTuple):
    """What one cell took."""

    seconds: float
    peak_bytes: int
    """Of the notebook's process, up to the end of this cell."""


def run(options: Options) -> Section:
    """Measure; takes some minutes, most of them to fill the tables."""
    described = machine.describe("embedded")
    sizes = [options.scaled(rows) for rows in ROWS]
    answers = {rows: _answers(options, rows) for rows in sizes}
    titles = [title for title, _ in cells()]
    rows = [
        [title, *(f"{answers[size][number].seconds:.1f}" for size in sizes)]
        for number, title in enumerate(titles)
    ]
    peaks = [f"{answers[size][-1].peak_bytes / 2**20:,.0f}" for size in sizes]
    heads = [f"{size:,} trades" for size in sizes]
    return Section(
        name=NAME,
        title="Notebook",
        text=TEXT,
        tables=[
            Table(["seconds", *heads], rows, "**Ten questions**"),
            Table(["", *heads], [["most memory, MiB", *peaks]], "**The notebook's process**"),
        ],
        machine=described,
    )


def cells() -> list[tuple[str, str]]:
    """Return the heading and the code of each cell of the notebook."""
    found, heading = [], "0. Connect"
    for cell in json.loads(PATH.read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found.append((heading, text))
        elif text.startswith("## "):
            heading = text.splitlines()[0].removeprefix("## ")
    return found


def _answers(options: Options, rows: int) -> list[Answer]:
    """Fill new tables and answer every question once in a process of its own."""
    with stack.database(options.folder, f"{stack.HOST}:9092") as database:
        sys.stderr.write(f"notebook, making {rows:,} trades\n")
        filling = Store(database.settings, timeout_s=FILL_TIMEOUT_S)
        _fill(filling, rows)
        filling.close()
        command = [sys.executable, "-m", "benchmarks.notebook_run"]
        ended = subprocess.run(
            command,
            env={"PATH": "", "PYTHONPATH": f"{stack.ROOT / 'src'}:{stack.ROOT}"}
            | stack.environment(database.settings),
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            timeout=FILL_TIMEOUT_S,
        )
    return [Answer(*json.loads(line)) for line in ended.stdout.splitlines()]


def _fill(store: Store, rows: int) -> None:
    ((now,),) = store.rows("SELECT toUnixTimestamp(now())")
    begin = now - SPAN_S
    for source, base, quote, percent in MARKETS:
        wanted = max(1, rows * percent // 100)
        for first in range(0, wanted, CHUNK_ROWS):
            values = {
                "source": source,
                "base": base,
                "quote": quote,
                "begin": begin,
                "step_us": SPAN_S * 1e6 / wanted,
                "first": first,
                "count": min(CHUNK_ROWS, wanted - first),
            }
            store.command(_INSERT, values)
    snapshots = {
        "begin": begin,
        "every_s": SNAPSHOT_EVERY_S,
        "count": 2 * SPAN_S // SNAPSHOT_EVERY_S,
    }
    store.command(_INSERT_SNAPSHOTS, snapshots)
