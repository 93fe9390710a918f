"""A catalogue of nautilus_trader: Parquet files that its ParquetDataCatalog reads.

They are written without nautilus_trader, in the schemas of its Arrow serializer with high
precision: a number is an integer of 16 bytes, in units of 10 to the minus 16th. Precision is the
count of decimal places, and the instrument's holds for all of its files.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from radar.datasets import BOOK_UPDATES, DEPTH, TRADES, Dataset
from radar.errors import ConfigurationError
from radar.reading.formats import book_updates
from radar.reading.formats.base import Contents, Day, increment, replacing, rows_of, save
from radar.reading.query import Ask
from radar.store.queries import export_formats as queries

if TYPE_CHECKING:
    from datetime import date

MAX_PLACES = 16
MAX_PRICE, MAX_SIZE = 17_014_118_346_046, 34_028_236_692_093
_NUMBER = pa.binary(16)


def _schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, each, nullable=False) for name, each in types.items()])


TRADE_SCHEMA = _schema(
    price=_NUMBER,
    size=_NUMBER,
    aggressor_side=pa.uint8(),
    trade_id=pa.string(),
    ts_event=pa.uint64(),
    ts_init=pa.uint64(),
)
DELTA_SCHEMA = _schema(
    action=pa.uint8(),
    side=pa.uint8(),
    price=_NUMBER,
    size=_NUMBER,
    order_id=pa.uint64(),
    flags=pa.uint8(),
    sequence=pa.uint64(),
    ts_event=pa.uint64(),
    ts_init=pa.uint64(),
)
_WORD = pa.dictionary(pa.int16(), pa.string())
INSTRUMENT_SCHEMA = pa.schema(
    {
        "id": pa.dictionary(pa.int64(), pa.string()),
        "raw_symbol": pa.string(),
        "base_currency": _WORD,
        "quote_currency": _WORD,
        "price_precision": pa.uint8(),
        "size_precision": pa.uint8(),
        "price_increment": _WORD,
        "size_increment": _WORD,
        "multiplier": _WORD,
        "lot_size": _WORD,
        "max_quantity": _WORD,
        "min_quantity": _WORD,
        "max_notional": _WORD,
        "min_notional": _WORD,
        "max_price": _WORD,
        "min_price": _WORD,
        "margin_init": pa.string(),
        "margin_maint": pa.string(),
        "maker_fee": pa.string(),
        "taker_fee": pa.string(),
        "info": pa.binary(),
        "ts_event": pa.uint64(),
        "ts_init": pa.uint64(),
    },
    metadata={"class": "CurrencyPair"},
)
_ALL_TIME = "1970-01-01T00-00-00-000000000Z"

Market = tuple[str, str]


@dataclass(frozen=True)
class Precision:
    """The decimal places of prices and amounts."""

    price: int
    size: int

    def with_(self, other: "Precision") -> "Precision":
        """Return the places that hold the numbers of both."""
        return Precision(max(self.price, other.price), max(self.size, other.size))


def instrument_id(market: Market) -> str:
    """Return SYMBOL.VENUE; characters that nautilus_trader cannot query become their code."""
    source, symbol = market
    venue = re.sub(r"[^A-Z0-9_-]", _code, source.upper())
    return f"{re.sub(r'[^A-Za-z0-9/_.-]', _code, symbol)}.{venue}"


def folder_of(market: Market) -> str:
    """Return the name of the folders of an instrument, as nautilus_trader derives it."""
    return instrument_id(market).replace("/", "")


def _code(found: re.Match[str]) -> str:
    return f"_{ord(found[0]):02X}"


class Catalogue:
    """The instruments of one export."""

    def __init__(self) -> None:
        self._precision: dict[Market, Precision] = {}

    @property
    def kinds(self) -> "Sequence[Ticks]":
        """Return trades and changes of books."""
        return (
            Ticks("trade_tick", (TRADES,), TRADE_SCHEMA, _trades, self.metadata),
            Ticks("order_book_delta", (DEPTH, BOOK_UPDATES), DELTA_SCHEMA, _deltas, self.metadata),
        )

    def metadata(self, market: Market) -> dict[str, str]:
        """Return the metadata of an instrument's files."""
        precision = self._precision[market]
        return {
            "instrument_id": instrument_id(market),
            "price_precision": f"{precision.price}",
            "size_precision": f"{precision.size}",
        }

    def prepare(
        self, ask: Ask, below: Path, days: Sequence[Day]
    ) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """Write the instruments, and a higher precision into the files that are there; blocks.

        Args:
            ask: Queries the database.
            below: The folder of the catalogue.
            days: The days whose files will be written.

        Yields:
            Each written file, and facts for the manifest.

        Raises:
            ConfigurationError: A number has too many places, or is too large.
        """
        needed: dict[Market, Precision] = {}
        for day in _market_days(days):
            precision = _needed(ask, day)
            needed[day.market] = needed.get(day.market, precision).with_(precision)
        for market, precision in needed.items():
            path = instrument_path(below, market)
            known = _known(path)
            self._precision[market] = precision.with_(known or precision)
            if self._precision[market] == known:
                continue
            for kind in self.kinds:
                for each in sorted((below / kind.folder(market)).glob("*.parquet")):
                    _change_metadata(each, self.metadata(market))
                    yield each, {}
            # The last, so that an interrupted change begins again.
            ((base, quote),) = rows_of(ask, queries.CURRENCIES, _whose(market))
            _write_instrument(path, market, self._precision[market], base, quote)
            source, symbol = market
            yield path, {"kind": "instrument", "exchange": source, "symbol": symbol, "rows": 1}


