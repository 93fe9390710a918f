"""The meaning of every table, view and column: pure.

`radar shell` shows it, and docs/data-dictionary.md is made of it. Types and nullability come from
the database, so this module declares only meaning, unit and example. A test compares it with a
migrated database: a column without a meaning fails, and so does a meaning without a column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from radar.store import schema

BASE, QUOTE = "base currency", "quote currency"
QUOTE_PER_BASE = "quote per base"
S, MS, US, NS = "s", "ms", "µs", "ns"
SHARE, BASIS_POINTS = "share of 1", "basis points"
DAY_UTC = "day, UTC"
TIME_UTC = "time, UTC"


class Column(NamedTuple):
    """A column: its meaning, unit and an example of its values."""

    meaning: str
    unit: str = ""
    example: str = ""


@dataclass(frozen=True)
class Relation:
    """A table or view.

    Attributes:
        group: One of GROUPS.
        row: What one row is.
        arguments: Arguments of a view with parameters, as examples.
        columns: Columns whose meaning is not that of COLUMNS.
    """

    group: str
    row: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Column] = field(default_factory=dict)


MARKETS = "Trades and prices"
BOOKS = "Order books"
QUALITY = "Data quality"
RAW = "Raw frames"
INTERNAL = "Radar's own state"
GROUPS = (MARKETS, BOOKS, QUALITY, RAW, INTERNAL)

_SOURCE = Column("Exchange", "", "binance")
_SYMBOL = Column("Market, as the exchange writes it", "", "BTCUSDT")
_PRICE = Column("Price, exact", QUOTE_PER_BASE, "62286.42")

COLUMNS: dict[str, Column] = {
    # Market
    "source": _SOURCE,
    "exchange": Column("Exchange; the same as source", "", "binance"),
    "symbol": _SYMBOL,
    "base": Column("Base currency, in capitals", "", "BTC"),
    "quote": Column("Quote currency; TMN is Toman, also where the exchange sends Rial", "", "USDT"),
    "symbols": Column("Markets, as the exchange writes them", "", "['BTCUSDT','ETHUSDT']"),
    "record_kind": Column("Dataset: trades or depth", "", "trades"),
    "dataset": Column("Dataset: trades or depth", "", "trades"),
    "side": Column("Side: of a trade that of the taker, of a book bid or ask", "", "buy"),
    # Prices and amounts
    "price": _PRICE,
    "open": Column("Price of the first trade, exact", QUOTE_PER_BASE, "62286.42"),
    "high": Column("Highest price, exact", QUOTE_PER_BASE, "62310"),
    "low": Column("Lowest price, exact", QUOTE_PER_BASE, "62201.5"),
    "close": Column("Price of the last trade, exact", QUOTE_PER_BASE, "62217.69"),
    "vwap": Column("Volume-weighted price, cut at 18 places", QUOTE_PER_BASE, "62251.07"),
    "volume": Column("Sum of base amounts, exact", BASE, "12.0431"),
    "quote_volume": Column("Sum of quote amounts", QUOTE, "749701.1"),
    "trades": Column("Number of trades", "trades", "318"),
    "base_amount": Column("Traded amount, exact", BASE, "0.015"),
    "quote_amount": Column("price × base_amount, cut at 18 places", QUOTE, "934.2963"),
    # Books
    "prices": Column("Prices of the levels, best level first", QUOTE_PER_BASE, "[62286.4,62286]"),
    "quantities": Column("Quantities of the levels, in the order of prices", BASE, "[0.5,1.2]"),
    "levels": Column("Number of levels", "levels", "20"),
    "quantity": Column("Quantity at the price", BASE, "0.5"),
    "best_price": Column(
        "Price of the best level; 0: the side is empty", QUOTE_PER_BASE, "62286.4"
    ),
    "best_quantity": Column("Quantity of the best level; 0: the side is empty", BASE, "0.5"),
    "bid_prices": Column("Prices of bids, best level first", QUOTE_PER_BASE, "[62286.4,62286]"),
    "bid_quantities": Column("Quantities, in the order of bid_prices", BASE, "[0.5,1.2]"),
    "ask_prices": Column("Prices of asks, best level first", QUOTE_PER_BASE, "[62286.5,62287]"),
    "ask_quantities": Column("Quantities, in the order of ask_prices", BASE, "[0.4,2]"),
    "bid_received_at": Column(
        "Receipt of the newest snapshot of bids", TIME_UTC, "2026-11-20 09:31:07.112233"
    ),
    "ask_received_at": Column(
        "Receipt of the newest snapshot of asks", TIME_UTC, "2026-11-20 09:31:07.112233"
    ),
    "best_bid": Column("Highest price of a bid; NULL: there is none", QUOTE_PER_BASE, "62286.4"),
    "best_ask": Column("Lowest price of an ask; NULL: there is none", QUOTE_PER_BASE, "62286.5"),
    "mid": Column("Mean of best_bid and best_ask", QUOTE_PER_BASE, "62286.45"),
    "spread": Column("best_ask − best_bid", QUOTE_PER_BASE, "0.1"),
    "spread_bps": Column("Spread relative to mid", BASIS_POINTS, "0.016"),
    "bid_quantity": Column("Quantity of the best bid", BASE, "0.5"),
    "ask_quantity": Column("Quantity of the best ask", BASE, "0.4"),
    "bid_volume": Column("Quantity of bids within bps of mid", BASE, "14.2"),
    "ask_volume": Column("Quantity of asks within bps of mid", BASE, "11.9"),
    "bid_quote_volume": Column("Value of bids within bps of mid", QUOTE, "883000"),
    "ask_quote_volume": Column("Value of asks within bps of mid", QUOTE, "742000"),
    "imbalance": Column("(bids − asks) / (bids + asks), from −1 to 1", "", "0.088"),
    "buy_volume": Column("Sum of base amounts of buyers, exact", BASE, "6.64"),
    "sell_volume": Column("Sum of base amounts of sellers, exact", BASE, "5.39"),
    "buy_quote_volume": Column("Sum of quote amounts of buyers", QUOTE, "413581.2"),
    "sell_quote_volume": Column("Sum of quote amounts of sellers", QUOTE, "336119.9"),
    "buys": Column("Trades of buyers", "trades", "170"),
    "sells": Column("Trades of sellers", "trades", "148"),
    # Times
    "event_time": Column("Clock of the exchange", TIME_UTC, "2026-11-20 09:31:07.112"),
    "event_time_us": Column(
        "Clock of the exchange, as finely as it is sent", TIME_UTC, "2026-11-20 09:31:07.112233"
    ),
    "received_at": Column(
        "Clock of the producer when the frame arrived", TIME_UTC, "2026-11-20 09:31:07.140021"
    ),
    "inserted_at": Column(
        "Clock of ClickHouse when the row was stored", TIME_UTC, "2026-11-20 09:31:07.402"
    ),
    "set_back_us": Column(
        "By how much the producer's clock had been set back since its start", US, "0"
    ),
    "monotonic_at": Column(
        "received_at + set_back_us: it never goes back within one producer",
        TIME_UTC,
        "2026-11-20 09:31:07.140021",
    ),
    "open_time": Column("Begin of the interval", TIME_UTC, "2026-11-20 09:31:00"),
    "day": Column("Day", DAY_UTC, "2026-11-20"),
    "began_at": Column("Begin", TIME_UTC, "2026-11-20 09:30:12.5"),
    "ended_at": Column("End", TIME_UTC, "2026-11-20 09:30:19.75"),
    "checked_at": Column("When it was examined", TIME_UTC, "2026-11-20 10:05:00"),
    "recorded_at": Column(
        "Clock of ClickHouse when the row was written", TIME_UTC, "2026-11-20 09:31:07.402"
    ),
    # Proofs of the exchange
    "trade_id": Column(
        "ID of the trade: a hash of the exchange's ID, or of its content and occurrence",
        "",
        "0c1f6a0e-…",
    ),
    "native_id": Column("ID that the exchange gives the trade; empty: none", "", "4012345678"),
    "native_sequence": Column(
        "Consecutive number of the exchange: a hole proves a loss; 0: none", "", "4012345678"
    ),
    "sequence": Column(
        "Number that the exchange gives the state of the book; 0: none", "", "88123"
    ),
    "verified": Column(
        "A chain of numbers or a checksum of the exchange proves the book", "", "true"
    ),
    # Place in Kafka
    "kafka_partition": Column("Kafka partition of the message", "", "2"),
    "kafka_offset": Column("Kafka offset of the message", "", "918273"),
    "topic": Column("Kafka topic", "", "radar_trades"),
    "topic_id": Column(
        "ID that Kafka gave the topic: a topic that is created again has another", "", "sZ3…"
    ),
    "partition": Column("Kafka partition", "", "2"),
    "first_offset": Column("First offset of the range", "", "1000"),
    "last_offset": Column("Last offset of the range", "", "1999"),
    "recorded_by": Column("Command or worker that wrote the row", "", "radar skip"),
    # Sessions and gaps
    "connection": Column("Random name of the connection", "", "9f0c2a"),
    "cause": Column("Cause of the gap", "", "disconnected"),
    "repaired": Column("Backfill has fetched all trades of the gap", "", "true"),
    "backfilled": Column("The same as repaired", "", "true"),
    "missing": Column("Records that the exchange's numbers prove to be missing", "records", "0"),
    "end_reason": Column(
        "End of the session: open, rotated, stopped, closed, silent, overflow, backpressure,"
        " failed",
        "",
        "rotated",
    ),
    "interval_ms": Column("At most one snapshot of each side in this time; 0: all", MS, "7000"),
    "both": Column("Trades that a redundant connection delivered as well", "trades", "5120"),
    "alone": Column("Trades that no redundant connection delivered", "trades", "0"),
    "evidence": Column(
        "Evidence: numbers, candles, chain, backfill, sessions or none", "", "numbers"
    ),
}

_CANDLE_PERIOD = {"start": "'2026-11-20'", "end": "'2026-11-21'"}
_INTERVAL = {"interval_s": "60"} | _CANDLE_PERIOD
_ZONE = {"time_zone": "'Asia/Tehran'"} | _CANDLE_PERIOD
_ONE = {"source": "'binance'", "symbol": "'BTCUSDT'"}
_AT = {"at": "'2026-11-20 09:31:07'"}
_SUMMED_WEEK = {
    "week": Column("Monday of the week", "day, UTC", "2026-11-16"),
    "contents": Column("Hash of the trades that were summed", "", "3038515164764941…"),
    "attempt": Column("Which attempt to sum the week: a random number", "", "9183305…"),
    "summed_at": Column("When they were summed", TIME_UTC, "2026-11-24 03:10:00"),
}
_LOCAL_DAY = {"day": Column("Day in the time zone", "day", "2026-11-20")}
_DAY_RESULT = Column("equal, short, different or unknown", "", "equal")
_DAY_REASON = Column("Why it proves nothing; empty: it does", "", "recorded_less_than_a_day")
_STATE = Column("State: verified, repaired, unverifiable or missing", "", "verified")
_BOUGHT = Column("Amount that takers bought, exact", BASE, "5.4")
_SOLD = Column("Amount that takers sold, exact", BASE, "6.65")
_GAP_CAUSE = Column("Cause of the gap; not_recording: no producer ran", "", "disconnected")

RELATIONS: dict[str, Relation] = {
    "trades": Relation(MARKETS, "a trade, once"),
    "trades_master": Relation(
        MARKETS,
        "a delivery of a trade; deliveries of one trade collapse. Read the view trades instead",
        columns={
            "version": Column(
                "Of two deliveries the one with the greater version stays", "", "18446742…"
            ),
            "sequence": Column(
                "Order of all trades: event_time, monotonic_at, trade_id", "", "13659…"
            ),
        },
    ),
    "candles": Relation(MARKETS, "a market and an interval in which it traded", _INTERVAL),
    "market_candles": Relation(MARKETS, "an interval in which one market traded", _ONE | _INTERVAL),
    "summed_market_candles": Relation(
        MARKETS,
        "as market_candles, in quarters of an hour or longer; faster over many days",
        _ONE | {"interval_s": "3600"} | _CANDLE_PERIOD,
    ),
    "daily_candles": Relation(MARKETS, "a market and a day of a time zone", _ZONE, _LOCAL_DAY),
    "market_daily_candles": Relation(MARKETS, "a day of one market", _ONE | _ZONE, _LOCAL_DAY),
    "summed_market_daily_candles": Relation(
        MARKETS,
        "as market_daily_candles, faster over many days",
        _ONE | _ZONE,
        _LOCAL_DAY,
    ),
    "trade_sums": Relation(
        MARKETS,
        "a market and a quarter of an hour of a past week; the view summed_market_candles reads it",
        columns={"open_time": Column("Begin of the quarter", TIME_UTC, "2026-11-20 09:30:00")}
        | _SUMMED_WEEK
        | {
            "first_sequence": Column("Order of the first trade", "", "13659…"),
            "last_sequence": Column("Order of the last trade", "", "13659…"),
        },
    ),
    "summed_weeks": Relation(MARKETS, "a past week whose sums are complete", columns=_SUMMED_WEEK),
    "local_candles": Relation(
        MARKETS,
        "a market and an interval of a time zone's day, in which it traded",
        {"time_zone": "'Asia/Tehran'"} | _INTERVAL,
        _LOCAL_DAY,
    ),
    "covered_candles": Relation(
        MARKETS,
        "a candle, and how much of its interval was recorded",
        _INTERVAL,
        {
            "watched_share": Column(
                "Share in which a connection delivered the market; NULL: before the first session",
                SHARE,
                "1",
            ),
            "covered_share": Column(
                "Share that was recorded or backfilled; NULL: before the first session", SHARE, "1"
            ),
            "gaps": Column("Gaps that touch the interval", "gaps", "0"),
        },
    ),
    "order_flow": Relation(
        MARKETS,
        "a market and an interval: the volumes of buyers and sellers",
        _INTERVAL,
        {
            "buy_volume": _BOUGHT,
            "sell_volume": _SOLD,
            "delta": Column("buy_volume − sell_volume", BASE, "-1.25"),
            "buy_quote_volume": Column("Value of the takers' buys", QUOTE, "352000"),
            "sell_quote_volume": Column("Value of the takers' sells", QUOTE, "397701.1"),
            "buys": Column("Number of buys", "trades", "150"),
            "sells": Column("Number of sells", "trades", "168"),
            "imbalance": Column("delta by volume, from −1 to 1", "", "-0.1"),
        },
    ),
    "volume_profile": Relation(
        MARKETS,
        "a market and a price step: the volume that traded there",
        {"price_step": "10"} | _CANDLE_PERIOD,
        {
            "price": Column("Lower end of the step, exact", QUOTE_PER_BASE, "62280"),
            "buy_volume": _BOUGHT,
            "sell_volume": _SOLD,
        },
    ),
    "realised_volatility": Relation(
        MARKETS,
        "a market and an interval: its volatility, from the last prices of samples",
        {"sample_s": "60", "interval_s": "3600"} | _CANDLE_PERIOD,
        {
            "returns": Column("Number of returns", "returns", "60"),
            "realised_variance": Column("Sum of the squared log returns", "", "0.0000594"),
            "volatility": Column("Square root of it", "", "0.0077"),
            "annualised_volatility": Column("volatility of 365 such days", "", "0.7216"),
        },
    ),
    "vwap": Relation(MARKETS, "a market that traded in a period", _CANDLE_PERIOD),
    "usdt_tmn": Relation(
        MARKETS,
        "an exchange and an interval, with the price of USDT in Toman",
        _INTERVAL,
        {"price": Column("Volume-weighted price of USDTTMN", "Toman per USDT", "102345.6")},
    ),
    "exchange_candles": Relation(
        MARKETS,
        "a candle that the exchange computed; read it with FINAL",
        columns={
            "interval_s": Column("Nominal length; a day has 86400", S, "86400"),
            "resolution": Column("Interval, as the exchange writes it", "", "D"),
            "time_zone": Column(
                "Time zone of a candle of a day; empty: it is shorter", "", "Asia/Tehran"
            ),
            "received_at": Column("When radar fetched it", TIME_UTC, "2026-11-20 09:31:07.14"),
        },
    ),
    "markets": Relation(MARKETS, "a market: price, change and volume of 24 hours, spread, ages"),
    "markets_at": Relation(MARKETS, "a market as it was at a time", _AT),
    "orderbook_depth": Relation(
        BOOKS,
        "a snapshot of one side of a book; read it with FINAL",
        columns={
            "side": Column("Side of the book: bid or ask", "", "bid"),
            "event_time": Column(
                "Clock of the exchange; 1970: it sends none", TIME_UTC, "2026-11-20 09:31:07.112"
            ),
        },
    ),
    "order_book": Relation(BOOKS, "the newest book of a market"),
    "order_book_at": Relation(
        BOOKS, "the book of a market as it was known at a time", {"symbol": "'BTCUSDT'"} | _AT
    ),
    "book_depth_at": Relation(
        BOOKS,
        "the volumes within some basis points of the mid price",
        {"symbol": "'BTCUSDT'"} | _AT | {"bps": "20"},
    ),
    "spreads": Relation(
        BOOKS,
        "a market and an interval: its best prices at the end",
        _INTERVAL,
    ),
    "mid_prices": Relation(
        BOOKS,
        "a time, and the best prices of a market as they were known then",
        _ONE | {"interval_s": "60", "max_age_s": "60"} | _CANDLE_PERIOD,
        {
            "time": Column("Multiple of the interval", TIME_UTC, "2026-11-20 09:31:00"),
            "age_s": Column("Age of the older side", S, "3.5"),
        },
    ),
    "trades_with_book": Relation(
        BOOKS,
        "a trade of a market, with the book before it",
        _ONE | {"max_age_s": "60"} | _CANDLE_PERIOD,
        {
            "quoted_spread_bps": Column("Spread of the book", BASIS_POINTS, "0.016"),
            "effective_spread_bps": Column(
                "Twice the distance from mid; above 0: the taker paid it", BASIS_POINTS, "0.02"
            ),
            "book_age_s": Column("Age of the older side at the trade", S, "3.5"),
        },
    ),
    "effective_spreads": Relation(
        BOOKS,
        "an interval of a market: the spreads that takers paid",
        _ONE | {"interval_s": "3600", "max_age_s": "60"} | _CANDLE_PERIOD,
        {
            "effective_spread_bps_avg": Column(
                "Mean of the effective spread, by quote volume", BASIS_POINTS, "0.02"
            ),
            "quoted_spread_bps_avg": Column(
                "Mean of the quoted spread, by quote volume", BASIS_POINTS, "0.016"
            ),
            "book_age_s_avg": Column("Mean age of the book", S, "3.5"),
            "trades_with_book": Column("Trades whose book is known", "trades", "317"),
        },
    ),
    "book_updates": Relation(
        BOOKS,
        "an update of a book (BOOK_UPDATES=1); read it with FINAL",
        columns={
            "chain": Column("Random name of updates that follow one another", "", "7b3e…"),
            "place": Column("Place in the chain, from 0; a hole is a missing update", "", "412"),
            "is_snapshot": Column(
                "The levels are the whole book, not only the changed ones", "", "false"
            ),
            "bid_prices": Column("Changed bids, or all", QUOTE_PER_BASE, "[62286.4]"),
            "bid_quantities": Column("New quantity at each bid; 0 removes it", BASE, "[0]"),
            "ask_prices": Column("Changed asks, or all", QUOTE_PER_BASE, "[62286.5]"),
            "ask_quantities": Column("New quantity at each ask; 0 removes it", BASE, "[0.4]"),
            "event_time": Column(
                "Clock of the exchange; 1970: it sends none", TIME_UTC, "2026-11-20 09:31:07.112"
            ),
        },
    ),
    "book_at": Relation(
        BOOKS,
        "a level of the whole book at a time, rebuilt from its updates",
        {"exchange": "'binance'", "symbol": "'BTCUSDT'"} | _AT,
        {
            "side": Column("Side of the book: bid or ask", "", "bid"),
            "price": Column("Price of the level", QUOTE_PER_BASE, "62286.4"),
            "received_at": Column(
                "Receipt of the newest update", TIME_UTC, "2026-11-20 09:31:07.112233"
            ),
            "is_complete": Column("No update since the whole book is missing", "", "1"),
        },
    ),
    "coverage": Relation(
        QUALITY,
        "a day, dataset and market: how much of it was recorded",
        columns={
            "elapsed_s": Column(
                "Part of the day that is over, since recording of the market began", S, "86400"
            ),
            "watched_s": Column("Time in which a connection delivered the market", S, "86392.75"),
            "watched_share": Column("watched_s / elapsed_s", SHARE, "0.99992"),
            "gaps": Column("Number of gaps", "gaps", "1"),
            "gaps_s": Column("Length of the gaps", S, "7.25"),
            "repaired_gaps": Column("Gaps that backfill has closed", "gaps", "1"),
            "repaired_s": Column("Length of these gaps", S, "7.25"),
            "complete_share": Column("Share that was recorded or backfilled", SHARE, "1"),
            "in_progress": Column("The day is not over", "", "0"),
        },
    ),
    "interval_coverage": Relation(
        QUALITY,
        "an interval, dataset and market: how much of it was recorded",
        _INTERVAL,
        {
            "watched_share": Column(
                "Share in which a connection delivered the market", SHARE, "0.99992"
            ),
            "covered_share": Column("Share that was recorded or backfilled", SHARE, "1"),
            "gaps": Column("Gaps that touch the interval", "gaps", "1"),
        },
    ),
    "day_volumes": Relation(
        QUALITY,
        "an exchange's volume of 24 hours of a market, beside the recorded one",
        columns={
            "asked_at": Column("When the exchange was asked", TIME_UTC, "2026-11-20 09:31:07.14"),
            "claimed_volume": Column("Volume, as the exchange says", BASE, "10210.4"),
            "recorded_volume": Column("Least volume of the recorded trades", BASE, "10210.4"),
            "recorded_volume_most": Column("Greatest one: the 24 hours are vague", BASE, "10211"),
            "result": _DAY_RESULT,
            "reason": _DAY_REASON,
        },
    ),
    "exchange_day_volumes": Relation(
        QUALITY,
        "a comparison of an exchange's volume of 24 hours; the view day_volumes shows it",
        columns={
            "asked_at": Column("When the exchange was asked", TIME_UTC, "2026-11-20 09:31:07.14"),
            "inner_begin": Column(
                "The 24 hours began then or before", TIME_UTC, "2026-11-19 09:32"
            ),
            "inner_end": Column("They ended then or later", TIME_UTC, "2026-11-20 09:31"),
            "outer_begin": Column("They began then or later", TIME_UTC, "2026-11-19 09:31"),
            "outer_end": Column("They ended then or before", TIME_UTC, "2026-11-20 09:32"),
            "claimed": Column("Volume, as the exchange says", BASE, "10210.4"),
            "places": Column("Decimals that the exchange shows", "digits", "4"),
            "inner_volume": Column("Recorded volume of the inner time", BASE, "10210.4"),
            "outer_volume": Column("Recorded volume of the outer time", BASE, "10211"),
            "result": _DAY_RESULT,
            "reason": _DAY_REASON,
        },
    ),
    "symbol_gaps": Relation(
        QUALITY, "a gap of one market, also where no producer ran", columns={"cause": _GAP_CAUSE}
    ),
    "gaps": Relation(
        QUALITY,
        "a gap that a producer reported, of some markets; read it with FINAL",
        columns={
            "began_at": Column("Last frame before the gap", TIME_UTC, "2026-11-20 09:30:12.5"),
            "ended_at": Column("Subscribed, or read again", TIME_UTC, "2026-11-20 09:30:19.75"),
            "received_at": Column("When the gap was reported", TIME_UTC, "2026-11-20 09:30:20"),
            "first_id": Column("First missing number; 0: no numbers prove the loss", "", "0"),
            "last_id": Column("Last missing number", "", "0"),
        },
    ),
    "sessions": Relation(
        QUALITY,
        "a session: a time in which one connection delivered markets",
        columns={
            "received_at": Column("When the session was reported", TIME_UTC, "2026-11-20 09:31:00")
        },
    ),
    "watches": Relation(
        QUALITY,
        "a report of a session; the view sessions shows the newest",
        columns={
            "version": Column("Of two reports the one with the greater version stays", "", "3527…"),
            "received_at": Column("When the session was reported", TIME_UTC, "2026-11-20 09:31:00"),
        },
    ),
    "completeness": Relation(
        QUALITY,
        "a market, dataset and day: examined time by state",
        columns={
            "verified_s": Column(
                "Time in which the exchange's numbers prove each record", S, "86392.75"
            ),
            "repaired_s": Column("Time whose missing records were fetched", S, "7.25"),
            "unverifiable_s": Column("Time that no evidence proves or disproves", S, "0"),
            "missing_s": Column("Time in which records are missing", S, "0"),
            "own_s": Column("Part of the two before in which radar itself did not record", S, "0"),
            "examined_until": Column(
                "End of the newest examined interval", TIME_UTC, "2026-11-20 23:59:59"
            ),
        },
    ),
    "proof_intervals": Relation(
        QUALITY,
        "an interval of a market with its state, cause and evidence",
        columns={
            "state": _STATE,
            "cause": Column("Cause; empty: verified", "", "not_recording"),
            "is_own": Column("Radar itself did not record", "", "0"),
        },
    ),
    "redundancy": Relation(
        QUALITY,
        "an exchange and day with redundant connections",
        columns={
            "brought_by_both": Column("Trades that both connections delivered", "trades", "80121"),
            "brought_by_one": Column("Trades that only one delivered", "trades", "3"),
            "estimated_missed": Column(
                "Estimate of trades that none delivered", "trades", "0.00003"
            ),
        },
    ),
    "frames": Relation(
        RAW,
        "a part of a frame, byte for byte (RECORD_FRAMES)",
        columns={
            "producer": Column("Random name of the process", "", "4c1b…"),
            "place": Column("Place on the connection, from 0, without a hole", "", "17"),
            "part": Column("Part of the frame, from 0", "", "0"),
            "parts": Column("Number of parts of the frame", "parts", "1"),
            "what": Column("opened, received, sent or fetched", "", "received"),
            "symbols": Column("Markets of the connection, in the row opened", "", "['BTCUSDT']"),
            "path": Column("Of fetched: path and query of the request", "", "/api/v3/trades?…"),
            "fetch_symbol": Column("Of fetched: the market of the request", "", "BTCUSDT"),
            "fetch_tag": Column("Of fetched: the protocol's mark of the request", "", "0"),
            "received_at_ns": Column("received_at, Unix time", NS, "1795944667140021000"),
            "monotonic_ns": Column(
                "Monotonic clock of the machine since its start", NS, "81234567890"
            ),
            "frame": Column("The bytes", "bytes", '{"e":"trade",…}'),
            "is_sent": Column("The producer sent the frame", "", "false"),
        },
    ),
    "reparse_changes": Relation(
        RAW,
        "a row that radar reparse has corrected",
        columns={
            "change": Column("added, removed or changed", "", "changed"),
            "row_key": Column(
                "Trade ID, or exchange, market, side and receipt of a snapshot", "", "0c1f6a0e-…"
            ),
            "deleted": Column("Names of the deleted deliveries of the row; empty: none", "", ""),
            "run": Column(
                "Run of radar reparse; kafka_offset of the rows that it inserted", "", "1795944667"
            ),
            "changed_at": Column("When it was corrected", TIME_UTC, "2026-11-20 10:00:00"),
        },
    ),
    "proofs": Relation(
        INTERNAL,
        "the proof of an hour of a market; the view proof_intervals shows it",
        columns={
            "hour": Column("Begin of the hour", TIME_UTC, "2026-11-20 09:00:00"),
            "begins": Column("Begins of the intervals, Unix time", US, "[1795942800000000]"),
            "ends": Column(
                "Ends of the intervals, not included, Unix time", US, "[1795946400000000]"
            ),
            "states": Column(
                "States: verified, repaired, unverifiable or missing", "", "['verified']"
            ),
            "causes": Column("Causes; empty: verified", "", "['']"),
            "evidence": Column("Evidence of each interval", "", "['numbers']"),
            "missing": Column(
                "Records that numbers prove to be missing, by interval", "records", "[0]"
            ),
        },
    ),
    "recording_spans": Relation(
        INTERNAL,
        "a time in which a market was recorded, or known to be missing",
        columns={
            "what": Column("watch or gap", "", "watch"),
            "began_us": Column("Begin, Unix time", US, "1795942800000000"),
            "reported_us": Column("End of the newest report, Unix time", US, "1795946400000000"),
            "ended_us": Column(
                "End, Unix time; now if the session is open", US, "1795946400000000"
            ),
            "reason": Column("End of the session, or gap", "", "rotated"),
        },
    ),
    "recorded_markets": Relation(
        INTERNAL,
        "a market with records, and the time for which it is judged",
        columns={
            "first_us": Column("Begin of the first session, Unix time", US, "1795942800000000"),
            "last_us": Column("End of the last session or gap, Unix time", US, "1795946400000000"),
            "others_go_on": Column("Other markets of the dataset were recorded longer", "", "0"),
            "is_over": Column("The market is no longer recorded on purpose", "", "0"),
            "until_us": Column("End of the judged time, Unix time", US, "1795946400000000"),
        },
    ),
    "delivery_gaps": Relation(
        INTERNAL,
        "a range of Kafka offsets without rows; read it with FINAL",
        columns={
            "cause": Column(
                "unreadable, deleted_by_kafka, topic_recreated, log_truncated, group_moved or"
                " restored_database",
                "",
                "unreadable",
            ),
            "reason": Column(
                "Observation of the worker or the Kafka client", "", "Local: Bad message format"
            ),
            "explanation": Column("Words of the operator", "", "disk of broker 2 replaced"),
            "offsets": Column("Offsets in the range", "offsets", "1000"),
            "state": Column("open, acknowledged or repaired", "", "open"),
            "extent": Column("exact, or unknown: more offsets may be missing", "", "exact"),
        },
    ),
    "delivery_progress": Relation(
        INTERNAL,
        "the position of a Kafka partition",
        columns={
            "next_offset": Column(
                "Each offset before it is a row, a dead letter or in a delivery gap", "", "918274"
            ),
            "generation": Column(
                "Part of the names of insert blocks; rises with each restore", "", "1"
            ),
            "orders_to_us": Column(
                "Newest order of radar restore that the worker has taken, Unix time", US, "0"
            ),
            "version": Column("Rises with each row of the partition", "", "512"),
        },
    ),
    "restore_orders": Relation(
        INTERNAL,
        "an order of radar restore",
        columns={"ordered_at_us": Column("When it was ordered, Unix time", US, "1795944667140021")},
    ),
    "store_origin": Relation(
        INTERNAL,
        "whether the database holds real or simulated data",
        columns={
            "origin": Column("real or simulated", "", "real"),
            "exchange": Column("REST address of the exchange", "", "https://api.binance.com"),
            "since": Column("When the first worker wrote it", TIME_UTC, "2026-11-01 00:00:00"),
        },
    ),
    "schema_migrations": Relation(
        INTERNAL,
        "an applied migration",
        columns={
            "version": Column("Number of the migration", "", "20"),
            "name": Column("Name of the migration", "", "baseline"),
            "checksum": Column("Checksum of its text", "", "5f2b…"),
            "applied_at": Column("When it was applied", TIME_UTC, "2026-11-01 00:00:00"),
        },
    ),
}

_MARKET_COLUMNS = {
    "last_price": Column("Price of the newest trade, exact", QUOTE_PER_BASE, "62286.42"),
    "last_trade_at": Column("Time of the newest trade", TIME_UTC, "2026-11-20 09:31:07.112"),
    "change_24h": Column(
        "Change against the first trade of the 24 hours; 0.01 is 1 %", SHARE, "-0.0042"
    ),
    "high_24h": Column("Highest price of 24 hours, exact", QUOTE_PER_BASE, "63010"),
    "low_24h": Column("Lowest price of 24 hours, exact", QUOTE_PER_BASE, "61890.5"),
    "volume_24h": Column("Base amounts of the recorded trades of 24 hours", BASE, "10210.4"),
    "quote_volume_24h": Column(
        "Quote amounts of the recorded trades of 24 hours", QUOTE, "635000000"
    ),
    "trades_24h": Column("Recorded trades of 24 hours", "trades", "412000"),
    "book_received_at": Column(
        "Receipt of the newest snapshot of the book", TIME_UTC, "2026-11-20 09:31:05.2"
    ),
    "trade_age_s": Column("Age of the newest trade", S, "0.4"),
    "book_age_s": Column("Age of the newest snapshot of the book", S, "2.3"),
}
COLUMNS |= _MARKET_COLUMNS


def column(relation: str, name: str) -> Column | None:
    """Return the description of a column; None: there is none."""
    found = RELATIONS.get(relation)
    own = found.columns.get(name) if found else None
    return own or COLUMNS.get(name)


def call(name: str) -> str:
    """Return a relation as it stands behind FROM, with the arguments of its example."""
    found = RELATIONS.get(name)
    if found is None or not found.arguments:
        return name
    return f"{name}({', '.join(f'{key} = {value}' for key, value in found.arguments.items())})"


def example(name: str) -> str:
    """Return a query of a table or view, with values for all its parameters."""
    return f"SELECT * FROM {call(name)}"


def parameters(name: str) -> dict[str, str]:
    """Return the parameters of a view with their types; empty: it has none."""
    found = schema.parameters(schema.newest().views.get(name, ""))
    order = list(RELATIONS[name].arguments) if name in RELATIONS else []
    known = {each: found[each] for each in order if each in found}
    return known | found
