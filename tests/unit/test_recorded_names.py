"""Names of markets and periods that cannot be meant."""

from datetime import UTC, datetime, timedelta

import pytest

from radar.errors import InvalidPeriod
from radar.reading.recorded import called_markets, check_period, similar

KNOWN = ["BTCTMN", "BTCUSDT", "DOGETMN", "USDTTMN"]
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("usdttmn", "USDTTMN"),
        ("USDT-TMN", "USDTTMN"),
        ("usdt/tmn", "USDTTMN"),
        ("USTDTMN", "USDTTMN"),
        ("BTCTM", "BTCTMN"),
        ("DOGE_TMN", "DOGETMN"),
    ],
)
def test_misspelt_market_is_recognised(written: str, meant: str) -> None:
    assert similar(written, KNOWN)[0] == meant


def test_name_that_is_like_nothing_has_no_candidates() -> None:
    assert similar("XYZ", KNOWN) == []


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT * FROM order_book_at(symbol = 'A''B', at = now())", ["A'B"]),
        ("SELECT * FROM order_book_at(at = '2026-01-01', symbol='X')", ["X"]),
        ("SELECT * FROM Book_Depth_At (symbol = {market:String}, bps = 1)", ["Y"]),
        ("SELECT * FROM trades WHERE symbol = 'X'", []),
        ("SELECT * FROM order_book_at(symbol = {other:String}, at = now())", []),
    ],
)
def test_market_that_a_view_is_called_with_is_found(sql: str, found: list[str]) -> None:
    assert called_markets(sql, {"market": "Y"}) == found


@pytest.mark.parametrize(
    ("first", "end", "words"),
    [
        (NOW - timedelta(days=1), NOW - timedelta(days=2), "later end"),
        (NOW, NOW, "later end"),
        (NOW + timedelta(days=1), None, "in the future"),
    ],
)
def test_period_in_which_nothing_can_be_is_refused(
    first: datetime, end: datetime | None, words: str
) -> None:
    with pytest.raises(InvalidPeriod, match=words):
        check_period(lambda _sql, _parameters: [("0",)], first, end)


def test_period_that_begins_before_the_newest_record_is_fine_whatever_the_clock_says() -> None:
    newest_ms = int((NOW + timedelta(days=3)).timestamp() * 1000)
    check_period(lambda _sql, _parameters: [(newest_ms,)], NOW + timedelta(days=1))
