"""Reconciliation: compare the trades that the simulated exchange sent with the stored ones."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from radar.checks.ledger import trades
from radar.codec.message_format import MAX_TIME_MS
from radar.errors import RadarError
from radar.store.client import Store
from radar.store.queries import checks as queries
from radar_simulator import LedgerTrade

WINDOW_TRADES = 50_000

TradeFacts = tuple[str, str, Decimal, Decimal, str]  # symbol, time, price, amount, side


@dataclass(frozen=True)
class TradesReconciliation:
    """The stored trades of a run against the exchange's ledger, as multisets."""

    sent: int  # by the exchange, over a connection that was up
    stored: int
    fetched: int  # stored trades that only REST or a resend served
    lost: int  # sent but not stored
    unexpected: int  # stored more often than the exchange served them

    def __add__(self, other: "TradesReconciliation") -> "TradesReconciliation":
        """Return the sum of two reconciliations, which have no second in common."""
        return TradesReconciliation(
            sent=self.sent + other.sent,
            stored=self.stored + other.stored,
            fetched=self.fetched + other.fetched,
            lost=self.lost + other.lost,
            unexpected=self.unexpected + other.unexpected,
        )


@dataclass(frozen=True)
class DepthReconciliation:
    """The stored depth snapshots of a run."""

    books: int  # symbols and sides that the exchange sent
    books_stored: int
    snapshots: int
    longest_interval_s: float  # between two snapshots of one book

    def __add__(self, other: "DepthReconciliation") -> "DepthReconciliation":
        """Return the sum for two exchanges."""
        return DepthReconciliation(
            books=self.books + other.books,
            books_stored=self.books_stored + other.books_stored,
            snapshots=self.snapshots + other.snapshots,
            longest_interval_s=max(self.longest_interval_s, other.longest_interval_s),
        )


def reconcile_trades(
    store: Store, ledger: Path, since_us: int, before: str = "", *, exchange: str
) -> TradesReconciliation:
    """Compare the trades received since a Unix time with the ledger's file; blocks.

    It compares in windows of some seconds of the exchange, so that memory is bounded.

    Args:
        store: The database.
        ledger: The file.
        since_us: Unix time in microseconds.
        before: A second of the exchange as in the ledger; only trades before it are compared.
        exchange: Name of the exchange that the simulated one imitates.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The tables are missing.
        RadarError: The ledger cannot be read.
        OSError: The same.
    """
    found = compare_trades([], Counter())
    begins = ""
    for window, ends in _windows(trades(ledger), before):
        found += compare_trades(
            window, stored_trades(store, since_us, begins, ends, exchange=exchange)
        )
        begins = ends
    return found


def _windows(trades: Iterable[LedgerTrade], before: str) -> Iterator[tuple[list[LedgerTrade], str]]:
    """Divide trades where the second changes; yield each part and the second that ends it."""
    window: list[LedgerTrade] = []
    begins = newest = ""
    for trade in trades:
        second = second_of(trade.timestamp)
        if before and second >= before:
            continue
        if second < begins:
            raise RadarError(f"the ledger goes back in time: {begins}, {trade.timestamp}")
        if len(window) >= WINDOW_TRADES and second > newest:
            yield window, second
            window, begins = [], second
        window.append(trade)
        newest = max(newest, second)
    yield window, before


def second_of(timestamp: str) -> str:
    """Return the second of a time in the ledger, without its fraction."""
    return f"{timestamp[:19]}Z"


def compare_trades(
    ledger: Iterable[LedgerTrade], stored: Counter[TradeFacts]
) -> TradesReconciliation:
    """Compare as multisets: every sent trade is stored, and no trade that was not served."""
    ledger = list(ledger)
    sent = Counter(_facts(trade) for trade in ledger if trade.sent)
    possible = Counter(_facts(trade) for trade in ledger if trade.possible)
    return TradesReconciliation(
        sent=sent.total(),
        stored=stored.total(),
        fetched=((stored & possible) - sent).total(),
        lost=(sent - stored).total(),
        unexpected=(stored - possible).total(),
    )


def stored_trades(
    store: Store, since_us: int, begins: str = "", ends: str = "", *, exchange: str = "wallex"
) -> Counter[TradeFacts]:
    """Count the trades received since a Unix time, through the view that readers use; blocks.

    Args:
        store: The database.
        since_us: Unix time in microseconds.
        begins: The first second of the exchange that counts, as in the ledger; empty: any.
        ends: The first one that no longer counts; empty: none.
        exchange: Name of the exchange.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The tables are missing.
    """
    rows = store.rows(
        queries.STORED_TRADES,
        {
            "exchange": exchange,
            "since": since_us,
            "begins": _milliseconds(begins) if begins else 0,
            "ends": _milliseconds(ends) if ends else MAX_TIME_MS,
        },
    )
    return Counter(
        {(row[0], _shortest(row[1]), row[2], row[3], row[4]): int(row[5]) for row in rows}
    )


def reconcile_depth(
    store: Store, since_us: int, channels: int, *, exchange: str
) -> DepthReconciliation:
    """Count the depth snapshots received since a Unix time; blocks.

    Args:
        store: The database.
        since_us: Unix time in microseconds.
        channels: Symbols and sides that the exchange sent.
        exchange: Name of the exchange.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The tables are missing.
    """
    ((books, snapshots, longest_us),) = store.rows(
        queries.STORED_BOOKS,
        {"since": since_us, "exchange": exchange},
    )
    return DepthReconciliation(
        # A quiet exchange still sends the books of a subscription that it has just got.
        books=max(channels, int(books)),
        books_stored=int(books),
        snapshots=int(snapshots or 0),
        longest_interval_s=int(longest_us or 0) / 1e6,
    )


def _milliseconds(second: str) -> int:
    return int(datetime.fromisoformat(second).timestamp()) * 1000


def _shortest(time: str) -> str:
    """Return a time in UTC without the zeros at its end, as exchanges write it."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def _facts(trade: LedgerTrade) -> TradeFacts:
    return (
        trade.symbol,
        _shortest(trade.timestamp),
        Decimal(trade.price),
        Decimal(trade.quantity),
        str(trade.side),
    )