@dataclass(frozen=True)
class Ticks:
    """Files of one type of data."""

    name: str
    datasets: tuple[Dataset, ...]
    schema: Any
    query: Callable[[Ask, Day], tuple[str, dict[str, str]]]
    metadata: Callable[[Market], dict[str, str]]

    @property
    def sources(self) -> Sequence[tuple[Dataset, str]]:
        """Return the datasets; days are those of the receipt."""
        return tuple((dataset, "received_at") for dataset in self.datasets)

    def wants(self, day: Day) -> bool:
        """Return whether the day has rows."""
        return bool(day.datasets)

    def folder(self, market: Market) -> Path:
        """Return the folder of an instrument."""
        return Path("data", self.name, folder_of(market))

    def path(self, day: Day) -> Path:
        """Return the place of a file, whose name is its period."""
        times = (
            f"{day.day:%Y-%m-%d}T{time}Z" for time in ("00-00-00-000000000", "23-59-59-999999999")
        )
        return self.folder(day.market) / f"{'_'.join(times)}.parquet"

    def write(self, ask: Ask, day: Day, path: Path) -> Contents:
        """Write the file."""
        raw = path.with_name(f"{path.name}.arrow")
        sql, values = self.query(ask, day)
        try:
            save(ask(sql, "ArrowStream", values, queries.ARROW), raw)
            with pa.memory_map(f"{raw}") as file, pa.ipc.open_stream(file) as batches:
                return _write_parquet(
                    path, self.schema.with_metadata(self.metadata(day.market)), batches
                )
        finally:
            raw.unlink(missing_ok=True)

    def facts(self, _ask: Ask, _day: Day) -> None:
        """Return None: a file without an entry is written again."""


def _trades(_ask: Ask, day: Day) -> tuple[str, dict[str, str]]:
    return queries.NAUTILUS_TRADES, day.parameters


def _deltas(ask: Ask, day: Day) -> tuple[str, dict[str, str]]:
    values, carried = book_updates.book(ask, day)
    return queries.nautilus_deltas(carried=carried), values


def _write_parquet(path: Path, schema: Any, batches: Iterable[Any]) -> Contents:
    count, first, last = 0, 0, 0
    with pq.ParquetWriter(path, schema) as writer:
        for batch in batches:
            if not batch.num_rows:
                continue
            columns = [batch.column(field.name).cast(field.type) for field in schema]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            times = batch.column("ts_init")
            first = first or times[0].as_py()
            last = times[-1].as_py()
            count += batch.num_rows
    return Contents(count, first // 1000, last // 1000)


def _market_days(days: Iterable[Day]) -> Iterable[Day]:
    """Return each day of a market once, with the datasets of all its files."""
    found: dict[tuple[Market, date], Day] = {}
    for day in days:
        same = found.get((day.market, day.day), day)
        found[day.market, day.day] = replace(day, datasets=day.datasets | same.datasets)
    return found.values()


def _needed(ask: Ask, day: Day) -> Precision:
    """Return the precision of a day.

    Raises:
        ConfigurationError: nautilus_trader cannot hold its numbers.
    """
    values, carried = book_updates.book(ask, day)
    ((price, size, max_price, max_size),) = rows_of(ask, queries.places(carried=carried), values)
    precision = Precision(int(price), int(size))
    if max(precision.price, precision.size) > MAX_PLACES:
        problem = f"a number of more than {MAX_PLACES} decimal places"
    elif float(max_price) > MAX_PRICE or float(max_size) > MAX_SIZE:
        problem = f"a price above {MAX_PRICE:,} or an amount above {MAX_SIZE:,}"
    else:
        return precision
    raise ConfigurationError(
        f"{day.source}:{day.symbol} has {problem} on {day.day}, which nautilus_trader cannot hold:"
        " name other markets with --market"
    )


def instrument_path(below: Path, market: Market) -> Path:
    """Return the place of an instrument's definition."""
    return below / "data" / "currency_pair" / folder_of(market) / f"{_ALL_TIME}_{_ALL_TIME}.parquet"


def _known(path: Path) -> Precision | None:
    """Return the precision of an instrument that was written; None without one."""
    with suppress(FileNotFoundError):
        (row,) = pq.read_table(path, columns=["price_precision", "size_precision"]).to_pylist()
        return Precision(row["price_precision"], row["size_precision"])
    return None


def _write_instrument(
    path: Path, market: Market, precision: Precision, base: str, quote: str
) -> None:
    row = dict.fromkeys(INSTRUMENT_SCHEMA.names) | {
        "id": instrument_id(market),
        "raw_symbol": market[1],
        "base_currency": base,
        "quote_currency": quote,
        "price_precision": precision.price,
        "size_precision": precision.size,
        "price_increment": increment(precision.price),
        "size_increment": increment(precision.size),
        "multiplier": "1",
        "margin_init": "0",
        "margin_maint": "0",
        "maker_fee": "0",
        "taker_fee": "0",
        "info": b"null",
        "ts_event": 0,
        "ts_init": 0,
    }
    with replacing(path) as place:
        pq.write_table(pa.Table.from_pylist([row], INSTRUMENT_SCHEMA), place)


def _change_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Write a file again with other metadata; its time of modification stays."""
    stat = path.stat()
    with replacing(path) as place:
        with pq.ParquetFile(path) as old:
            schema = old.schema_arrow.with_metadata(dict(metadata))
            with pq.ParquetWriter(place, schema) as writer:
                for n in range(old.num_row_groups):
                    writer.write_table(old.read_row_group(n).cast(schema))
        os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _whose(market: Market) -> dict[str, str]:
    source, symbol = market
    return {"source": source, "symbol": symbol}
