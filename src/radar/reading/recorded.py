"""Refuses queries about markets without records and about impossible periods.

An empty answer must mean that no record exists, and never that a name was misspelt.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from radar.clock import utc_text
from radar.errors import InvalidPeriod, QueryFailed, UnknownMarket
from radar.store import dictionary
from radar.store.queries import reading as queries

Ask = Callable[[str, dict[str, str]], Iterable[Sequence[object]]]
"""Queries the database: takes a query and the values of its placeholders, returns rows."""

SHOWN = 3
SIMILARITY = 0.6
# The clocks of this machine and of the client need not agree to the second.
CLOCKS_DIFFER = timedelta(minutes=1)
DATED_AHEAD = timedelta(days=1)  # of records; the exchange's clock may be wrong

# A view with parameters, called with the name of a market.
_CALL = re.compile(
    r"\b(?:order_book_at|book_depth_at|market_candles|market_daily_candles|mid_prices"
    r"|trades_with_book|effective_spreads)\s*\([^()]*?"
    r"\bsymbol\s*=\s*(?:'((?:[^'\\]|'')*)'|\{(\w+):)",
    re.IGNORECASE,
)

# A parameter of a view that divides time or prices; the column interval_s of a table is another.
_STEPPED = "|".join(
    name
    for name, view in dictionary.RELATIONS.items()
    if view.arguments.keys() & {"interval_s", "sample_s", "price_step"}
)
_STEP = re.compile(
    rf"\b(?:{_STEPPED})\s*\((?:[^()]|\([^()]*\))*?"
    r"\b(interval_s|sample_s|price_step)\s*=\s*(?:'?([0-9.]+)\b|\{(\w+):)"
)


def check_markets(ask: Ask, symbols: Sequence[str]) -> None:
    """Return if every market has records; blocks for one or two queries.

    Raises:
        UnknownMarket: A market has no records; the message names similar ones.
    """
    if not symbols:
        return
    unwatched = [
        str(row[0]) for row in ask(queries.UNWATCHED, {"symbols": json.dumps(list(symbols))})
    ]
    if not unwatched:
        return
    recorded = [(str(source), str(symbol)) for source, symbol in ask(queries.RECORDED, {})]
    every = {name for source, symbol in recorded for name in (symbol, f"{source}:{symbol}")}
    unknown = [symbol for symbol in unwatched if symbol not in every]
    if unknown:
        several = len({source for source, _ in recorded}) > 1
        known = [f"{source}:{symbol}" if several else symbol for source, symbol in recorded]
        raise UnknownMarket("; ".join(_words(symbol, known) for symbol in sorted(unknown)))


def find_market(ask: Ask, name: str) -> tuple[str, str]:
    """Return exchange and symbol of a market with records; blocks for one or two queries.

    Args:
        ask: Queries the database.
        name: `exchange:symbol`, or a symbol that only one exchange lists.

    Raises:
        UnknownMarket: No market or several have that name; the message names candidates.
    """
    source, _, symbol = name.rpartition(":")
    if source:
        check_markets(ask, [name])
        return source, symbol
    for query in (queries.LISTING, queries.RECORDING):
        exchanges = sorted(str(row[0]) for row in ask(query, {"symbol": symbol}))
        if len(exchanges) == 1:
            return exchanges[0], symbol
        if exchanges:
            names = " or ".join(f"{exchange}:{symbol}" for exchange in exchanges)
            raise UnknownMarket(f"several exchanges have a market {symbol!r}: use {names}")
    check_markets(ask, [name])
    raise UnknownMarket(f"no market {symbol!r} is recorded")


def similar(symbol: str, known: Sequence[str]) -> list[str]:
    """Return the known names that are similar, the likeliest first."""
    plain: dict[str, str] = {}
    for each in known:
        plain.setdefault(_plain(each), each)
        plain.setdefault(_plain(each.rpartition(":")[2]), each)
    if _plain(symbol) in plain:
        return [plain[_plain(symbol)]]
    found = difflib.get_close_matches(_plain(symbol), plain, n=SHOWN, cutoff=SIMILARITY)
    return [plain[each] for each in found]


def _plain(symbol: str) -> str:
    return "".join(character for character in symbol.casefold() if character.isalnum())


def _words(symbol: str, known: Sequence[str]) -> str:
    if not known:
        return f"no market {symbol!r} is recorded: the tables are empty"
    if candidates := similar(symbol, known):
        return f"no market {symbol!r} is recorded: use {' or '.join(candidates)}"
    shown = ", ".join(known[:SHOWN])
    more = f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else ""
    return f"no market {symbol!r} is recorded: use one of {shown}{more}"


def check_period(ask: Ask, first: datetime | None, end: datetime | None = None) -> None:
    """Return if records can exist between two times, of which either may be open.

    Blocks for a query if the first time is later than this machine's clock.

    Args:
        ask: Queries the database.
        first: The begin.
        end: The end; not included.

    Raises:
        InvalidPeriod: It ends before it begins, or begins in the future.
    """
    now = datetime.now(UTC)
    if first is not None and first > now + CLOCKS_DIFFER and first > _newest(ask) + DATED_AHEAD:
        raise InvalidPeriod(
            f"{_text(first)} is in the future, and it is {_text(now)} now: give an earlier one"
        )
    if first is not None and end is not None and end <= first:
        raise InvalidPeriod(
            f"the period from {_text(first)} to {_text(end)} is empty: give a later end"
        )


def _newest(ask: Ask) -> datetime:
    ((newest_ms,),) = ask(queries.NEWEST, {})
    return datetime.fromtimestamp(int(str(newest_ms)) / 1000, UTC)


def _text(moment: datetime) -> str:
    return utc_text(moment.timestamp())


def check_steps(sql: str, parameters: Mapping[str, str]) -> None:
    """Refuse a view with an interval, a sample or a price step of 0.

    ClickHouse would answer with an error of a function, and the text of the view.

    Args:
        sql: The statement.
        parameters: Values of its `{name:Type}` placeholders.

    Raises:
        QueryFailed: A step is 0.
    """
    for name, literal, placeholder in _STEP.findall(sql):
        text = parameters.get(placeholder, "") if placeholder else literal
        if text and not text.strip("0."):
            raise QueryFailed(f"{name} is 0: give a number above 0")


def called_markets(sql: str, parameters: dict[str, str]) -> list[str]:
    """Return the markets that a statement passes to views of one market.

    Args:
        sql: The statement.
        parameters: Values of its `{name:Type}` placeholders.
    """
    found = []
    for literal, placeholder in _CALL.findall(sql):
        symbol = parameters.get(placeholder) if placeholder else literal.replace("''", "'")
        if symbol is not None:
            found.append(symbol)
    return found
