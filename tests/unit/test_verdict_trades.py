"""The comparison of a run's trades with the exchange's ledger."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from radar.checks import reconciliation
from radar.checks.reconciliation import TradeFacts, TradesReconciliation, _windows, compare_trades
from radar.errors import RadarError
from radar_simulator import LedgerTrade

FACTS: TradeFacts = ("USDTTMN", "2026-06-26T11:14:09Z", Decimal(31704), Decimal(705), "sell")


def trade(seq: int = 1, *, price: str = "31704.0000000000000000", **changes: Any) -> LedgerTrade:
    facts: dict[str, Any] = {"timestamp": "2026-06-26T11:14:09Z", "sent_to": 1} | changes
    return LedgerTrade(
        seq=seq,
        symbol="USDTTMN",
        price=price,
        quantity="705.0000000000000000",
        side="sell",
        **facts,
    )


def stored(times: int) -> Counter[TradeFacts]:
    return Counter({FACTS: times})


def test_compare_trades_twins_all_stored_is_exact() -> None:
    found = compare_trades([trade(1), trade(2)], stored(2))
    assert found == TradesReconciliation(sent=2, stored=2, fetched=0, lost=0, unexpected=0)


def test_compare_trades_one_twin_missing_is_lost() -> None:
    found = compare_trades([trade(1), trade(2)], stored(1))
    assert (found.lost, found.unexpected) == (1, 0)


def test_compare_trades_one_twin_too_many_is_unexpected() -> None:
    found = compare_trades([trade(1), trade(2)], stored(3))
    assert (found.lost, found.unexpected) == (0, 1)


def test_compare_trades_sent_on_two_connections_counts_once() -> None:
    found = compare_trades([trade(sent_to=2)], stored(1))
    assert found == TradesReconciliation(sent=1, stored=1, fetched=0, lost=0, unexpected=0)


def test_compare_trades_only_over_rest_stored_is_fetched() -> None:
    ledger = [trade(1), trade(2, sent_to=0, via_rest=True)]
    found = compare_trades(ledger, stored(2))
    assert found == TradesReconciliation(sent=1, stored=2, fetched=1, lost=0, unexpected=0)


def test_compare_trades_only_over_rest_missing_is_not_lost() -> None:
    found = compare_trades([trade(sent_to=0, via_rest=True)], stored(0))
    assert found == TradesReconciliation(sent=0, stored=0, fetched=0, lost=0, unexpected=0)


def test_compare_trades_uncertain_may_be_stored_or_not() -> None:
    ledger = [trade(sent_to=0, uncertain_to=1)]
    for times in (0, 1):
        found = compare_trades(ledger, stored(times))
        assert (found.lost, found.unexpected) == (0, 0)


def test_windows_end_with_a_second_also_where_times_are_finer() -> None:
    times = ("2026-01-01T00:00:01.900Z", "2026-01-01T00:00:02.100Z", "2026-01-01T00:00:03.200Z")
    trades = [trade(timestamp=each) for each in times]
    ((window, ends),) = list(_windows(trades, "2026-01-01T00:00:03Z"))
    assert [each.timestamp for each in window] == list(times[:2])
    assert ends == "2026-01-01T00:00:03Z"


def test_compare_trades_never_served_but_stored_is_unexpected() -> None:
    found = compare_trades([trade(sent_to=0)], stored(1))
    assert (found.fetched, found.unexpected) == (0, 1)


def test_compare_trades_other_last_decimal_is_both_lost_and_unexpected() -> None:
    found = compare_trades([trade(price="31704.0000000000000001")], stored(1))
    assert (found.lost, found.unexpected) == (1, 1)


def second(n: int) -> str:
    return f"2026-06-26T11:14:{n:02}Z"


def test_windows_end_where_the_second_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "WINDOW_TRADES", 2)
    seconds = [1, 1, 1, 2, 3, 2, 4, 5]
    trades = [trade(n, timestamp=second(at)) for n, at in enumerate(seconds)]
    windows = [([t.seq for t in window], ends) for window, ends in _windows(trades, "")]
    assert windows == [([0, 1, 2], second(2)), ([3, 4, 5], second(4)), ([6, 7], "")]


def test_windows_leave_out_what_is_not_before_the_end() -> None:
    trades = [trade(n, timestamp=second(n)) for n in range(4)]
    ((window, ends),) = _windows(trades, second(2))
    assert ([t.seq for t in window], ends) == ([0, 1], second(2))


def test_windows_going_back_behind_a_boundary_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "WINDOW_TRADES", 1)
    trades = [trade(n, timestamp=second(at)) for n, at in enumerate([1, 2, 1])]
    with pytest.raises(RadarError, match="back in time"):
        list(_windows(trades, ""))
