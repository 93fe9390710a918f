"""The grammar of times, periods and markets: one for every command."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.cli.markets import market_list, symbols_of
from radar.errors import ConfigurationError, InvalidPeriod
from radar.periods import Period, looks_like_time, parse_period, parse_time

NOW = datetime(2026, 8, 1, 10, 30, tzinfo=UTC)
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-01", NOON.replace(hour=0)),
        ("2026-07-01T12", NOON),
        ("2026-07-01T12:00", NOON),
        ("2026-07-01 12:00:00", NOON),
        ("2026-07-01T12:00:00Z", NOON),
        ("2026-07-01T15:30:00+03:30", NOON),
        ("2026-07-01T12:00:00.000001", NOON + timedelta(microseconds=1)),
        ("now", NOW),
        ("90s", NOW - timedelta(seconds=90)),
        ("90m", NOW - timedelta(minutes=90)),
        ("6h", NOW - timedelta(hours=6)),
        ("-7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_time_has_one_of_few_forms(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment
    assert looks_like_time(text)


@pytest.mark.parametrize(
    "text",
    ["", "noon", "09:30", "7", "7 d", "--7d", "7y", "999999d", "2026-13-01", "0001-01-01T00+23:00"],
)
def test_other_text_is_no_time_and_the_error_shows_the_forms(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"is no time \(allowed: 2026-07-01, 2026-07-01T12:30, 7d"
    ):
        parse_time(text, NOW)


def test_time_of_a_day_needs_a_day() -> None:
    day = date(2026, 7, 1)
    assert parse_time("12:00", NOW, day) == parse_time("12:00:00.0", NOW, day) == NOON
    assert parse_time("2026-07-02", NOW, day) == NOON + timedelta(hours=12)


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_one_known_error(text: str) -> None:
    try:
        found = parse_time(text, NOW, date(2026, 7, 1))
    except ConfigurationError:
        return
    assert found.tzinfo is not None


@pytest.mark.parametrize("text", ["export", "./2026", "/tmp/7d", "a-7d", "nowhere"])
def test_name_of_a_folder_is_no_time(text: str) -> None:
    assert not looks_like_time(text)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("7d", "8d", "--to 2026-07-24T10:30:00Z is not after --from 2026-07-25T10:30:00Z"),
        ("7d", "7d", "is not after --from"),
        (
            "2027-01-01",
            "2027-01-02",
            "--from 2027-01-01T00:00:00Z is in the future: it is 2026-08-01",
        ),
        ("7d", "2027-01-01", "--to 2027-01-01T00:00:00Z is in the future"),
    ],
)
def test_impossible_period_is_refused(first: str, last: str, words: str) -> None:
    with pytest.raises(InvalidPeriod, match=words):
        parse_period(first, last, NOW)


def test_period_has_defaults_and_days() -> None:
    assert parse_period("7d", "", NOW) == Period(NOW - timedelta(days=7), NOW)
    with pytest.raises(ConfigurationError, match="--from is missing"):
        parse_period("", "", NOW)
    default = NOON - timedelta(days=2), NOON
    period = parse_period("", "2026-07-01", NOW, default=default)
    assert period == Period(default[0], NOON.replace(hour=0))
    assert (period.first_day, period.last_day) == (date(2026, 6, 29), date(2026, 6, 30))
    assert period.end_us - period.begin_us == 36 * 3600 * 1_000_000


def test_markets_are_repeated_or_between_commas() -> None:
    assert market_list(["A,B", "okx:C", "A"]) == ("A", "B", "okx:C")
    assert symbols_of("okx", ["okx:A-B, C", "A-B"]) == ("A-B", "C")
    # A colon may belong to the symbol of an exchange.
    assert symbols_of("okx", ["A:B"]) == ("A:B",)


def test_market_of_another_exchange_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="binance:A is no market of okx: use okx:A"):
        symbols_of("okx", ["binance:A"])
    with pytest.raises(ConfigurationError, match="names no market"):
        market_list(["A,"])
