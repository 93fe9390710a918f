"""The client: a method for each kind of record, and queries."""

import difflib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from chdb_server.errors import Rejected
from chdb_server.statement import StatementKind, classify
from radar.client.answer import Answer, check_pyarrow, table_of
from radar.client.parameters import (
    Interval,
    Moment,
    market_names,
    moment_of,
    one_of,
    seconds_of,
    utc_text,
    values_of,
    whole_intervals,
    zone_of,
)
from radar.errors import ConfigurationError, InvalidRequest, QueryFailed
from radar.reading import recorded
from radar.reading.query import Ask, ask, opened
from radar.settings import fields, load
from radar.store.queries import client as queries
from radar.store.queries import reading
from radar.text import host_port

Market = str | Sequence[str]
"""`exchange:symbol`, such as `binance:BTCUSDT`, or a symbol that only one exchange lists. Several
stand in a list, or between commas."""

Period = tuple[datetime, datetime]
Slices = Callable[[Ask, Mapping[str, str]], Iterator[Period]]

DATASETS = ("trades", "depth")
# The sizes of one part of an answer, which is in memory at once.
PART_TRADES = 250_000
PART_VALUES = 2_000_000  # prices and quantities of snapshots and updates
PART_INTERVALS = 100_000
MAX_WIDE_LEVELS = 500

_BEFORE_ALL = datetime(1971, 1, 1, tzinfo=UTC)  # the begin of a period without one
_FORMAT = "ArrowStream"
_ROWS = "JSONCompactStringsEachRow"


