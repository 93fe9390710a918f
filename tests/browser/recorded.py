"""What a recorder that ran for days would have stored: for pages to show."""

import time
from itertools import pairwise
from random import Random

from market_data import insert, side
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES
from radar.decimals import canonical
from radar.records import BookSide, Gap, GapCause, SessionReport, Trade, TradeSide
from radar.store.client import Store
from radar.store.proofs import ProofRow, save

PRICES = {"USDTTMN": (82_000.0, 0), "DOGEUSDT": (0.1421, 5), "SHIBTMN": (0.9676, 4)}
DAY_S = 86_400
LEVELS = 30


def insert_trades(
    store: Store, symbol: str, *, count: int, every_s: float, price: float, decimals: int
) -> None:
    """Insert trades that end a second ago at about this price, and wander before that."""
    quote = "USDT" if symbol.endswith("USDT") else "TMN"
    chance = Random(symbol)
    now_s = time.time() - 1
    prefix = sum(symbol.encode())
    value = 900.0 if quote == "USDT" else 75_000_000.0
    values = []
    for n in range(count):
        at_us = int((now_s - n * every_s) * 1_000_000)
        made = Trade(
            source="wallex",
            symbol=symbol,
            base=symbol.removesuffix(quote),
            quote=quote,
            side=chance.choice((TradeSide.BUY, TradeSide.SELL)),
            price=canonical(f"{price:.{decimals}f}"),
            base_amount=canonical(f"{value * chance.expovariate(1) / price + 1e-8:.8f}"),
            event_time_ms=at_us // 1_000_000 * 1000,
            received_at_us=at_us,
        )
        values.append(message_format.encode_trade(made, f"{prefix:08x}{n:024x}"))
        price *= 1 + chance.gauss(0, 0.0004)
    insert(store, TRADES, values, f"{symbol} {count}")


def insert_book(store: Store, symbol: str, middle: float, decimals: int) -> None:
    """Insert both sides of a book around a price, received now."""
    at_us = time.time_ns() // 1000
    tick = max(middle * 0.0003, 10**-decimals)
    sides = [
        side(
            which,
            sorted(
                {round(middle + sign * tick * (n + 0.5), decimals) for n in range(LEVELS)},
                reverse=sign < 0,
            ),
            at_us,
            symbol,
        )
        for which, sign in ((BookSide.BID, -1), (BookSide.ASK, 1))
    ]
    insert(store, DEPTH, [message_format.encode_depth(each) for each in sides], f"{symbol} {at_us}")


def insert_watches_and_gaps(store: Store, symbols: tuple[str, ...], days: int) -> None:
    """Insert that all was watched for days, but for one gap of each cause."""
    now_us = time.time_ns() // 1000
    first_us = now_us - days * DAY_S * 1_000_000
    causes = list(GapCause)
    apart_us = (now_us - first_us) / len(causes)
    edges = [
        first_us,
        *(now_us - int((n + 0.5) * apart_us) for n in reversed(range(len(causes)))),
        now_us,
    ]
    watches, gaps = [], []
    for dataset in ("trades", "depth"):
        for n, (begins_us, ends_us) in enumerate(pairwise(edges)):
            lasted_us = (n + 1) * 90 * 1_000_000
            watches.append(
                SessionReport(
                    source="wallex", record_kind=dataset, connection=f"{n:02x}", symbols=symbols,
                    began_at_us=begins_us + (lasted_us if n else 0), ended_at_us=ends_us,
                    end_reason="closed", interval_ms=0, received_at_us=ends_us,
                )
            )  # fmt: skip
            if n:
                gaps.append(
                    Gap(
                        source="wallex", record_kind=dataset, cause=causes[n - 1],
                        symbols=symbols[: n or 1], began_at_us=begins_us,
                        ended_at_us=begins_us + lasted_us,
                        repaired=dataset == "trades" and n % 2 == 0,
                        received_at_us=begins_us + lasted_us,
                    )
                )  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(each) for each in watches], "watches")
    insert(store, GAPS, [message_format.encode_gap(each) for each in gaps], "gaps")


def insert_proofs(store: Store) -> None:
    """Insert that an hour of yesterday was examined, with each state for a quarter of it."""
    now_us = time.time_ns() // 1000
    hour_s = now_us // (DAY_S * 1_000_000) * DAY_S - 4 * 3600
    edges = [(hour_s + n * 900) * 1_000_000 for n in range(5)]
    proof = ProofRow(
        "wallex", "trades", "USDTTMN", hour_s, edges[:-1], edges[1:],
        ["verified", "repaired", "unverifiable", "missing"],
        ["", "disconnected", "not_recording", "candle"], ["candles"] * 4, [0, 0, 0, 5],
    )  # fmt: skip
    save(store, [proof], now_us)


def insert_days(store: Store) -> None:
    """Insert three markets, their books, what was watched and what was missed."""
    for symbol, (price, decimals) in PRICES.items():
        insert_trades(store, symbol, count=1500, every_s=47, price=price, decimals=decimals)
        insert_book(store, symbol, price, decimals + 1)
    insert_watches_and_gaps(store, tuple(PRICES), 6)
    insert_proofs(store)
