"""Which numbers and candles of a period are stored, as a real ClickHouse answers."""

import time

import pytest

from market_data import insert
from radar.codec import message_format
from radar.datasets import TRADES
from radar.records import Trade, TradeSide
from radar.store.client import Store
from radar.store.history import (
    MissingNumbers,
    Numbers,
    missing_numbers,
    stored_candles,
    stored_numbers,
)

BEGIN_US = 1_784_000_000_000_000
MINUTE_US = 60_000_000


def time_us(number: int) -> int:
    return BEGIN_US + number * MINUTE_US


def fill(store: Store, numbers: list[int], symbol: str = "BTCUSDT") -> None:
    values = [
        message_format.encode_trade(
            Trade(
                source="binance",
                symbol=symbol,
                base="BTC",
                quote="USDT",
                side=TradeSide.BUY,
                price="1",
                base_amount="1",
                event_time_ms=time_us(number) // 1000,
                received_at_us=time.time_ns() // 1000,  # rows expire by it
                native_id=str(number),
                sequence=number,
                event_time_us=time_us(number),
            ),
            f"{number:032x}",
        )
        for number in numbers
    ]
    insert(store, TRADES, values, f"{symbol} {numbers}")


def range_of(first: int, last: int) -> Numbers:
    return Numbers("binance", "BTCUSDT", first, last, time_us(first), time_us(last + 1))


@pytest.mark.parametrize(
    ("stored", "missing"),
    [
        ([], [MissingNumbers(10, 20, time_us(10))]),
        (list(range(10, 21)), []),
        ([10], [MissingNumbers(11, 20, time_us(10))]),
        ([20], [MissingNumbers(10, 19, time_us(10))]),
        (
            [12, 13, 17],
            [
                MissingNumbers(10, 11, time_us(10)),
                MissingNumbers(14, 16, time_us(13)),
                MissingNumbers(18, 20, time_us(17)),
            ],
        ),
    ],
)
def test_missing_numbers_are_the_ranges_without_rows(
    stored: list[int], missing: list[MissingNumbers], store: Store
) -> None:
    # Others of the market and another market do not count.
    fill(store, [1, 9, 21, 30])
    fill(store, [11, 15], "ETHUSDT")
    if stored:
        fill(store, stored)
        fill(store, stored[:1])  # delivered twice
    assert missing_numbers(store, range_of(10, 20), 100) == missing
    assert missing_numbers(store, range_of(10, 20), 1) == missing[:1]
    assert stored_numbers(store, range_of(10, 20)) == (len(stored), min(stored, default=0))


def test_numbers_begin_at_1(store: Store) -> None:
    fill(store, [2])
    assert missing_numbers(store, range_of(1, 2), 10) == [MissingNumbers(1, 1, time_us(1))]


def test_without_candles_none_is_stored(store: Store) -> None:
    assert stored_candles(store, "wallex", "BTCTMN", 60, BEGIN_US, BEGIN_US + 10**9) == set()