class Radar:
    """Reads the database at CLICKHOUSE_HOST and CLICKHOUSE_PORT, or the embedded data at rest.

    If no server answers at that address, a question serves the data in RADAR_DATA_DIR itself, by a
    child process that ends five seconds after the last question. In a `with` block the database
    stays open until the end of the block. Options come from the environment and `.env`, as with the
    commands.

    A method checks its arguments at once and reads the rows later, see `Answer`. `query` runs at
    once. All methods raise these errors:

    - InvalidRequest: An argument has no allowed form; the message names those.
    - UnknownMarket: A market has no records, or several exchanges have it; the message names
      candidates.
    - InvalidPeriod: The end is not after the start, or the start is in the future.
    - StoreUnavailable: No server answers and there is no embedded data.
    - QueryFailed: ClickHouse refuses the query.
    """

    def __init__(self, *, write: bool = False, floats: bool = False, **options: Any) -> None:
        """Read the options.

        Args:
            write: Let `query` change data; else ClickHouse refuses statements that would.
            floats: Return decimals as doubles, with 15 to 17 exact digits. ClickHouse converts
                them. A method's own `floats` has priority.
            options: Options that win over the environment, by their names in small letters:
                `clickhouse_host`, `clickhouse_password`, `radar_data_dir`, …

        Raises:
            ConfigurationError: There is no such option, or its value is not allowed.
            RadarError: pyarrow is missing; the message names the command that installs it.
        """
        check_pyarrow()
        _check_options(options)
        self._settings = load(**options)
        self._write = write
        self._floats = floats
        self._held: Ask | None = None
        self._stack = ExitStack()
        # In a `with` block, threads share one connection.
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Open the database for the block; blocks.

        Raises:
            StoreUnavailable: No server answers and there is no embedded data.
        """
        self._held = self._stack.enter_context(
            opened(self._settings, buffered=True, write=self._write, at_rest="child")
        )
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the database."""
        self._held = None
        self._stack.close()

    def __repr__(self) -> str:
        """Return the address of the database, or the folder of the data."""
        settings = self._settings
        where = host_port(settings.clickhouse_host, settings.clickhouse_port)
        return f"<Radar at {where}/{settings.clickhouse_db}, else in {settings.radar_data_dir}>"

    def trades(
        self,
        market: Market = "",
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        instrument: str = "",
        floats: bool | None = None,
    ) -> Answer:
        """Return the trades of markets from `start` (included) to `end` (excluded; None: now).

        Args:
            market: One or several markets.
            start: The begin.
            end: The end.
            instrument: Instead of a market: `BASE/QUOTE`, such as `BTC/USDT`, of all exchanges.
            floats: Return decimals as doubles; None: as given to `Radar`.

        Returns:
            One row a trade, oldest first: trade_id, source (the exchange), symbol, base, quote,
            side (buy or sell, of the taker), price, base_amount, quote_amount (decimal128(38, 18)),
            event_time (ms), received_at (us), native_id, native_sequence, event_time_us.
        """
        if start is None or bool(market) is bool(instrument):
            raise InvalidRequest("give a market or an instrument, and a start")
        base, _, quote = instrument.upper().partition("/")
        if instrument and not quote:
            raise InvalidRequest(f"instrument is {instrument!r} (allowed: BASE/QUOTE)")
        period, markets = self._checked(market or None, start, end)
        of_instrument = bool(instrument)
        return self._sliced(
            _about("trades", markets or [instrument], period),
            queries.trades(of_instrument=of_instrument, floats=self._are_floats(floats)),
            period,
            _by_minute(queries.trade_minutes(of_instrument=of_instrument), PART_TRADES, period),
            {"base": base, "quote": quote} if of_instrument else {"markets": markets},
        )

    def candles(
        self,
        market: Market,
        interval: Interval,
        start: Moment,
        end: Moment | None = None,
        *,
        time_zone: str = "UTC",
        floats: bool | None = None,
    ) -> Answer:
        """Return the candles of markets that overlap `start` to `end` (excluded; None: now).

        Args:
            market: One or several markets.
            interval: The length of a candle.
            start: The begin.
            end: The end.
            time_zone: Days begin at its midnight, weeks at that of Monday, and shorter intervals
                are counted from midnight: `Asia/Tehran`. `open_time` has this zone.
            floats: Return decimals as doubles; None: as given to `Radar`.

        Returns:
            One row an interval in which there were trades, oldest first: source, symbol, open_time,
            open, high, low, close, volume (base), quote_volume, vwap (decimal128(38, 18)), trades.
        """
        interval_s = seconds_of("interval", interval)
        zone = zone_of(time_zone)
        is_local = zone not in ("UTC", "Etc/UTC")
        if is_local and interval_s % 86400 and 86400 % interval_s:
            raise InvalidRequest(
                f"interval is {interval!r}: in {zone} use whole days, or a divisor of a day"
            )
        period, markets = self._checked(market, start, end)
        values = {"markets": markets, "interval_s": interval_s}
        return self._sliced(
            _about(f"candles of {interval}", markets, period),
            queries.candles(is_local=is_local, floats=self._are_floats(floats)),
            period,
            _whole if is_local else _by_interval(interval_s, len(markets), period),
            values | ({"time_zone": zone} if is_local else {}),
        )

    def order_book(self, market: Market, at: Moment | None = None) -> Answer:
        """Return the order book of markets as it was known at a time, or is known now.

        Returns:
            One row a level: source, symbol, side (bid, ask), level (from 1, best first), price,
            quantity (doubles, as the exchange sends them), received_at (us) of the side's snapshot.
        """
        markets, moment = self._at(market, at)
        return self._whole(
            f"order book of {_names(markets)} at {_iso(moment)}",
            queries.order_book(len(markets)),
            _numbered(markets) | {"at": moment},
        )

    def rebuilt_book(self, market: str, at: Moment | None = None) -> Answer:
        """Return all levels of a book at a time, rebuilt from its updates (BOOK_UPDATES=1).

        Returns:
            One row a level, as `order_book` returns them; received_at is of the newest update.

        Raises:
            InvalidRequest: The updates before the time were not all recorded.
        """
        markets, moment = self._at(market, at)
        if len(markets) != 1:
            raise InvalidRequest("rebuilt_book takes one market")
        ((source, symbol),) = markets
        answer = self._whole(
            f"rebuilt book of {source}:{symbol} at {_iso(moment)}",
            reading.REBUILT_BOOK,
            {"source": source, "symbol": symbol, "at": moment},
        )
        levels = answer.to_arrow()
        if not levels.num_rows:
            raise InvalidRequest(
                f"no update of the book of {source}:{symbol} was recorded before"
                f" {_iso(moment)}: record with BOOK_UPDATES=1"
            )
        if not levels["is_complete"][0].as_py():
            raise InvalidRequest(
                f"an update of the book of {source}:{symbol} before {_iso(moment)} is missing:"
                " choose another time"
            )
        return Answer.of(
            f"rebuilt book of {source}:{symbol} at {_iso(moment)}",
            levels.drop_columns(["is_complete"]),
        )

    def depth(
        self,
        market: Market,
        start: Moment,
        end: Moment | None = None,
        *,
        levels: int | None = None,
        wide: bool = False,
    ) -> Answer:
        """Return the snapshots of order books from `start` to `end` (excluded; None: now).

        A snapshot holds one side, so each row shows the other side as it was known then, at most
        ten minutes old.

        Args:
            market: One or several markets.
            start: The begin.
            end: The end.
            levels: Of each side at most; None: all, or 10 if `wide`.
            wide: A column for each level: bid_price_1, bid_quantity_1, ask_price_1, … Levels that
                a book does not have are null.

        Returns:
            One row each time that a side was received, oldest first: source, symbol, received_at,
            bid_received_at, ask_received_at (us), and the lists bid_prices, bid_quantities,
            ask_prices, ask_quantities (doubles, best level first).
        """
        if wide and levels is None:
            levels = 10
        if levels is not None and (
            isinstance(levels, bool) or not isinstance(levels, int) or levels < 1
        ):
            raise InvalidRequest(f"levels is {levels!r} (allowed: a whole number from 1 on)")
        if wide and levels and levels > MAX_WIDE_LEVELS:
            raise InvalidRequest(
                f"levels is {levels}: use at most {MAX_WIDE_LEVELS} with wide=True"
            )
        period, markets = self._checked(market, start, end)
        return self._sliced(
            _about("depth", markets, period),
            queries.depth(levels=levels or 0, is_wide=wide),
            period,
            _by_minute(queries.snapshot_minutes("orderbook_depth"), PART_VALUES, period),
            {"markets": markets},
        )

    def book_updates(self, market: Market, start: Moment, end: Moment | None = None) -> Answer:
        """Return the updates of books from `start` to `end` (excluded; None: now).

        Returns:
            One row an update (BOOK_UPDATES=1), oldest first: source, symbol, received_at,
            event_time (us; null: the exchange sends none), sequence, chain, place, is_snapshot,
            bid_prices, bid_quantities, ask_prices, ask_quantities (lists; the quantity 0 removes a
            level), verified.
        """
        period, markets = self._checked(market, start, end)
        return self._sliced(
            _about("book updates", markets, period),
            queries.BOOK_UPDATES,
            period,
            _by_minute(queries.snapshot_minutes("book_updates"), PART_VALUES, period),
            {"markets": markets},
        )

    def spreads(
        self, market: Market, interval: Interval, start: Moment, end: Moment | None = None
    ) -> Answer:
        """Return the best prices at the end of each interval (view `spreads`).

        Returns:
            One row an interval with a snapshot, oldest first: source, symbol, open_time, best_bid,
            best_ask, mid, spread, spread_bps, bid_quantity, ask_quantity, imbalance (doubles). A
            side that was not received in the interval is null; `mid_prices` carries it forward.
        """
        interval_s = seconds_of("interval", interval)
        period, markets = self._checked(market, start, end)
        return self._sliced(
            _about(f"spreads of {interval}", markets, period),
            queries.SPREADS,
            period,
            _by_interval(interval_s, len(markets), period),
            {"markets": markets, "interval_s": interval_s},
        )

    def mid_prices(
        self,
        market: Market,
        interval: Interval,
        start: Moment,
        end: Moment | None = None,
        *,
        max_age: Interval = "1m",
    ) -> Answer:
        """Return the best prices as they were known at each multiple of an interval.

        The newest snapshot is carried forward (view `mid_prices`).

        Args:
            market: One or several markets.
            interval: The distance of two times.
            start: The begin.
            end: The end.
            max_age: A side whose snapshot is older is null.

        Returns:
            One row a time with a known side, oldest first: source, symbol, time, best_bid,
            best_ask, mid, spread_bps, age_s of the older side (doubles).
        """
        interval_s = seconds_of("interval", interval)
        max_age_s = seconds_of("max_age", max_age)
        period, markets = self._checked(market, start, end)
        return self._sliced(
            _about(f"mid prices every {interval}", markets, period),
            queries.mid_prices(len(markets)),
            period,
            _by_interval(interval_s, len(markets), period),
            _numbered(markets) | {"interval_s": interval_s, "max_age_s": max_age_s},
        )

    def coverage(
        self,
        market: Market | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        dataset: str = "",
    ) -> Answer:
        """Return how much of each UTC day was recorded (view `coverage`).

        Args:
            market: One or several markets; None: all.
            start: The first day; None: the first of all.
            end: The end; None: now. Its day is included.
            dataset: trades or depth; empty: both.

        Returns:
            One row a market, dataset and day, oldest first: source, dataset, symbol, day,
            elapsed_s, watched_s, watched_share, gaps, gaps_s, repaired_gaps, repaired_s,
            complete_share, in_progress.
        """
        if dataset:
            one_of("dataset", dataset, DATASETS)
        (first, last), markets = self._checked(market, start, end)
        return self._whole(
            _about("coverage", markets or ["all markets"], (first, last)),
            queries.coverage(of_markets=bool(markets)),
            {"markets": markets, "first": first, "last": last, "dataset": dataset},
        )

    def gaps(
        self,
        market: Market | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        dataset: str = "",
    ) -> Answer:
        """Return the times without records that touch a period (view `symbol_gaps`).

        Args:
            market: One or several markets; None: all.
            start: The begin; None: the first record.
            end: The end; None: now.
            dataset: trades or depth; empty: both.

        Returns:
            One row a market and gap, oldest first: source, dataset, symbol, began_at, ended_at,
            lasted_s, cause, backfilled.
        """
        if dataset:
            one_of("dataset", dataset, DATASETS)
        period, markets = self._checked(market, start, end)
        return self._whole(
            _about("gaps", markets or ["all markets"], period),
            queries.gaps(of_markets=bool(markets)),
            {"markets": markets, "start": period[0], "end": period[1], "dataset": dataset},
        )

    def markets(self, at: Moment | None = None, *, floats: bool | None = None) -> Answer:
        """Return the markets that traded in the 24 hours before a time, or have a book.

        Returns:
            One row a market, by quote and volume: the columns of the view `markets`.
        """
        _, moment = self._at(None, at)
        return self._whole(
            f"markets at {_iso(moment)}",
            queries.markets(floats=self._are_floats(floats)),
            {"at": moment},
        )

    def query(self, sql: str, **parameters: object) -> Answer:
        """Run any query at once, and return its rows, which are in memory.

        Enums, such as `side`, are text. With `Radar(floats=True)`, decimals are doubles.

        Args:
            sql: The query, with placeholders as in `WHERE symbol = {symbol:String}`, or for a list
                `WHERE symbol IN {symbols:Array(String)}`.
            parameters: Their values: texts, numbers, times, and lists or tuples of them.
        """
        texts = values_of(sql, parameters, datetime.now(UTC))
        answer = self._bytes(self._with_plain_columns(sql, texts), texts)
        return Answer.of("query", table_of(answer))

    def stream(self, sql: str, **parameters: object) -> Answer:
        """Return the rows of any query as they arrive, without keeping them in memory.

        The query runs when you read its rows, and again each time. Embedded data at rest answers a
        query as a whole, so a server must run for an answer that is larger than memory.

        Args:
            sql: As in `query`.
            parameters: As in `query`.
        """
        texts = values_of(sql, parameters, datetime.now(UTC))
        plain = self._with_plain_columns(sql, texts)

        def parts() -> Iterator[Iterable[bytes]]:
            if self._held is not None:
                yield [self._bytes(plain, texts)]
            else:
                yield ask(
                    self._settings,
                    plain,
                    _FORMAT,
                    texts,
                    write=self._write,
                    at_rest="kept child",
                )

        return Answer("stream of a query", parts)

    def _are_floats(self, floats: bool | None) -> bool:
        return self._floats if floats is None else floats

    @contextmanager
    def _open(self) -> Iterator[Ask]:
        if self._held is not None:
            with self._lock:
                yield self._held
            return
        with opened(
            self._settings, buffered=True, write=self._write, at_rest="kept child"
        ) as asking:
            yield asking

    def _bytes(self, sql: str, texts: Mapping[str, str]) -> bytes:
        with self._open() as asking:
            return b"".join(asking(sql, _FORMAT, texts))

    def _checked(
        self, market: Market | None, start: Moment | None, end: Moment | None
    ) -> tuple[Period, list[tuple[str, str]]]:
        """Return the period, and exchange and symbol of each market; None: no market."""
        now = datetime.now(UTC)
        first = None if start is None else moment_of("start", start, now)
        last = None if end is None else moment_of("end", end, now)
        names = [] if market is None else market_names(market)
        with self._open() as asking:
            rows = _rows_of(asking)
            recorded.check_period(rows, first, last)
            markets = list(dict.fromkeys(recorded.find_market(rows, name) for name in names))
        return (first or _BEFORE_ALL, last or now), markets

    def _at(
        self, market: Market | None, at: Moment | None
    ) -> tuple[list[tuple[str, str]], datetime]:
        """Return exchange and symbol of each market, and a time that is not in the future."""
        now = datetime.now(UTC)
        moment = now if at is None else moment_of("at", at, now)
        _, markets = self._checked(market, moment if at is not None else None, None)
        return markets, moment

    def _whole(self, about: str, sql: str, values: Mapping[str, object]) -> Answer:
        """Return the answer of a query that is small."""
        return self._sliced(about, sql, None, _whole, values)

    def _sliced(
        self,
        about: str,
        sql: str,
        period: Period | None,
        slices: "Slices",
        values: Mapping[str, object],
    ) -> Answer:
        """Return the answer of a query that is asked for one part of its period after another."""
        now = datetime.now(UTC)
        needed = {name: value for name, value in values.items() if f"{{{name}:" in sql}

        def parts() -> Iterator[Iterable[bytes]]:
            if period is None:
                yield [self._bytes(sql, values_of(sql, needed, now))]
                return
            whole = {"start": period[0], "end": period[1]} | needed
            with self._open() as asking:
                found = list(slices(asking, values_of(sql, whole, now)))
            for begin, end in found or [period]:
                texts = values_of(sql, needed | {"start": begin, "end": end}, now)
                yield [self._bytes(sql, texts)]

        return Answer(about, parts)

    def _with_plain_columns(self, sql: str, texts: Mapping[str, str]) -> str:
        """Return a query whose enums are text and whose times are times."""
        try:
            statement = classify(sql.encode())
        except Rejected:
            return sql
        text = statement.text.decode()
        is_select = text.lstrip("( \t\r\n").upper().startswith(("SELECT", "WITH"))
        if statement.kind is not StatementKind.READ or statement.format or not is_select:
            return sql
        try:
            with self._open() as asking:
                columns = list(_rows_of(asking)(queries.described(text), dict(texts)))
        except QueryFailed:
            return sql  # the error of the query itself is the clearer one
        types = {str(name): str(type_) for name, type_, *_ in columns}
        return queries.with_plain_columns(text, types, floats=self._floats)


