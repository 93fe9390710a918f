"""hftbacktest and nautilus_trader read exported files of a recorded period, each in its own way."""

import json
import os
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from installed import locked_python, run
from ports import free_port

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "tools"
LOCKED = ROOT / "requirements-tools.txt"
ENVIRONMENT = ROOT / ".venv-tools"
SECONDS = 40
RADAR = (sys.executable, "-m", "radar")

# Of one market: the newest prices of both sides and the count of trades. Books are snapshots.
SNAPSHOTS = """
SELECT source, symbol,
    argMaxIf(prices[1], received_at, side = 'bid'), argMaxIf(prices[1], received_at, side = 'ask')
FROM orderbook_depth FINAL GROUP BY source, symbol ORDER BY source, symbol
"""
TRADES = """
SELECT source, symbol, count(),
    argMax(toString(price), (received_at, event_time_us, native_sequence, trade_id))
FROM trades GROUP BY source, symbol
"""
REBUILT = """
SELECT maxIf(price, side = 'bid'), minIf(price, side = 'ask')
FROM book_at(exchange = '{}', symbol = '{}', at = now() + 3600)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.embedded_kafka("about exported files"),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def tools() -> Path:
    """Provide the Python that has both programs; it installs them once for each lock."""
    return locked_python(ENVIRONMENT, LOCKED)


class Recorded:
    """A recorded period of simulated exchanges, at rest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "RADAR_DATA_DIR": str(folder / "data"),
            "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
            "CLICKHOUSE_PORT": str(free_port()),
            "DASHBOARD_PORT": str(free_port()),
            "EXCHANGES": "wallex,kraken",
            "BOOK_UPDATES": "1",
            "DEPTH_INTERVAL_SECONDS": "0.5",
        }

    def radar(self, *arguments: object) -> str:
        return run(*RADAR, *arguments, folder=self.folder, environment=self._environment)

    def rows(self, sql: str) -> list[list[Any]]:
        answer = self.radar("query", "-f", "JSONCompactEachRow", sql)
        return [json.loads(line) for line in answer.splitlines()]

    def export(self, output_format: str) -> dict[str, dict[str, Any]]:
        """Export to the folder `files`; return the entries of the manifest."""
        self.radar("export", "--format", output_format, "--to", self.folder / "files")
        manifest = json.loads((self.folder / "files" / output_format / "manifest.json").read_text())
        assert manifest["format_version"] == 1
        entries: dict[str, dict[str, Any]] = manifest["files"]
        return entries


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Record snapshots of one exchange, and updates of the other."""
    recorded = Recorded(tmp_path_factory.mktemp("recorded"))
    summary = recorded.radar(
        *("up", "--simulate", "--duration", SECONDS, "--markets", 3),
        *("--trades-per-second", 20, "--depth-per-second", 30),
    )
    assert "everything that was produced is stored" in summary
    return recorded


@pytest.fixture(scope="module")
def books(recorded: Recorded) -> dict[tuple[str, str], tuple[float, float, str]]:
    """Return the newest best prices of each market, and the dataset of its book."""
    found = {
        (source, symbol): (float(bid), float(ask), "depth")
        for source, symbol, bid, ask in recorded.rows(SNAPSHOTS)
    }
    for source, symbol in recorded.rows("SELECT DISTINCT source, symbol FROM book_updates"):
        ((bid, ask),) = recorded.rows(REBUILT.format(source, symbol))
        # The updates end when the snapshots do.
        assert (bid, ask) == found[source, symbol][:2]
        found[source, symbol] = float(bid), float(ask), "book_updates"
    assert {dataset for *_, dataset in found.values()} == {"depth", "book_updates"}
    return found


@pytest.fixture(scope="module")
def trades(recorded: Recorded) -> dict[tuple[str, str], tuple[int, str]]:
    """Return the count of trades of each market, and the newest price."""
    return {
        (source, symbol): (int(count), price)
        for source, symbol, count, price in recorded.rows(TRADES)
    }


def test_hftbacktest_sees_the_recorded_book_and_trades(
    tools: Path,
    recorded: Recorded,
    books: dict[tuple[str, str], tuple[float, float, str]],
    trades: dict[tuple[str, str], tuple[int, str]],
) -> None:
    entries = recorded.export("hftbacktest")
    assert len(entries) == len(books)
    words: list[object] = []
    for name, entry in entries.items():
        words += [recorded.folder / "files" / "hftbacktest" / name]
        words += [entry["tick_size"], entry["lot_size"]]
    program = PROGRAMS / "run_hftbacktest.py"
    found = json.loads(run(tools, program, *words, folder=recorded.folder).splitlines()[-1])
    for facts, entry in zip(found, entries.values(), strict=True):
        market = entry["exchange"], entry["symbol"]
        bid, ask, dataset = books[market]
        tick = float(entry["tick_size"])
        assert entry["book"] == dataset
        assert facts["trades"] == facts["seen_trades"] == entry["trades"] == trades[market][0]
        # hftbacktest computes prices from ticks, in doubles.
        assert facts["best_bid"] == pytest.approx(bid, abs=tick / 4), (market, facts)
        assert facts["best_ask"] == pytest.approx(ask, abs=tick / 4), (market, facts)
        assert facts["steps"] > 10


def test_nautilus_sees_the_recorded_book_and_trades(
    tools: Path,
    recorded: Recorded,
    books: dict[tuple[str, str], tuple[float, float, str]],
    trades: dict[tuple[str, str], tuple[int, str]],
) -> None:
    entries = recorded.export("nautilus")
    rows = {
        (each["exchange"], each["symbol"], each["kind"]): each["rows"] for each in entries.values()
    }
    program = PROGRAMS / "run_nautilus.py"
    folder = recorded.folder / "files" / "nautilus"
    found = json.loads(run(tools, program, folder, folder=recorded.folder).splitlines()[-1])
    assert len(found) == len(books)
    for (source, symbol), (bid, ask, _dataset) in books.items():
        facts = found[f"{symbol}.{source.upper()}"]
        count, price = trades[source, symbol]
        assert facts["trades"] == rows[source, symbol, "trade_tick"] == count
        assert facts["deltas"] == rows[source, symbol, "order_book_delta"]
        assert Decimal(facts["last_price"]) == Decimal(price)
        assert float(facts["best_bid"]) == bid
        assert float(facts["best_ask"]) == ask
        assert min(facts["levels"]) > 1


def test_both_programs_read_files_of_tardis(
    tools: Path,
    recorded: Recorded,
    books: dict[tuple[str, str], tuple[float, float, str]],
) -> None:
    entries = recorded.export("tardis")
    events = recorded.export("hftbacktest")
    _exchange, symbol = next(market for market in books if market[0] == "kraken")
    name, entry = next(each for each in events.items() if each[1]["symbol"] == symbol)
    files = recorded.folder / "files"
    words = (files / "tardis", "kraken", files / "hftbacktest" / name, quote(symbol, safe=""))
    program = PROGRAMS / "run_tardis.py"
    found = json.loads(run(tools, program, *words, folder=recorded.folder).splitlines()[-1])
    kraken = {
        name: entry["rows"] for name, entry in entries.items() if entry["exchange"] == "kraken"
    }
    assert len({entries[name]["kind"] for name in kraken}) == 4
    assert found["counts"] == kraken
    # hftbacktest's own converter of these files makes the same events.
    assert found["converted"] == entry["rows"]
    assert found["same"]


@pytest.mark.parametrize("output_format", ["hftbacktest", "nautilus"])
def test_documented_programs_run(tools: Path, recorded: Recorded, output_format: str) -> None:
    page = (ROOT / "docs" / "exports.md").read_text()
    (program,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        if f"from {output_format}" in block
    )
    entries = recorded.export(output_format)
    day = next(entry["day"] for entry in entries.values() if "day" in entry)
    program = program.replace("2026-11-01", day).replace('"export/', '"files/')
    run(tools, "-c", program, folder=recorded.folder)
