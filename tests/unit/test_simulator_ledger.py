"""The ledger: what was sent, what may have arrived, and the same read back from its file."""

from pathlib import Path

import pytest

from radar_simulator.errors import InvalidLedger
from radar_simulator.ledger import Ledger, read_ledger
from radar_simulator.market import MarketModel

NOW_S = 1_790_000_000.0


def _model() -> MarketModel:
    return MarketModel(seed=1, symbols=2, trades_per_s=0, depth_per_s=0, twin_share=0.5)


def test_ledger_file_gives_back_what_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.ndjson"
    trades = list(_model().trade(NOW_S, 5))
    with Ledger(path, memory_trades=100) as ledger:
        ledger.start(seed=1)
        entries = [ledger.trade(trade) for trade in trades]
        for entry in entries[:3]:
            ledger.handed(entry)
        ledger.handed(entries[0])
        ledger.settle(entries)
        ledger.uncertain(entries[0])
        ledger.uncertain(entries[1])
        for trade in trades[2:4]:
            ledger.served(trade, "rest")
            ledger.served(trade, "rest")
        ledger.served(trades[4], "resend")
        held = ledger.trades()
        summary = ledger.summary()
    assert read_ledger(path) == held == entries
    assert [entry.sent for entry in held] == [True, False, True, False, False]
    assert [entry.possible for entry in held] == [True] * 5
    assert (summary.trades_generated, summary.trades_sent, summary.trades_unsent) == (5, 2, 3)
    assert summary.trades_uncertain == 2
    assert (summary.trades_served_rest, summary.trades_served_resend) == (2, 1)


def test_ledger_twins_are_those_that_look_alike_within_a_second() -> None:
    model = _model()
    with Ledger(None, memory_trades=10_000) as ledger:
        keys = [ledger.trade(trade).key for trade in model.trade(NOW_S, 400)]
        keys += [ledger.trade(trade).key for trade in model.trade(NOW_S + 1, 400)]
        assert ledger.summary().twins == len(keys) - len(set(keys)) > 100


def test_ledger_memory_full_forgets_the_oldest_and_says_so() -> None:
    with Ledger(None, memory_trades=3) as ledger:
        for trade in _model().trade(NOW_S, 5):
            ledger.trade(trade)
        assert [entry.seq for entry in ledger.trades()] == [3, 4, 5]
        assert ledger.summary().trades_forgotten == 2


def test_read_ledger_cut_off_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    with Ledger(path, memory_trades=10) as ledger:
        ledger.settle([ledger.trade(trade) for trade in _model().trade(NOW_S, 2)])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"type":"trade","seq":3,"sym')
    assert [entry.seq for entry in read_ledger(path)] == [1, 2]


def test_read_ledger_damaged_line_raises(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    path.write_bytes(b'{"type":"trade","seq":"one"}\n{"type":"start"}\n')
    with pytest.raises(InvalidLedger, match="line 1"):
        read_ledger(path)


def test_read_ledger_of_two_runs_keeps_their_numbers_apart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    for uncertain in (False, True):
        with Ledger(path, memory_trades=10) as ledger:
            ledger.start(seed=1)
            (entry,) = [ledger.trade(trade) for trade in _model().trade(NOW_S, 1)]
            ledger.handed(entry)
            ledger.settle([entry])
            if uncertain:
                ledger.uncertain(entry)
    assert [entry.sent for entry in read_ledger(path)] == [True, False]
