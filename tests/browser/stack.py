"""A whole pipeline with a dashboard and some history, for programs that look at it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from browser.recorded import insert_trades, insert_watches_and_gaps
from dashboards import KNOWS, TOKEN
from ports import free_port
from radar.settings import load
from radar.store.client import Store
from support import Process, eventually, radar

HISTORY_TRADES, EVERY_S = 9000, 20.0  # two days
MARKETS = 12  # that get a history


def chromium_arguments() -> list[str]:
    """Return what Chromium must be told to run here."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


@contextmanager
def running(trades_per_second: float, depth_per_second: float, markets: int) -> Iterator[str]:
    """Run it with two days of history; provide the dashboard's address."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ports = {each: free_port() for each in ("kafka", "clickhouse", "dashboard")}
        process = Process(
            radar(
                *("up", "--simulate", "--markets", str(markets)),
                *("--trades-per-second", str(trades_per_second)),
                *("--depth-per-second", str(depth_per_second)),
            ),
            directory / "up.log",
            RADAR_DATA_DIR=str(directory / "data"),
            KAFKA_BROKER=f"127.0.0.1:{ports['kafka']}",
            CLICKHOUSE_PORT=str(ports["clickhouse"]),
            DASHBOARD_PORT=str(ports["dashboard"]),
            DASHBOARD_TOKEN=TOKEN,
            DEPTH_INTERVAL_SECONDS="1",
        )
        url = f"http://127.0.0.1:{ports['dashboard']}"
        try:
            eventually(lambda: len(_markets(url)) >= markets // 2, "markets are there", 180, 0.5)
            _insert_history(url, ports["clickhouse"], directory / "data")
            yield url
        finally:
            process.end()


def _markets(url: str) -> list[dict[str, float]]:
    try:
        answer = httpx.get(f"{url}/api/markets", headers=KNOWS, trust_env=False, timeout=20)
    except httpx.TransportError:
        return []
    return answer.json()["markets"] if answer.is_success else []


def _insert_history(url: str, clickhouse_port: int, data_dir: Path) -> None:
    store = Store(load(clickhouse_port=clickhouse_port, radar_data_dir=data_dir))
    priced = [each for each in _markets(url) if each["last_price"]]
    for each in priced[:MARKETS]:
        price = each["last_price"]
        decimals = max(0, 4 - len(str(int(price)))) if price >= 1 else 8
        insert_trades(
            store,
            str(each["symbol"]),
            count=HISTORY_TRADES,
            every_s=EVERY_S,
            price=price,
            decimals=decimals,
        )
    insert_watches_and_gaps(store, tuple(str(each["symbol"]) for each in priced), 6)
    store.close()
