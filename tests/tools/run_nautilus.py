"""Run a strategy without orders over a catalogue, in the environment of nautilus_trader.

Argument: the folder. Prints a JSON object by instrument ID.
"""

import json
import sys
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.enums import AccountType, BookType, OmsType
from nautilus_trader.model.objects import Money
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.strategy import Strategy


class Counter(Strategy):  # type: ignore[misc]
    """Counts records and keeps the newest prices."""

    def __init__(self, instruments: list[Any]) -> None:
        super().__init__()
        self.instruments = instruments
        self.found: dict[str, dict[str, Any]] = {
            each.id.value: {"trades": 0, "deltas": 0, "last_price": None} for each in instruments
        }

    def on_start(self) -> None:
        for each in self.instruments:
            self.subscribe_trade_ticks(each.id)
            self.subscribe_order_book_deltas(each.id, book_type=BookType.L2_MBP)

    def on_trade_tick(self, tick: Any) -> None:
        facts = self.found[tick.instrument_id.value]
        facts["trades"] += 1
        facts["last_price"] = str(tick.price)

    def on_order_book_deltas(self, deltas: Any) -> None:
        self.found[deltas.instrument_id.value]["deltas"] += len(deltas.deltas)

    def on_stop(self) -> None:
        for each in self.instruments:
            book = self.cache.order_book(each.id)
            self.found[each.id.value] |= {
                "best_bid": str(book.best_bid_price()),
                "best_ask": str(book.best_ask_price()),
                "levels": [len(book.bids()), len(book.asks())],
            }


def main() -> None:
    catalog = ParquetDataCatalog(sys.argv[1])
    instruments = catalog.instruments()
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(log_level="ERROR")))
    for venue in {each.id.venue for each in instruments}:
        quote = next(each for each in instruments if each.id.venue == venue).quote_currency
        engine.add_venue(
            venue=venue,
            oms_type=OmsType.NETTING,
            account_type=AccountType.CASH,
            starting_balances=[Money(1, quote)],
            book_type=BookType.L2_MBP,
        )
    for each in instruments:
        engine.add_instrument(each)
        # One by one, because the engine looks at the first record only.
        engine.add_data(catalog.trade_ticks(instrument_ids=[each.id.value]))
        engine.add_data(catalog.order_book_deltas(instrument_ids=[each.id.value]))
    strategy = Counter(instruments)
    engine.add_strategy(strategy)
    engine.run()
    engine.dispose()
    print(json.dumps(strategy.found))


main()
