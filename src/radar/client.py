"""Recorded data for notebooks: queries in Python, answers as Arrow tables.

    from radar.client import Radar

    candles = Radar().candles("USDTTMN", "1h", "2026-11-01").to_pandas()

An answer is a `pyarrow.Table`: `.to_pandas()` makes a pandas frame of it, `polars.from_arrow(…)` a
Polars frame. Decimals stay decimals, exact to the last digit; times are UTC.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from radar.errors import InvalidRequest, QueryFailed, RadarError
from radar.reading import recorded
from radar.reading.query import ask, opened
from radar.settings import load
from radar.store.queries import reading as queries

if TYPE_CHECKING:
    import pyarrow

Moment = datetime | date | str
"""A time with its zone, or a day, which begins at midnight UTC; as text in ISO 8601 as well."""

Interval = str | int | timedelta
"""A length of time: `1m`, `4h`, `1d`, `1w`, seconds, or a timedelta."""

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_INTERVAL = re.compile(r"(\d{1,6})([smhdw])")


class Radar:
    """Queries the database at CLICKHOUSE_HOST and CLICKHOUSE_PORT, or the embedded data at rest.

    If no server answers at that address, each query opens the data in RADAR_DATA_DIR itself and
    closes it again. Options come from the environment and `.env`, as with the commands. Every
    method blocks until the whole answer is in memory.
    """

    def __init__(self, *, write: bool = False, **options: Any) -> None:
        """Read the options.

        Args:
            write: Let `query` change data; else ClickHouse refuses statements that would.
            options: Options that win over the environment, by their names in small letters:
                `clickhouse_host`, `clickhouse_password`, `radar_data_dir`, …

        Raises:
            ConfigurationError: An option is not allowed.
            RadarError: pyarrow is missing; the message names the command that installs it.
        """
        _pyarrow()
        self._settings = load(**options)
        self._write = write

    def trades(
        self,
        market: str = "",
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        instrument: str = "",
    ) -> "pyarrow.Table":
        """Return the trades of a market from `start` (included) to `end` (excluded; None: now).

        Args:
            market: `exchange:symbol`, such as `binance:BTCUSDT`, or a symbol of one exchange.
            start: The begin.
            end: The end.
            instrument: Instead of a market: `BASE/QUOTE`, such as `BTC/USDT`, of all exchanges.

        Returns:
            One row a trade, oldest first: trade_id, source (the exchange), symbol, base, quote,
            side (of the taker), price, base_amount, quote_amount (decimal128(38, 18)), event_time
            (ms), received_at (us), native_id, native_sequence, event_time_us.

        Raises:
            InvalidRequest: A time has no zone, or is none; market or instrument is missing.
            UnknownMarket: The market has no records, or several exchanges have it; the message
                names candidates.
            InvalidPeriod: The end is not after the start, or the start is in the future.
            StoreUnavailable: No server answers and there is no embedded data.
            QueryFailed: ClickHouse refuses the query.
        """
        if start is None or bool(market) is bool(instrument):
            raise InvalidRequest("give a market or an instrument, and a start")
        base, _, quote = instrument.upper().partition("/")
        source, symbol = "", ""
        if instrument and not quote:
            raise InvalidRequest(f"instrument is {instrument!r} (allowed: BASE/QUOTE)")
        if market:
            source, symbol = self._find(market, start, end)
        return self.query(
            queries.TRADES,
            source=source, symbol=symbol, base=base, quote=quote, start=start, end=_or_now(end),
        )  # fmt: skip

    def candles(
        self, market: str, interval: Interval, start: Moment, end: Moment | None = None
    ) -> "pyarrow.Table":
        """Return the candles of a market that overlap `start` to `end` (excluded; None: now).

        Returns:
            One row an interval in which there were trades, oldest first: source, symbol, open_time,
            open, high, low, close, volume (base), quote_volume, vwap (decimal128(38, 18)), trades.

        Raises:
            InvalidRequest: A time has no zone, or is none; the interval is none.
            UnknownMarket: The market has no records, or several exchanges have it; the message
                names candidates.
            InvalidPeriod: The end is not after the start, or the start is in the future.
            StoreUnavailable: No server answers and there is no embedded data.
            QueryFailed: ClickHouse refuses the query.
        """
        interval_s = str(_seconds(interval))
        source, symbol = self._find(market, start, end)
        return self.query(
            queries.CANDLES,
            source=source, symbol=symbol, interval_s=interval_s, start=start, end=_or_now(end),
        )  # fmt: skip

    def order_book(self, market: str, at: Moment | None = None) -> "pyarrow.Table":
        """Return the order book of a market as it was known at a time, or is known now.

        Returns:
            One row a level: source, symbol, side (bid, ask), level (from 1, best first), price,
            quantity (doubles, as the exchange sends them), received_at (us) of the side's snapshot.

        Raises:
            InvalidRequest: The time has no zone, or is none.
            UnknownMarket: The market has no records, or several exchanges have it; the message
                names candidates.
            InvalidPeriod: The time is in the future.
            StoreUnavailable: No server answers and there is no embedded data.
            QueryFailed: ClickHouse refuses the query.
        """
        source, symbol = self._find(market, at, None, name="at")
        return self.query(queries.ORDER_BOOK, source=source, symbol=symbol, at=_or_now(at))

    def rebuilt_book(self, market: str, at: Moment | None = None) -> "pyarrow.Table":
        """Return all levels of a book at a time, rebuilt from its updates (BOOK_UPDATES=1).

        Returns:
            One row a level, as `order_book` returns them; received_at is of the newest update.

        Raises:
            InvalidRequest: The time has no zone or is none; or the updates before it were not all
                recorded.
            UnknownMarket: The market has no records, or several exchanges have it; the message
                names candidates.
            InvalidPeriod: The time is in the future.
            StoreUnavailable: No server answers and there is no embedded data.
            QueryFailed: ClickHouse refuses the query.
        """
        source, symbol = self._find(market, at, None, name="at")
        moment = _or_now(at)
        levels = self.query(queries.REBUILT_BOOK, source=source, symbol=symbol, at=moment)
        if not levels.num_rows:
            raise InvalidRequest(
                f"no update of the book of {source}:{symbol} was recorded before"
                f" {moment}: record with BOOK_UPDATES=1"
            )
        if not levels["is_complete"][0].as_py():
            raise InvalidRequest(
                f"an update of the book of {source}:{symbol} before {moment} is missing:"
                " choose another time"
            )
        return levels.drop_columns(["is_complete"])

    def _find(
        self, market: str, start: Moment | None, end: Moment | None, *, name: str = "start"
    ) -> tuple[str, str]:
        """Check the period and return exchange and symbol of a market."""
        first = None if start is None else _moment(name, start)
        last = None if end is None else _moment("end", end)
        with opened(self._settings, buffered=True) as asking:

            def rows(sql: str, parameters: dict[str, str]) -> list[list[object]]:
                answer = b"".join(asking(sql, "JSONCompactStringsEachRow", parameters))
                return [json.loads(line) for line in answer.splitlines()]

            recorded.check_period(rows, first, last)
            return recorded.find_market(rows, market)

    def query(self, sql: str, **parameters: str | int | datetime | date) -> "pyarrow.Table":
        """Return the answer to any query.

        Args:
            sql: The query, with placeholders as in `WHERE symbol = {symbol:String}`.
            parameters: Their values; times have the same forms as in the other methods.

        Raises:
            InvalidRequest: A time has no zone, or is none.
            StoreUnavailable: No server answers and there is no embedded data.
            QueryFailed: ClickHouse refuses the query.
        """
        library = _pyarrow()
        texts = _texts(sql, parameters)
        answer = b"".join(
            ask(self._settings, sql, "ArrowStream", texts, buffered=True, write=self._write)
        )
        if not answer:
            raise QueryFailed("the statement has no answer")
        table: pyarrow.Table = library.ipc.open_stream(answer).read_all()
        return table


def _texts(sql: str, parameters: Mapping[str, object]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in parameters.items():
        is_time = isinstance(value, date) or re.search(rf"{{{name}:\s*DateTime", sql)
        texts[name] = utc_text(name, value) if is_time else str(value)
    return texts


def _or_now(moment: Moment | None) -> Moment:
    return datetime.now(UTC) if moment is None else moment


def utc_text(name: str, moment: object) -> str:
    """Write a time as ClickHouse reads it, in UTC.

    Raises:
        InvalidRequest: It has no zone, or is no time.
    """
    return f"{_moment(name, moment):%Y-%m-%d %H:%M:%S.%f}"


def _moment(name: str, moment: object) -> datetime:
    if isinstance(moment, str):
        try:
            day_only = re.fullmatch(r"\d{4}-\d\d-\d\d", moment)
            moment = date.fromisoformat(moment) if day_only else datetime.fromisoformat(moment)
        except ValueError:
            raise InvalidRequest(
                f"{name} is {moment!r} (allowed: 2026-11-01 or 2026-11-01T12:30:00Z)"
            ) from None
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise InvalidRequest(
                f"{name} is {moment} without a time zone: datetime(…, tzinfo=UTC) is in UTC"
            )
        return moment.astimezone(UTC)
    if isinstance(moment, date):
        return datetime.combine(moment, time(), UTC)
    raise InvalidRequest(f"{name} is {moment!r} (allowed: a datetime, a date or a text)")


def _seconds(interval: Interval) -> int:
    seconds: float = 0
    if isinstance(interval, timedelta):
        seconds = interval.total_seconds()
    elif isinstance(interval, int):
        seconds = interval
    elif match := _INTERVAL.fullmatch(interval):
        seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds < 1 or seconds != int(seconds):
        raise InvalidRequest(
            f"interval is {interval!r} (allowed: whole seconds as 30s, 1m, 4h, 1d or 1w)"
        )
    return int(seconds)


def _pyarrow() -> Any:
    try:
        import pyarrow as module
        import pyarrow.ipc
    except ImportError:
        raise RadarError(
            'radar.client needs pyarrow: in radar\'s folder, run pip install ".[notebook]"'
        ) from None
    return module
