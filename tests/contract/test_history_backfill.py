"""Past trades and candles, fetched by `radar backfill` with a real broker, worker and store."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from cases import exchange_cases
from producing import Topic
from radar.datasets import EXCHANGE_CANDLES, GAPS, TRADES
from radar.decimals import canonical
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from radar_simulator import LedgerTrade, Simulator, SimulatorOptions, simulator
from support import Process, eventually, radar, run_command
from workers import letters, stored

SYMBOLS = {
    "binance": "BTCUSDT",
    "coinbase": "BTC-USD",
    "kraken": "BTC/USD",
    "okx": "BTC-USDT",
}
CANDLE_SYMBOLS = {
    "binance": "BTCUSDT",
    "coinbase": "BTC-USD",
    "kraken": "BTC/USD",
    "nobitex": "BTCIRT",
    "okx": "BTC-USDT",
    "wallex": "BTCTMN",
}
TEHRAN = ZoneInfo("Asia/Tehran")


class Times(NamedTuple):
    """A period in whole seconds."""

    begin: datetime
    end: datetime

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options of the command."""
        return ("--from", self.begin.isoformat(), "--to", self.end.isoformat())


class Exchange:
    """A simulated exchange that runs in a thread; its trades are the truth."""

    def __init__(self, sim: Simulator, loop: asyncio.AbstractEventLoop) -> None:
        self.sim = sim
        self._loop = loop
        self.asked: list[tuple[float, int]] = []  # when, and the status of the answer

    def do(self, action: Callable[[], object]) -> None:
        """Run an action in the thread of the exchange."""

        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def watch(self) -> None:
        """Note every request of REST from now on."""
        exchange: Any = self.sim._exchange
        answer = exchange.rest

        def noted(*arguments: Any) -> Any:
            given = answer(*arguments)
            self.asked.append((time.monotonic(), given.status))
            return given

        exchange.rest = noted

    def trades(self, symbol: str, times: Times) -> list[LedgerTrade]:
        """Return the ledger's trades of a market in a period, oldest first."""
        return [
            each
            for each in self.sim.ledger.trades()
            if each.symbol == symbol
            and times.begin <= datetime.fromisoformat(each.timestamp) < times.end
        ]


