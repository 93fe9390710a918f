"""The grammar of times, periods and time zones that every command shares: pure.

A time is one of these, in UTC unless it names a zone:

    2026-07-01                      a day, which means its midnight
    2026-07-01T12, …T12:30, …:15    a time of a day, with or without minutes and seconds
    2026-07-01T12:30:15.5+03:30     with a fraction, and with a zone (Z: UTC)
    7d, -7d, 6h, 90m, 30s, 2w       so long ago
    now                             this moment
"""

import difflib
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from radar.errors import ConfigurationError, InvalidPeriod

EXAMPLES = "2026-07-01, 2026-07-01T12:30, 7d, 6h, 90m"
ZONE_EXAMPLES = ("Asia/Tehran", "Europe/Berlin")
SHOWN_ZONES = 3

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"-?(\d{1,6})([smhdw])")
_LENGTH = re.compile(r"(\d{1,6})([smhdw])")
_TIME_OF_DAY = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?")
_BEGINS_AS_TIME = re.compile(r"-?\d[^/]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Period(NamedTuple):
    """A time with a begin and an end, which is not included; both have a zone."""

    begin: datetime
    end: datetime

    @property
    def begin_us(self) -> int:
        """Return the begin, Unix time in microseconds."""
        return unix_us_of(self.begin)

    @property
    def end_us(self) -> int:
        """Return the end, Unix time in microseconds."""
        return unix_us_of(self.end)

    @property
    def first_day(self) -> date:
        """Return the first UTC day that it touches."""
        return self.begin.astimezone(UTC).date()

    @property
    def last_day(self) -> date:
        """Return the last UTC day that it touches."""
        return (self.end.astimezone(UTC) - MICROSECOND).date()


def unix_us_of(moment: datetime) -> int:
    """Return a time with a zone as Unix time in microseconds."""
    return (moment - _EPOCH) // MICROSECOND


def parse_time(text: str, now: datetime, day: date | None = None) -> datetime:
    """Parse a time; see the module for the forms.

    Args:
        text: The text.
        now: The time that ages count from.
        day: The day of a time without one, such as 09:30; None: a time must have a day.

    Raises:
        ConfigurationError: It is no time.
    """
    text = text.strip()
    try:
        if text == "now":
            return now
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if day is not None and _TIME_OF_DAY.fullmatch(text):
            return datetime.combine(day, time.fromisoformat(text), UTC)
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=found.tzinfo or UTC)
        found.astimezone(UTC)  # a zone may lead out of the calendar
    except (ValueError, OverflowError) as error:
        of_day = "09:30, " if day is not None else ""
        raise ConfigurationError(f"{text!r} is no time (allowed: {of_day}{EXAMPLES})") from error
    return found


def parse_length_s(option: str, text: str) -> int:
    """Return the seconds of a length of time: 30s, 1m, 4h, 1d, 1w.

    Args:
        option: Its option, for the error.
        text: The text.

    Raises:
        ConfigurationError: It is no length of at least a second.
    """
    found = _LENGTH.fullmatch(text)
    if found is None or not int(found[1]):
        raise ConfigurationError(f"{option} is {text!r} (allowed: 30s, 1m, 4h, 1d)")
    return int(found[1]) * int(timedelta(**{_UNITS[found[2]]: 1}).total_seconds())


def parse_zone(name: str) -> ZoneInfo:
    """Return the time zone of a name, such as Asia/Tehran.

    Raises:
        ConfigurationError: There is none of that name; the message names similar ones.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        known = difflib.get_close_matches(name, sorted(available_timezones()), n=SHOWN_ZONES)
        raise ConfigurationError(
            f"unknown time zone {name!r}: use {' or '.join(known or ZONE_EXAMPLES)}"
        ) from error


def looks_like_time(text: str) -> bool:
    """Return whether a text is a time, or was meant as one: it begins with a digit."""
    return text == "now" or _BEGINS_AS_TIME.fullmatch(text) is not None


def parse_period(
    first: str,
    last: str,
    now: datetime,
    *,
    default: tuple[datetime, datetime] | None = None,
    day: date | None = None,
    may_be_future: bool = False,
) -> Period:
    """Return the period of --from and --to.

    Args:
        first: The begin; empty: the default.
        last: The end, not included; empty: the default.
        now: The time that ages count from.
        default: Begin and end without an option; None: --from is required, and --to is now.
        day: The day of times without one.
        may_be_future: Accept a --to after now, and a --from before it: the caller asks the database
            about them, whose records may be dated ahead.

    Raises:
        ConfigurationError: An option is no time.
        InvalidPeriod: The period is empty, reversed or in the future.
    """
    if not first and default is None:
        raise ConfigurationError(f"--from is missing: give the begin ({EXAMPLES})")
    begin = parse_time(first, now, day) if first else default[0] if default else now
    end = parse_time(last, now, day) if last else default[1] if default else now
    if begin >= now and not (may_be_future and last):
        raise InvalidPeriod(f"--from {iso(begin)} is in the future: it is {iso(now)} now")
    if not may_be_future and end > now:
        raise InvalidPeriod(
            f"--to {iso(end)} is in the future: leave it out, or give an earlier end"
        )
    if end <= begin:
        raise InvalidPeriod(
            f"--to {iso(end)} is not after --from {iso(begin)}:"
            " give an earlier begin or a later end"
        )
    return Period(begin, end)


def iso(moment: datetime) -> str:
    """Return a time as text in UTC and whole seconds: 2026-07-01T00:00:00Z."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
