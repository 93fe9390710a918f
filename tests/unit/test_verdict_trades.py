"""The comparison of a run's trades with the exchange's ledger."""

from collections import Counter
from decimal import Decimal
from typing import Any

from radar.local.simulator import LedgerTrade
from radar.local.verdict import TradeFacts, TradesVerdict, compare_trades

FACTS: TradeFacts = ("USDTTMN", "2026-06-26T11:14:09Z", Decimal(31704), Decimal(705), "sell")


def trade(seq: int = 1, *, price: str = "31704.0000000000000000", **changes: Any) -> LedgerTrade:
    return LedgerTrade(
        seq=seq,
        symbol="USDTTMN",
        timestamp="2026-06-26T11:14:09Z",
        price=price,
        quantity="705.0000000000000000",
        side="sell",
        **({"sent_to": 1} | changes),
    )


def stored(times: int) -> Counter[TradeFacts]:
    return Counter({FACTS: times})


def test_compare_trades_twins_all_stored_is_exact() -> None:
    verdict = compare_trades([trade(1), trade(2)], stored(2))
    assert verdict == TradesVerdict(sent=2, stored=2, fetched=0, lost=0, unexpected=0)


def test_compare_trades_one_twin_missing_is_lost() -> None:
    verdict = compare_trades([trade(1), trade(2)], stored(1))
    assert (verdict.lost, verdict.unexpected) == (1, 0)


def test_compare_trades_one_twin_too_many_is_unexpected() -> None:
    verdict = compare_trades([trade(1), trade(2)], stored(3))
    assert (verdict.lost, verdict.unexpected) == (0, 1)


def test_compare_trades_sent_on_two_connections_counts_once() -> None:
    verdict = compare_trades([trade(sent_to=2)], stored(1))
    assert verdict == TradesVerdict(sent=1, stored=1, fetched=0, lost=0, unexpected=0)


def test_compare_trades_only_over_rest_stored_is_fetched() -> None:
    ledger = [trade(1), trade(2, sent_to=0, via_rest=True)]
    verdict = compare_trades(ledger, stored(2))
    assert verdict == TradesVerdict(sent=1, stored=2, fetched=1, lost=0, unexpected=0)


def test_compare_trades_only_over_rest_missing_is_not_lost() -> None:
    verdict = compare_trades([trade(sent_to=0, via_rest=True)], stored(0))
    assert verdict == TradesVerdict(sent=0, stored=0, fetched=0, lost=0, unexpected=0)


def test_compare_trades_uncertain_may_be_stored_or_not() -> None:
    ledger = [trade(sent_to=0, uncertain_to=1)]
    for times in (0, 1):
        verdict = compare_trades(ledger, stored(times))
        assert (verdict.lost, verdict.unexpected) == (0, 0)


def test_compare_trades_never_served_but_stored_is_unexpected() -> None:
    verdict = compare_trades([trade(sent_to=0)], stored(1))
    assert (verdict.fetched, verdict.unexpected) == (0, 1)


def test_compare_trades_other_last_decimal_is_both_lost_and_unexpected() -> None:
    verdict = compare_trades([trade(price="31704.0000000000000001")], stored(1))
    assert (verdict.lost, verdict.unexpected) == (1, 1)
