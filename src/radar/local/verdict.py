"""Compares what the simulated exchange sent with what is stored."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from radar.local.simulator import LedgerTrade
from radar.store.client import Store

TradeFacts = tuple[str, str, Decimal, Decimal, str]  # symbol, second, price, amount, side


@dataclass(frozen=True)
class TradesVerdict:
    """The stored trades of a run against the exchange's ledger, as multisets."""

    sent: int  # by the exchange, over a connection that was up
    stored: int
    fetched: int  # stored trades that only REST or a resend served
    lost: int  # sent but not stored
    unexpected: int  # stored more often than the exchange served them


@dataclass(frozen=True)
class DepthVerdict:
    """The stored depth snapshots of a run."""

    books: int  # symbols and sides that the exchange sent
    books_stored: int
    snapshots: int
    longest_interval_s: float  # between two snapshots of one book


def compare_trades(ledger: list[LedgerTrade], stored: Counter[TradeFacts]) -> TradesVerdict:
    """Compare, twin for twin: everything sent is stored, nothing else than served is."""
    sent = Counter(_facts(trade) for trade in ledger if trade.sent)
    possible = Counter(_facts(trade) for trade in ledger if trade.possible)
    return TradesVerdict(
        sent=sent.total(),
        stored=stored.total(),
        fetched=((stored & possible) - sent).total(),
        lost=(sent - stored).total(),
        unexpected=(stored - possible).total(),
    )


def stored_trades(store: Store, since_us: int) -> Counter[TradeFacts]:
    """Count the trades received since a Unix time, through the view that readers use; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The tables are missing.
    """
    rows = store.rows(
        "SELECT symbol, formatDateTime(event_time, '%Y-%m-%dT%H:%i:%SZ', 'UTC'), price,"
        " base_amount, toString(side), count() FROM trades"
        " WHERE received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        " GROUP BY ALL",
        {"since": since_us},
    )
    return Counter({(row[0], row[1], row[2], row[3], row[4]): int(row[5]) for row in rows})


def depth_verdict(store: Store, since_us: int, channels: int) -> DepthVerdict:
    """Look at the depth snapshots received since a Unix time; blocks.

    Args:
        store: The database.
        since_us: Unix time in microseconds.
        channels: Symbols and sides that the exchange sent.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The tables are missing.
    """
    ((books, snapshots, longest_us),) = store.rows(
        "SELECT count(), sum(n), max(longest) FROM (SELECT count() AS n,"
        " arrayMax(arrayPushFront(arrayDifference(arraySort(groupArray("
        "toUnixTimestamp64Micro(received_at)))), 0)) AS longest FROM orderbook_depth FINAL"
        " WHERE received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        " GROUP BY source, symbol, side)",
        {"since": since_us},
    )
    return DepthVerdict(
        books=channels,
        books_stored=int(books),
        snapshots=int(snapshots or 0),
        longest_interval_s=int(longest_us or 0) / 1e6,
    )


def _facts(trade: LedgerTrade) -> TradeFacts:
    return (
        trade.symbol,
        trade.timestamp,
        Decimal(trade.price),
        Decimal(trade.quantity),
        str(trade.side),
    )
