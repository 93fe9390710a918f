"""The datasets: one object holds everything that differs between them.

`docs/adding-a-dataset.md` lists the steps to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from radar.codec import message_format
from radar.codec.message_format import MessageValue

if TYPE_CHECKING:
    from radar.codec.batch_decoder import ReadColumns

TIME_MS, TIME_US = "DateTime64(3, 'UTC')", "DateTime64(6, 'UTC')"


class InsertColumn(NamedTuple):
    """A column that workers fill.

    Attributes:
        name: Its name in the table.
        type: The ClickHouse type of the sent values; the server converts them to the table's type.
        field: The field of the message that it holds.
    """

    name: str
    type: str
    field: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """One dataset on its way from the exchange to its table and its readers.

    Attributes:
        name: Its name on the command line.
        message: The struct of a message: the record as Kafka holds it.
        topic: Where producers publish it.
        dead_letter_topic: Where workers publish messages that cannot become rows.
        group: The consumer group of its workers.
        table: Where workers insert it.
        columns: The columns that a message fills, in the order of the insert.
        row_key: The columns whose values no two rows share.
        look_up: The column of the row key by which ClickHouse finds a few rows fast.
        view: The SQL of the relation in which each row appears once.
        time: The column that decides on the UTC day of a row.
        export_columns: The SQL of the columns of exported files; empty: it cannot be exported.
        export_order: The SQL of the order of exported rows.
        workers: How many worker processes `radar up` starts; 0: one process stores all datasets
            with a 0, because they usually bring only a few messages a minute.
        look_back_s: How far back `radar status` looks for the newest row of a market.
    """

    name: str
    message: type[MessageValue]
    topic: str
    dead_letter_topic: str
    group: str
    table: str
    columns: tuple[InsertColumn, ...]
    row_key: tuple[str, ...]
    look_up: str
    view: str
    time: str = "received_at"
    export_columns: str = ""
    export_order: str = ""
    workers: int = 0
    look_back_s: int = 86_400

    @cached_property
    def decode(self) -> Callable[[bytes], Any]:
        """Decode one message value; it raises InvalidMessage."""
        return message_format.decoder_of(self.message)

    @cached_property
    def read_columns(self) -> "ReadColumns":
        """Decode many message values into the columns of an insert; it raises InvalidMessage."""
        # NumPy takes longer to import than most commands take to run.
        from radar.codec import batch_decoder

        fast = batch_decoder.FAST.get(self.message)
        return fast or batch_decoder.MessageColumns(self.decode, self.columns)


_MARKET = tuple(
    InsertColumn(name, "LowCardinality(String)", name)
    for name in ("source", "symbol", "base", "quote", "side")
)
_RECEIVED_AT = InsertColumn("received_at", TIME_US, "received_at_us")
_SET_BACK = InsertColumn("set_back_us", "UInt64", "set_back_us")
_PERIOD = (
    InsertColumn("symbols", "Array(String)", "symbols"),
    InsertColumn("began_at", TIME_US, "began_at_us"),
    InsertColumn("ended_at", TIME_US, "ended_at_us"),
)

TRADES = Dataset(
    name="trades",
    message=message_format.TradeMessage,
    topic="radar_trades",
    dead_letter_topic="radar_trades_dlq",
    group="clickhouse-trades-consumers-v1",
    table="trades_master",
    columns=(
        InsertColumn("trade_id", "UUID", "trade_id"),
        *_MARKET,
        InsertColumn("price", "String", "price"),
        InsertColumn("base_amount", "String", "base_amount"),
        InsertColumn("event_time", TIME_MS, "event_time_ms"),
        _RECEIVED_AT,
        InsertColumn("native_id", "String", "native_id"),
        InsertColumn("native_sequence", "UInt64", "sequence"),
        InsertColumn("event_time_us", TIME_US, "event_time_us"),
        _SET_BACK,
    ),
    row_key=("trade_id",),
    look_up="trade_id",
    view="trades",
    time="event_time",
    export_columns="toString(trade_id) AS trade_id, source, symbol, base, quote, toString(side) AS"
    " side, price, base_amount, quote_amount, event_time, received_at, native_id, native_sequence,"
    " event_time_us, monotonic_at",
    export_order="event_time, monotonic_at, trade_id",
    workers=3,
)

DEPTH = Dataset(
    name="depth",
    message=message_format.DepthMessage,
    topic="radar_depths",
    dead_letter_topic="radar_depths_dlq",
    group="clickhouse-depth-consumers-v1",
    table="orderbook_depth",
    columns=(
        *_MARKET,
        InsertColumn("prices", "Array(Float64)", "prices"),
        InsertColumn("quantities", "Array(Float64)", "quantities"),
        _RECEIVED_AT,
        InsertColumn("event_time", TIME_US, "event_time_us"),
        InsertColumn("sequence", "UInt64", "sequence"),
        InsertColumn("verified", "Bool", "verified"),
        _SET_BACK,
    ),
    row_key=("source", "symbol", "side", "received_at"),
    look_up="received_at",
    view="orderbook_depth FINAL",
    export_columns="source, symbol, base, quote, toString(side) AS side, received_at, prices,"
    " quantities, event_time, sequence, verified, monotonic_at",
    export_order="monotonic_at, side",
    workers=2,
    look_back_s=3_600,
)

_CHANGES = tuple(
    InsertColumn(f"{side}_{amounts}", "Array(Float64)", f"{side}_{amounts}")
    for side in ("bid", "ask")
    for amounts in ("prices", "quantities")
)

BOOK_UPDATES = Dataset(
    name="book_updates",
    message=message_format.BookUpdateMessage,
    topic="radar_book_updates",
    dead_letter_topic="radar_book_updates_dlq",
    group="clickhouse-book-updates-consumers-v1",
    table="book_updates",
    columns=(
        *_MARKET[:-1],
        InsertColumn("chain", "String", "chain"),
        InsertColumn("place", "UInt64", "place"),
        InsertColumn("is_snapshot", "Bool", "is_snapshot"),
        *_CHANGES,
        _RECEIVED_AT,
        InsertColumn("event_time", TIME_US, "event_time_us"),
        InsertColumn("sequence", "UInt64", "sequence"),
        InsertColumn("verified", "Bool", "verified"),
        _SET_BACK,
    ),
    row_key=("source", "symbol", "received_at", "chain", "place"),
    look_up="received_at",
    view="book_updates FINAL",
    export_columns="source, symbol, base, quote, chain, place, is_snapshot, bid_prices,"
    " bid_quantities, ask_prices, ask_quantities, received_at, event_time, sequence, verified,"
    " monotonic_at",
    export_order="monotonic_at, chain, place",
)

EXCHANGE_CANDLES = Dataset(
    name="exchange_candles",
    message=message_format.CandleMessage,
    topic="radar_exchange_candles",
    dead_letter_topic="radar_exchange_candles_dlq",
    group="clickhouse-exchange-candles-consumers-v1",
    table="exchange_candles",
    columns=(
        *_MARKET[:-1],
        InsertColumn("interval_s", "UInt32", "interval_s"),
        InsertColumn("resolution", "LowCardinality(String)", "resolution"),
        InsertColumn("time_zone", "LowCardinality(String)", "time_zone"),
        InsertColumn("open_time", TIME_US, "opened_at_us"),
        *(
            InsertColumn(name, "String", name)
            for name in ("open", "high", "low", "close", "volume")
        ),
        _RECEIVED_AT,
    ),
    row_key=("source", "symbol", "interval_s", "open_time"),
    look_up="open_time",
    view="exchange_candles FINAL",
    time="open_time",
    export_columns="source, symbol, base, quote, interval_s, resolution, time_zone, open_time,"
    " open, high, low, close, volume, received_at",
    export_order="interval_s, open_time",
)

GAPS = Dataset(
    name="gaps",
    message=message_format.GapMessage,
    topic="radar_gaps",
    dead_letter_topic="radar_gaps_dlq",
    group="clickhouse-gaps-consumers-v1",
    table="gaps",
    columns=(
        InsertColumn("source", "String", "source"),
        InsertColumn("record_kind", "String", "record_kind"),
        InsertColumn("cause", "String", "cause"),
        *_PERIOD,
        InsertColumn("repaired", "Bool", "repaired"),
        _RECEIVED_AT,
        InsertColumn("first_id", "UInt64", "first_id"),
        InsertColumn("last_id", "UInt64", "last_id"),
        InsertColumn("missing", "UInt64", "missing"),
    ),
    row_key=("source", "record_kind", "cause", "symbols", "began_at", "ended_at", "received_at"),
    look_up="received_at",
    view="gaps FINAL",
)

WATCHES = Dataset(
    name="watches",
    message=message_format.SessionMessage,
    topic="radar_watches",
    dead_letter_topic="radar_watches_dlq",
    group="clickhouse-watches-consumers-v1",
    table="watches",
    columns=(
        InsertColumn("source", "String", "source"),
        InsertColumn("record_kind", "String", "record_kind"),
        InsertColumn("connection", "String", "connection"),
        *_PERIOD,
        InsertColumn("end_reason", "String", "end_reason"),
        InsertColumn("interval_ms", "UInt32", "interval_ms"),
        _RECEIVED_AT,
        InsertColumn("both", "UInt64", "both"),
        InsertColumn("alone", "UInt64", "alone"),
    ),
    # A watch is published again while it grows: later, but with the same beginning.
    row_key=("source", "record_kind", "connection", "began_at"),
    look_up="began_at",
    view="watches FINAL",
)

FRAMES = Dataset(
    name="frames",
    message=message_format.FrameMessage,
    topic="radar_frames",
    dead_letter_topic="radar_frames_dlq",
    group="clickhouse-frames-consumers-v1",
    table="frames",
    columns=(
        InsertColumn("source", "LowCardinality(String)", "source"),
        InsertColumn("record_kind", "LowCardinality(String)", "record_kind"),
        InsertColumn("producer", "String", "producer"),
        InsertColumn("connection", "String", "connection"),
        InsertColumn("place", "UInt64", "place"),
        InsertColumn("part", "UInt32", "part"),
        InsertColumn("parts", "UInt32", "parts"),
        InsertColumn("what", "LowCardinality(String)", "what"),
        InsertColumn("symbols", "Array(String)", "symbols"),
        InsertColumn("path", "String", "path"),
        InsertColumn("fetch_symbol", "LowCardinality(String)", "fetch_symbol"),
        InsertColumn("fetch_tag", "UInt64", "fetch_tag"),
        _RECEIVED_AT,
        InsertColumn("received_at_ns", "Int64", "received_at_ns"),
        InsertColumn("monotonic_ns", "Int64", "monotonic_ns"),
        _SET_BACK,
        InsertColumn("frame", "String", "frame"),
    ),
    row_key=("source", "record_kind", "received_at", "connection", "place", "part"),
    look_up="received_at",
    view="frames FINAL",
)

# Each of these has producers of its own. Those of depth also record BOOK_UPDATES, all of them
# FRAMES; `radar backfill` reads EXCHANGE_CANDLES; the others are reports of producers.
RECORDED = {dataset.name: dataset for dataset in (TRADES, DEPTH)}
DATASETS = RECORDED | {
    dataset.name: dataset for dataset in (BOOK_UPDATES, EXCHANGE_CANDLES, FRAMES, GAPS, WATCHES)
}


def exported() -> list[Dataset]:
    """Return the datasets that `radar export` writes."""
    return [dataset for dataset in DATASETS.values() if dataset.export_columns]


def quiet() -> list[Dataset]:
    """Return the datasets that one worker process stores together."""
    return [dataset for dataset in DATASETS.values() if not dataset.workers]


def groups() -> dict[str, str]:
    """Return the group of the workers of each topic."""
    return {dataset.topic: dataset.group for dataset in DATASETS.values()}