@contextmanager
def exchange(monkeypatch: pytest.MonkeyPatch, name: str, **options: Any) -> Iterator[Exchange]:
    """Run a simulated exchange; the options of child processes lead to it."""
    loop = asyncio.new_event_loop()
    ready: list[Simulator] = []
    stop = asyncio.Event()
    simulated = SimulatorOptions(
        exchange=name,
        **{"symbols": 2, "skew": 0, "twin_share": 0, "trades_per_s": 0, "depth_per_s": 0} | options,
    )

    async def serve() -> None:
        async with simulator(simulated) as sim:
            ready.append(sim)
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        eventually(lambda: bool(ready), "the exchange listens")
        address = ready[0].rest_url
        monkeypatch.setenv("EXCHANGES", name)
        monkeypatch.setenv(f"{name.upper()}_REST_URL", address)
        monkeypatch.setenv(f"{name.upper()}_WS_URL", address.replace("http", "ws"))
        yield Exchange(ready[0], loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    assert kafka_settings.kafka_broker
    assert store.database
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    datasets = (TRADES, EXCHANGE_CANDLES)
    Cluster(kafka_settings).create_topics(
        name for each in datasets for name in (each.topic, each.dead_letter_topic)
    )
    return load()


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[None]:
    running = [
        Process(radar("consume", name), tmp_path / f"{name}.log", WORKER_ID=name)
        for name in ("trades", "exchange_candles")
    ]
    yield
    for each in running:
        each.end()


def backfill(*arguments: str, code: int = 0) -> dict[str, Any]:
    """Run the command to its end; return its JSON."""
    done = run_command("backfill", *arguments, "--json", timeout_s=300)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def killed(log: Path, store: Store, rows: int, *arguments: str) -> None:
    """Kill the command with SIGKILL in the middle: once there are so many rows more."""
    before = physical(store, *arguments)
    running = Process(radar("backfill", *arguments), log)
    eventually(
        lambda: physical(store, *arguments) >= before + rows, "rows are stored", timeout_s=60
    )
    assert running.lives
    running.kill()


def physical(store: Store, *arguments: str) -> int:
    return stored(store, EXCHANGE_CANDLES if "candles" in arguments else TRADES)


def past(hours: float = 22, until_hours: float = 2) -> Times:
    now = datetime.now(UTC).replace(microsecond=0, second=0)
    return Times(now - timedelta(hours=hours), now - timedelta(hours=until_hours))


def content(trades: list[LedgerTrade]) -> dict[str, tuple[str, ...]]:
    return {
        each.native_id: (canonical(each.price), canonical(each.quantity), each.side)
        for each in trades
    }


def rows(store: Store, symbol: str, view: str = "trades") -> list[tuple[str, tuple[str, ...]]]:
    return [
        (str(number), (canonical(str(price)), canonical(str(amount)), str(side)))
        for number, price, amount, side in store.rows(
            "SELECT native_id, toString(price), toString(base_amount), toString(side)"
            f" FROM {view} WHERE symbol = {{symbol:String}}",
            {"symbol": symbol},
        )
    ]


@pytest.mark.parametrize("name", exchange_cases(SYMBOLS))
def test_a_period_of_trades_is_stored_as_the_ledger_has_it(
    name: str, settings: Settings, store: Store, workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exchange(monkeypatch, name, history_trades=3_000) as running:
        symbol, times = SYMBOLS[name], past()
        wanted = content(running.trades(symbol, times))
        assert len(wanted) > 1_000
        (report,) = backfill(name, symbol, *times.arguments)["markets"]
        assert report == {
            "symbol": symbol,
            "known": len(wanted),
            "published": len(wanted),
            "invalid": 0,
            "missing": 0,
            "is_stored": True,
        }
        found = rows(store, symbol)
        assert (dict(found), len(found)) == (wanted, len(wanted))
        (again,) = backfill(name, symbol, *times.arguments)["markets"]
        assert again == report | {"published": 0}
        assert len(rows(store, symbol, "trades_master")) == len(wanted)


@pytest.mark.parametrize("name", exchange_cases(["binance", "okx"]))
def test_killed_twice_it_stores_each_trade_once_although_half_were_recorded_live(
    name: str,
    settings: Settings,
    store: Store,
    workers: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    symbol = SYMBOLS[name]
    with exchange(monkeypatch, name, history_trades=10_000) as running:
        live = Process(
            radar("produce", "trades"), tmp_path / "live.log", **{f"{name.upper()}_SYMBOLS": symbol}
        )
        try:
            # The newest trades of the past, which the producer reads once it has subscribed.
            eventually(lambda: stored(store) >= 300, "the producer records", timeout_s=60)
            for _ in range(16):
                running.do(lambda: running.sim.trade(250, symbol))
                time.sleep(0.1)
            recorded = len(running.sim.ledger.trades())
            eventually(lambda: stored(store) >= 4_300, f"live trades of {recorded} are stored", 60)
        finally:
            live.end()
        before = len(rows(store, symbol))
        time.sleep(1.1)
        times = Times(past().begin, datetime.now(UTC).replace(microsecond=0))
        wanted = content(running.trades(symbol, times))
        assert 0.4 < before / len(wanted) < 0.6
        command = (name, symbol, *times.arguments)
        with monkeypatch.context() as slowly:
            if name == "binance":  # its pages have 1,000 trades, those of OKX 100
                slowly.setenv("REPAIR_REQUESTS_PER_SECOND", "1")
            killed(tmp_path / "first.log", store, 200, *command)
            killed(tmp_path / "second.log", store, 800, *command)
        (report,) = backfill(*command)["markets"]
        assert (report["known"], report["missing"]) == (len(wanted), 0)
        assert 0 < report["published"] < len(wanted) - before
        found = [each for each in rows(store, symbol) if each[0] in wanted]
        assert (dict(found), len(found)) == (wanted, len(wanted))
        assert {each[0] for each in rows(store, symbol)} >= set(wanted)
        assert len(rows(store, symbol)) == len(dict(rows(store, symbol)))
        assert letters(settings) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    ["ban", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("html", "rest_error"))],
)
def test_refusals_are_waited_for_and_lose_nothing(
    fault: str, settings: Settings, store: Store, workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPAIR_REQUESTS_PER_SECOND", "1")
    with exchange(monkeypatch, "binance", history_trades=12_000) as running:
        symbol, times = SYMBOLS["binance"], past()
        wanted = content(running.trades(symbol, times))
        running.watch()
        results: list[dict[str, Any]] = []
        thread = threading.Thread(
            target=lambda: results.append(backfill("binance", symbol, *times.arguments))
        )
        thread.start()
        eventually(lambda: stored(store) >= 1_000, "the first page is stored", timeout_s=60)
        began_s = time.monotonic()
        running.do(lambda: running.sim.fault(fault, seconds=4))
        thread.join(120)
        assert results[0]["markets"][0]["published"] == len(wanted)
        assert dict(rows(store, symbol)) == wanted
        refused = [at_s for at_s, status in running.asked if status != 200]
        assert refused
        if fault == "ban":
            # One request learns of it; the next one comes when Retry-After is over.
            assert len(refused) == 1
            later = [at_s for at_s, _ in running.asked if at_s > refused[0]]
            assert min(later) - began_s >= 4


@pytest.mark.parametrize("name", exchange_cases(["binance", "okx"]))
def test_a_period_that_begins_before_the_first_trade_begins_with_it(
    name: str, settings: Settings, store: Store, workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exchange(monkeypatch, name, history_trades=1_200) as running:
        symbol, times = SYMBOLS[name], past(50, 1)
        wanted = content(running.trades(symbol, times))
        (report,) = backfill(name, symbol, *times.arguments)["markets"]
        assert (report["known"], report["missing"]) == (len(wanted), 0)
        assert dict(rows(store, symbol)) == wanted
        (again,) = backfill(name, symbol, *times.arguments)["markets"]
        assert again == report | {"published": 0}


def test_a_new_producer_takes_the_time_since_a_fetched_period_for_no_hole(
    settings: Settings,
    store: Store,
    workers: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with exchange(monkeypatch, "binance", history_trades=12_000) as running:
        symbol, times = SYMBOLS["binance"], past(22, 18)
        (report,) = backfill("binance", symbol, *times.arguments)["markets"]
        gaps = Topic(settings, GAPS)
        live = Process(radar("produce", "trades"), tmp_path / "log", BINANCE_SYMBOLS=symbol)
        try:
            # The producer reads the 1,000 newest trades.
            eventually(lambda: stored(store) >= report["known"] + 1_000, "it records", 60)
            running.do(lambda: running.sim.trade(50, symbol))
            eventually(lambda: stored(store) >= report["known"] + 1_050, "live trades", 60)
            time.sleep(3)
        finally:
            live.end()
        gaps.read()
        assert [each for each in gaps.messages if each["cause"] == "sequence"] == []
        assert len(rows(store, symbol)) == report["known"] + 1_050
        gaps.close()


def candles(
    trades: list[LedgerTrade], interval_s: int, times: Times, now: datetime
) -> dict[int, tuple[str, ...]]:
    """Return the finished candles that follow from trades, by the Unix time of their beginning."""
    groups: dict[int, list[LedgerTrade]] = {}
    for each in trades:
        at = datetime.fromisoformat(each.timestamp)
        shift_s = 0
        if interval_s == 86_400 and times.begin.tzinfo is TEHRAN:
            shift_s = 12_600
        opened_s = (int(at.timestamp()) + shift_s) // interval_s * interval_s - shift_s
        groups.setdefault(opened_s, []).append(each)
    return {
        opened_s: tuple(
            canonical(format(each, "f"))
            for each in (
                Decimal(some[0].price),
                max(Decimal(each.price) for each in some),
                min(Decimal(each.price) for each in some),
                Decimal(some[-1].price),
                sum((Decimal(each.quantity) for each in some), Decimal(0)),
            )
        )
        for opened_s, some in groups.items()
        if times.begin.timestamp() <= opened_s < times.end.timestamp()
        and opened_s + interval_s <= now.timestamp()
    }


def stored_candles(store: Store, symbol: str, interval_s: int) -> list[tuple[int, tuple[str, ...]]]:
    return [
        (int(opened_s), tuple(canonical(str(each)) for each in amounts))
        for opened_s, *amounts in store.rows(
            "SELECT toUnixTimestamp(open_time), toString(open), toString(high), toString(low),"
            " toString(close), toString(volume) FROM exchange_candles FINAL"
            " WHERE symbol = {symbol:String} AND interval_s = {interval_s:UInt32}",
            {"symbol": symbol, "interval_s": interval_s},
        )
    ]


@pytest.mark.parametrize("name", exchange_cases(CANDLE_SYMBOLS))
def test_candles_are_those_of_the_ledgers_trades(
    name: str, settings: Settings, store: Store, workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbol = CANDLE_SYMBOLS[name]
    many = {"symbols": 4} if name == "wallex" else {}
    with exchange(monkeypatch, name, history_trades=2_400, history_s=4 * 86_400, **many) as running:
        tehran = name in ("nobitex", "wallex")
        zone = TEHRAN if tehran else UTC
        now = datetime.now(zone).replace(microsecond=0)
        begin = (now - timedelta(days=3)).replace(hour=0, minute=0, second=0)
        times = Times(begin, now)
        # The model forgets the oldest minutes.
        trades = running.trades(symbol, Times(begin, now))
        for interval, interval_s in (("1h", 3_600), ("1d", 86_400)):
            wanted = candles(trades, interval_s, times, now)
            command = ("--dataset", "candles", "--interval", interval, *times.arguments)
            (report,) = backfill(name, symbol, *command)["markets"]
            assert (report["known"], report["invalid"]) == (len(wanted), 0)
            found = stored_candles(store, symbol, interval_s)
            assert dict(found) == wanted
            assert len(found) == len(wanted) > 2
        zones = store.rows("SELECT DISTINCT interval_s, time_zone FROM exchange_candles ORDER BY 1")
        assert zones == [(3_600, ""), (86_400, "Asia/Tehran" if tehran else "UTC")]


@pytest.mark.slow
@pytest.mark.parametrize("name", exchange_cases(["wallex", "nobitex"]))
def test_killed_twice_it_stores_each_candle_once(
    name: str,
    settings: Settings,
    store: Store,
    workers: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    symbol = CANDLE_SYMBOLS[name]
    symbols = 4 if name == "wallex" else 2
    # The model keeps 1,500 minutes with trades: a month with fewer has six windows of candles.
    with exchange(
        monkeypatch,
        name,
        symbols=symbols,
        history_trades=1_800 * symbols,
        history_s=30 * 86_400,
    ) as running:
        times = past(24 * 29, 24)
        later = times.end + timedelta(hours=1)
        trades = running.trades(symbol, Times(times.begin, later))
        wanted = candles(trades, 900, times, later)
        assert len(wanted) > 500
        command = (name, symbol, *times.arguments, "--dataset", "candles", "--interval", "15m")
        monkeypatch.setenv("REPAIR_REQUESTS_PER_SECOND", "1")
        killed(tmp_path / "first.log", store, 100, *command)
        killed(tmp_path / "second.log", store, 100, *command)
        (report,) = backfill(*command)["markets"]
        assert report["known"] == len(wanted)
        assert 0 < report["published"] < len(wanted)
        found = stored_candles(store, symbol, 900)
        assert (dict(found), len(found)) == (wanted, len(wanted))
        assert letters(settings, EXCHANGE_CANDLES) == 0


@pytest.mark.slow
def test_without_a_worker_the_trades_wait_in_kafka_and_the_command_says_so(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with exchange(monkeypatch, "binance", history_trades=300) as running:
        symbol, times = SYMBOLS["binance"], past()
        wanted = content(running.trades(symbol, times))
        (report,) = backfill("binance", symbol, *times.arguments)["markets"]
        assert (report["published"], report["is_stored"]) == (len(wanted), False)
        worker = Process(radar("consume", "trades"), tmp_path / "log", WORKER_ID="late")
        try:
            (report,) = backfill("binance", symbol, *times.arguments)["markets"]
            assert (report["published"], report["is_stored"]) == (0, True)
            assert dict(rows(store, symbol)) == wanted
        finally:
            worker.end()


def test_errors_are_one_line_and_name_the_next_action(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exchange(monkeypatch, "nobitex", history_trades=30):
        for arguments, words in (
            (("nobitex", "BTCIRT"), "nobitex serves no past trades: it serves candles of 1m, 5m"),
            (("nobitex", "BTCTRI", "--dataset", "candles"), "similar: BTCIRT"),
            (
                ("nobitex", "BTCIRT", "--dataset", "candles", "--interval", "2h"),
                "serves no candles of 2h",
            ),
            (("exir", "btc-irt"), "exir serves no past trades: it serves no history"),
            (("binanze", "BTCUSDT"), "known: binance"),
            (("nobitex", "BTCIRT", "--dataset", "candles", "--to", "2d"), "is not after --from"),
            (("nobitex", "BTCIRT", "--dataset", "candles", "--to", "2099-01-01"), "in the future"),
        ):
            found = backfill(*arguments, "--from", "1d", code=2)
            assert words in found["error"], found
