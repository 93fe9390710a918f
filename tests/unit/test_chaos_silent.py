"""The comparison of silent faults, on ledgers and rows made by hand, and what its report says."""

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import report, silent_verdict
from chaos.silent import draw_silent_faults, draw_silent_setup
from chaos.silent_report import HEADING
from chaos.silent_verdict import FINE_DEADLINE_S, Place, Witnessed, look
from radar_simulator.ledger import Ledger
from radar_simulator.market import MarketModel

BEGAN_S = 1_800_000_000
SYMBOL = "USDTTMN"


class Client:
    """Answers the three queries of `look`."""

    def __init__(self, rows: list[Any], gaps: list[Any], delivery_gaps: list[Any]) -> None:
        self.answers = [rows, gaps, delivery_gaps]

    def query(self, _sql: str) -> SimpleNamespace:
        return SimpleNamespace(result_rows=self.answers.pop(0))

    def close(self) -> None:
        assert not self.answers


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Provide a ledger of one trade a second, for a minute."""
    path = tmp_path / "ledger.ndjson"
    market = MarketModel(
        seed=1,
        symbols=1,
        trades_per_s=0,
        depth_per_s=0,
        twin_share=0,
        recent_trades=100,
        skew=0,
    )
    with Ledger(path, 1000) as ledger:
        ledger.start(at=BEGAN_S)
        for second in range(60):
            ledger.settle([ledger.trade(t) for t in market.trade(BEGAN_S + second, 1, SYMBOL)])
    return path


def seen(
    ledger: Path,
    stored: range,
    *,
    gaps: tuple[tuple[str, float, float], ...] = (),
    delivery_gaps: tuple[tuple[str, int, int, int], ...] = (),
    until_s: float | None = None,
) -> silent_verdict.Look:
    rows = [(SYMBOL, BEGAN_S + n, 1) for n in stored]
    rig: Any = SimpleNamespace(
        began_s=BEGAN_S - 1,
        ledger_path=ledger,
        client=lambda: Client(rows, list(gaps), list(delivery_gaps)),
        witnessed=lambda: [Witnessed(Place("a", 0, n), SYMBOL, BEGAN_S + n) for n in range(60)],
    )
    return look(rig, until_s)


def test_trade_that_is_neither_stored_nor_in_a_gap_is_unrecorded(ledger: Path) -> None:
    found = seen(ledger, range(58))
    assert found.sent == 60
    assert found.unrecorded == [(SYMBOL, BEGAN_S + 58), (SYMBOL, BEGAN_S + 59)]


def test_trade_inside_a_gap_of_its_own_market_is_accounted_for(ledger: Path) -> None:
    own = (SYMBOL, BEGAN_S + 52.0, BEGAN_S + 59.0)
    other = ("BTCTMN", BEGAN_S + 0.0, BEGAN_S + 60.0)
    found = seen(ledger, range(45), gaps=(own, other))
    assert found.in_gaps == 10
    assert [second - BEGAN_S for _, second in found.unrecorded] == [45, 46, 47, 48, 49]


def test_message_inside_a_delivery_gap_of_its_topic_and_partition_is_accounted_for(
    ledger: Path,
) -> None:
    lost = (("a", 0, 50, 54), ("b", 0, 0, 99), ("a", 1, 0, 99))
    found = seen(ledger, range(50), delivery_gaps=lost)
    assert found.in_delivery_gaps == 5
    assert len(found.unrecorded) == 5


def test_trade_that_is_younger_than_the_deadline_may_be_under_way(ledger: Path) -> None:
    now_s = BEGAN_S + 40 + FINE_DEADLINE_S
    assert not seen(ledger, range(41), until_s=now_s).unrecorded
    assert len(seen(ledger, range(40), until_s=now_s).unrecorded) == 1


def test_silent_faults_happen_one_after_the_other_and_all_of_them() -> None:
    setup = draw_silent_setup(3, kafka_nodes=1, scale=1)
    faults = draw_silent_faults(replace(setup, faults=10))
    assert len({fault.name for fault in faults}) == 10
    assert all(a.at_s + a.seconds < b.at_s for a, b in itertools.pairwise(faults))


def test_report_of_silent_runs_keeps_the_other_part_of_the_document(tmp_path: Path) -> None:
    setup = draw_silent_setup(1, kafka_nodes=0, scale=1)
    run = {
        "seed": 1,
        "at": "2026-11-28T10:00:00",
        "family": "silent",
        "cores": 2,
        "setup": asdict(setup),
        "passed": False,
        "again": "",
        "faults": {"view fails": 2},
        "problems": [],
        "verdict": {
            "trades_sent": 1500,
            "trades_unrecorded": 7,
            "trades_unexpected": 0,
            "dead_letters": 0,
            "fine_without_evidence": 0,
        },
    }
    results = tmp_path / "results"
    results.write_text(json.dumps(run))
    text, passed = report.document([results], "# Chaos\n\nloud\n" + HEADING + "\nof before")
    assert text.startswith(f"# Chaos\n\nloud\n{HEADING}\n")
    assert "of before" not in text
    assert "| 1,500 |" in text
    assert "**trades unrecorded 7**" in text
    assert not passed
