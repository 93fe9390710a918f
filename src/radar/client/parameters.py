"""Times, intervals and values of placeholders, as ClickHouse reads them: pure."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeAlias

from radar.errors import ConfigurationError, InvalidRequest
from radar.periods import EXAMPLES, parse_length_s, parse_time, parse_zone

Moment: TypeAlias = datetime | date | timedelta | str
"""A time with its zone; a day, which begins at midnight UTC; an age, as `timedelta(days=7)`; or
text as in the commands: `2026-11-01`, `2026-11-01T12:30`, `-7d`, `-90m`, `now`."""

Interval: TypeAlias = str | float | timedelta
"""A length of time: `1m`, `4h`, `1d`, `1w`, seconds, or a timedelta."""

MAX_INTERVAL_S = 366 * 86400
MAX_MARKETS = 1000

_FORMS = "whole seconds as 30s, 1m, 4h, 1d or 1w, at most 366d"


def utc_text(name: str, moment: object, now: datetime | None = None) -> str:
    """Write a time as ClickHouse reads it, in UTC.

    Raises:
        InvalidRequest: It has no zone, or is no time.
    """
    return f"{moment_of(name, moment, now):%Y-%m-%d %H:%M:%S.%f}"


def moment_of(name: str, moment: object, now: datetime | None = None) -> datetime:
    """Return a time in UTC.

    Args:
        name: Its parameter, for the error.
        moment: A `Moment`.
        now: The time that ages count from; None: this moment.

    Raises:
        InvalidRequest: It has no zone, or is no time.
    """
    now = now or datetime.now(UTC)
    try:
        if isinstance(moment, str):
            return parse_time(moment, now).astimezone(UTC)
        if isinstance(moment, timedelta):
            return now - abs(moment)
    except (ConfigurationError, OverflowError):
        raise InvalidRequest(f"{name} is {moment!r} (allowed: {EXAMPLES}, now)") from None
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise InvalidRequest(
                f"{name} is {moment} without a time zone: datetime(…, tzinfo=UTC) is in UTC"
            )
        return moment.astimezone(UTC)
    if isinstance(moment, date):
        return datetime.combine(moment, time(), UTC)
    raise InvalidRequest(f"{name} is {moment!r} (allowed: a datetime, a date, a timedelta or text)")


def seconds_of(name: str, interval: object) -> int:
    """Return the seconds of an `Interval`.

    Raises:
        InvalidRequest: It is no whole number of seconds, below a second, or above 366 days.
    """
    seconds: float = 0
    if isinstance(interval, timedelta):
        seconds = interval.total_seconds()
    elif isinstance(interval, int | float) and not isinstance(interval, bool):
        seconds = interval
    elif isinstance(interval, str):
        with suppress(ConfigurationError):
            seconds = parse_length_s(name, interval)
    if not 1 <= seconds <= MAX_INTERVAL_S or seconds != int(seconds):
        raise InvalidRequest(f"{name} is {interval!r} (allowed: {_FORMS})")
    return int(seconds)


def market_names(market: object) -> list[str]:
    """Return the names of markets, each once: of a list, or of a text with commas.

    Raises:
        InvalidRequest: It names no market, is none of these, or names too many.
    """
    texts = [market] if isinstance(market, str) else market
    if not isinstance(texts, Sequence) or not all(isinstance(each, str) for each in texts):
        raise InvalidRequest(f"market is {market!r} (allowed: text or a list of texts)")
    names = list(dict.fromkeys(name.strip() for text in texts for name in text.split(",")))
    if not names or not all(names):
        raise InvalidRequest(f"market is {market!r} (allowed: binance:BTCUSDT, or a list)")
    if len(names) > MAX_MARKETS:
        raise InvalidRequest(f"{len(names):,} markets are too many: name at most {MAX_MARKETS:,}")
    return names


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return a value that is one of some words.

    Raises:
        InvalidRequest: It is not; the message names the likeliest word.
    """
    if isinstance(value, str) and value in allowed:
        return value
    found = difflib.get_close_matches(str(value), allowed, n=1)
    raise InvalidRequest(f"{name} is {value!r}: use {found[0] if found else ' or '.join(allowed)}")


def zone_of(name: object) -> str:
    """Return the name of a time zone.

    Raises:
        InvalidRequest: There is none of that name; the message names similar ones.
    """
    try:
        return parse_zone(str(name)).key
    except ConfigurationError as error:
        raise InvalidRequest(f"time_zone: {error}") from None


def values_of(sql: str, parameters: Mapping[str, object], now: datetime) -> dict[str, str]:
    """Return the values of placeholders as ClickHouse reads them.

    Args:
        sql: The query with its placeholders.
        parameters: Their values: texts, numbers, times, and lists or tuples of them.
        now: The time that ages count from.

    Raises:
        InvalidRequest: A value has no such form, or a placeholder has no value.
    """
    types = dict(re.findall(r"\{\s*(\w+)\s*:\s*(\w+)", sql))
    if missing := types.keys() - parameters.keys():
        raise InvalidRequest(f"the query needs a value for {', '.join(sorted(missing))}")
    return {
        name: _text(name, value, types.get(name, ""), now) for name, value in parameters.items()
    }


def _text(name: str, value: object, type_: str, now: datetime) -> str:
    if type_ in ("Date", "Date32"):
        return f"{moment_of(name, value, now):%Y-%m-%d}"
    if type_ in ("DateTime", "DateTime32"):
        return f"{moment_of(name, value, now):%Y-%m-%d %H:%M:%S}"
    if type_.startswith("DateTime") or isinstance(value, date | timedelta):
        return utc_text(name, value, now)
    if isinstance(value, str):
        return value
    return _literal(name, value, now)


def _literal(name: str, value: object, now: datetime) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, date | timedelta):
        return f"'{utc_text(name, value, now)}'"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy, or a column of pandas
        return _literal(name, value.tolist(), now)
    if isinstance(value, tuple):
        return f"({','.join(_literal(name, each, now) for each in value)})"
    if isinstance(value, list | set | frozenset):
        return f"[{','.join(_literal(name, each, now) for each in value)}]"
    raise InvalidRequest(
        f"{name} is {value!r} (allowed: text, a number, a time, or a list or tuple of them)"
    )


def whole_intervals(
    start: datetime, end: datetime, interval_s: int, most: int
) -> Iterator[tuple[datetime, datetime]]:
    """Divide a period at multiples of an interval since a Monday.

    Args:
        start: The begin.
        end: The end, not included.
        interval_s: The interval, seconds.
        most: How many intervals each part has at most, besides the first one's begin.
    """
    origin = datetime(1970, 1, 5, tzinfo=UTC)
    step = timedelta(seconds=interval_s * most)
    begin = start
    while begin < end:
        until = min(origin + ((begin - origin) // step + 1) * step, end)
        yield begin, until
        begin = until