def _check_options(options: Mapping[str, object]) -> None:
    known = list(fields())
    for name in options:
        if name not in known:
            found = difflib.get_close_matches(name, [*known, "write", "floats"], n=2)
            meant = f": use {' or '.join(found)}" if found else ": `radar config` lists them"
            raise ConfigurationError(f"{name} is no option of radar{meant}")


def _rows_of(asking: Ask) -> recorded.Ask:
    def rows(sql: str, parameters: dict[str, str]) -> list[list[object]]:
        answer = b"".join(asking(sql, _ROWS, parameters))
        return [json.loads(line) for line in answer.splitlines()]

    return rows


def _whole(_asking: Ask, _texts: Mapping[str, str]) -> Iterator[Period]:
    """Leave a period whole."""
    return iter(())


def _by_minute(sql: str, size: int, period: Period) -> Slices:
    """Divide a period at minutes, so that each part has about so many rows or values."""

    def slices(asking: Ask, texts: Mapping[str, str]) -> Iterator[Period]:
        rows = _rows_of(asking)(sql, dict(texts) | {"part": str(size)})
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        begins = [epoch + timedelta(minutes=int(str(row[0]))) for row in rows][1:]
        return zip([period[0], *begins], [*begins, period[1]], strict=True)

    return slices


def _by_interval(interval_s: int, markets: int, period: Period) -> Slices:
    """Divide a period at multiples of an interval."""
    most = max(1, PART_INTERVALS // max(1, markets))
    return lambda _asking, _texts: whole_intervals(*period, interval_s, most)


def _numbered(markets: Sequence[tuple[str, str]]) -> dict[str, object]:
    """Return the placeholders of queries of each market."""
    values: dict[str, object] = {}
    for number, (source, symbol) in enumerate(markets):
        values |= {f"source_{number}": source, f"symbol_{number}": symbol}
    return values


def _about(what: str, markets: Sequence[tuple[str, str] | str], period: Period) -> str:
    begin = "the first record" if period[0] == _BEFORE_ALL else _iso(period[0])
    return f"{what} of {_names(markets)} from {begin} to {_iso(period[1])}"


def _names(markets: Sequence[tuple[str, str] | str]) -> str:
    names = [each if isinstance(each, str) else ":".join(each) for each in markets]
    return (
        f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 3 else ", ".join(names)
    )


def _iso(moment: datetime) -> str:
    return utc_text("time", moment).replace(" ", "T").removesuffix(".000000") + "Z"
