"""Run a strategy without orders over files of hftbacktest, in the environment that has it.

Arguments: of each file the path, the tick size and the lot size. Prints a JSON list.
"""

import json
import sys
from typing import Any

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data.validation import validate_event_order
from hftbacktest.types import EXCH_EVENT, LOCAL_EVENT, TRADE_EVENT, event_dtype

STEP_NS = 100_000_000
LATENCY_NS = 10_000_000


def asset(path: str, tick_size: float, lot_size: float) -> Any:
    return (
        BacktestAsset()
        .data([path])
        .linear_asset(1.0)
        .constant_order_latency(LATENCY_NS, LATENCY_NS)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick_size)
        .lot_size(lot_size)
        .last_trades_capacity(10_000)
    )


def check(path: str) -> dict[str, Any]:
    """Check the file as hftbacktest's converters do; return its facts."""
    data = np.load(path)["data"]
    assert data.dtype == event_dtype, data.dtype
    validate_event_order(data)
    for_exchange, for_receiver = (data["ev"] & flag == flag for flag in (EXCH_EVENT, LOCAL_EVENT))
    assert (for_exchange | for_receiver).all()
    assert for_exchange.sum() == for_receiver.sum()
    assert (data["local_ts"] >= data["exch_ts"]).all()
    is_trade = data["ev"] & 0xFF == TRADE_EVENT
    return {"events": int(for_receiver.sum()), "trades": int((is_trade & for_receiver).sum())}


def main() -> None:
    words = sys.argv[1:]
    files = [
        (path, float(tick), float(lot))
        for path, tick, lot in zip(words[::3], words[1::3], words[2::3], strict=True)
    ]
    found = [check(path) for path, *_ in files]
    backtest = HashMapMarketDepthBacktest([asset(*each) for each in files])
    seen = [0] * len(files)
    steps = 0
    going_on = True
    while going_on:
        going_on = backtest.elapse(STEP_NS) == 0
        steps += 1
        for number in range(len(files)):
            seen[number] += len(backtest.last_trades(number))
        backtest.clear_last_trades(-1)
    for number, facts in enumerate(found):
        depth = backtest.depth(number)
        facts |= {
            "steps": steps,
            "seen_trades": seen[number],
            "best_bid": depth.best_bid,
            "best_ask": depth.best_ask,
        }
    backtest.close()
    print(json.dumps(found))


main()
