"""The skeleton of an exchange: three files that load, and that say what is still to be written."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from radar import datasets
from radar.records import Market

SCRIPT = Path(__file__).parents[2] / "scripts" / "new_exchange.py"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module


def test_the_skeleton_loads_and_reads_its_own_sample(tmp_path: Path) -> None:
    driver, dialect, sample = load(SCRIPT).write("newcoin", tmp_path)
    exchange = load(tmp_path / driver).EXCHANGE
    assert exchange.name == "newcoin"
    assert load(tmp_path / dialect).Simulated.name == "newcoin"
    found = json.loads((tmp_path / sample).read_text())
    (market,) = exchange.parse_markets(json.dumps(found["markets"]).encode()).markets
    assert market == Market("BTCUSDT", "BTC", "USDT")
    recent = exchange.parse_recent_trades(json.dumps(found["recent"]).encode(), market, 0)
    assert (recent.trades[0].price, recent.invalid) == (found["expected"]["price"], 0)
    stream = exchange.stream(datasets.TRADES, [market], whole_books=True)
    with pytest.raises(NotImplementedError, match="decode the frame"):
        list(stream.receive(b"{}", 0))


def test_the_skeleton_overwrites_nothing_and_takes_plain_names_only(tmp_path: Path) -> None:
    write = load(SCRIPT).write
    write("newcoin", tmp_path)
    with pytest.raises(ValueError, match="exists already"):
        write("newcoin", tmp_path)
    for name in ("", "New", "../x", "a-b", "9coin"):
        with pytest.raises(ValueError, match="is not usable"):
            write(name, tmp_path)
