"""Options of the simulated exchange."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from radar_simulator.dialects import NAMES
from radar_simulator.errors import InvalidOption
from radar_simulator.faults import Fault
from radar_simulator.listings import MAX_SYMBOLS
from radar_simulator.market import RECENT_TRADES

PAST_ORDER = 3
"""Trades of the time before the start that happen at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """How the simulated exchange behaves."""

    exchange: str = "wallex"
    """Exchange whose protocol it speaks: `wallex`, or one of `dialects.NAMES`."""

    host: str = "127.0.0.1"
    """Address to listen on; every client that reaches it can inject faults."""

    port: int = 0
    """TCP port of REST and WebSocket; 0 picks a free one."""

    seed: int = 1
    """Seed of the market model."""

    symbols: int = 60
    """Spot markets, 1 to 400, half of them in TMN; two that are not spot come on top.

    Other exchanges than Wallex list the first ones of up to about 20.
    """

    trades_per_s: float = 50.0
    """Trades a second over all markets."""

    depth_per_s: float = 200.0
    """Depth snapshots a second over all markets and sides, subscribed or not."""

    twin_share: float = 0.05
    """About the share of trades that repeat the one before exactly, 0 to 0.5."""

    skew: float = 1.0
    """How unequal the markets are: 0 all trade alike, 1 is Zipf's law."""

    clock_ahead_s: float = 0.0
    """By how many seconds its clock is ahead of this machine's; negative: behind."""

    recent_trades: int = RECENT_TRADES
    """Newest trades per market that REST returns."""

    history_trades: int = 0
    """Trades that had happened before the start, over all markets."""

    history_s: float = 86_400.0
    """The seconds before the start in which they happened, evenly."""

    tick_ms: float = 10.0
    """Period of the market in milliseconds; a tick's frames leave in one write."""

    resend_count: int = 0
    """Newest trades sent again, oldest first, on each new subscription to a trade channel."""

    ping_interval_s: float = 20.0
    """Period of the exchange's own pings in seconds; 0 sends none."""

    pong_timeout_s: float = 30.0
    """A connection without an answer to a ping for so many seconds is closed; 0 never closes."""

    connection_max_age_s: float = 1_800.0
    """Life of a connection in seconds; 0 has no limit."""

    send_buffer_bytes: int = 4 * 1024 * 1024
    """A connection with more than this waiting to be sent is too slow and is closed (1008)."""

    ledger_path: Path | None = None
    """File that the ledger is appended to, NDJSON; None keeps it in memory only."""

    ledger_memory_trades: int = 1_000_000
    """Trades of the ledger kept in memory; the oldest are forgotten first."""

    faults: tuple[Fault, ...] = ()
    """Faults applied at start; those with `every_s` first after that time, then regularly."""

    def past(self, now_us: int) -> Iterator[tuple[int, int]]:
        """Yield the times of the trades before the start (Unix time), and how many happen then."""
        orders = -(-self.history_trades // PAST_ORDER)
        for n in range(orders):
            left = self.history_trades - n * PAST_ORDER
            # The last ones come before the first regular trade.
            ago_us = int(self.history_s * 1e6 * (orders - n) / orders)
            # At the beginning of a second, so that no order reaches into the next one.
            yield (now_us - ago_us) // 1_000_000 * 1_000_000 + 1_000, min(PAST_ORDER, left)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InvalidOption: If an option is out of its range.
        """
        if self.exchange not in ("wallex", *NAMES):
            known = ", ".join(("wallex", *NAMES))
            raise InvalidOption(f"exchange must be one of {known}, got {self.exchange!r}")
        limits: tuple[tuple[str, float, float], ...] = (
            ("port", 0, 65_535),
            ("symbols", 1, MAX_SYMBOLS),
            ("trades_per_s", 0, 1e6),
            ("depth_per_s", 0, 1e6),
            ("twin_share", 0, 0.5),
            ("skew", 0, 3),
            ("clock_ahead_s", -1e8, 1e8),
            ("recent_trades", 1, 100_000),
            ("history_trades", 0, 1_000_000),
            ("history_s", 1, 1e8),
            ("tick_ms", 1, 1_000),
            ("resend_count", 0, 10_000),
            ("ping_interval_s", 0, 3_600),
            ("pong_timeout_s", 0, 3_600),
            ("connection_max_age_s", 0, 1e9),
            ("send_buffer_bytes", 1, 1e9),
            ("ledger_memory_trades", 1, 1e9),
        )
        for name, least, most in limits:
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidOption(f"{name} must lie in {least}..{most:g}, got {value}")
