"""Recorded data for notebooks: methods for each kind of record, and queries.

    from radar.client import Radar

    with Radar() as radar:
        candles = radar.candles("USDTTMN", "1h", "-7d").to_pandas()
        radar.trades(["binance:BTCUSDT", "okx:BTC-USDT"], "-90d").to_parquet("trades.parquet")

Every method returns an `Answer`. It reads the rows when you ask for them: all at once as Arrow,
pandas or Polars, or in portions that fit in memory.
"""

from radar.client.answer import Answer
from radar.client.parameters import Interval, Moment, utc_text
from radar.client.radar import Radar

__all__ = ["Answer", "Interval", "Moment", "Radar", "utc_text"]
