"""Injected losses of every exchange, and what `radar reconcile` reports of them.

All exchanges are recorded at once, because candles need whole minutes. Each fault hits a market of
its own, so that the faults of one minute do not blur each other.
"""

import asyncio
import contextlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import completeness_table
from producing import OTHER_MARKETS, happened, producing
from radar import exchanges
from radar.checks.proof import State
from radar.datasets import DATASETS, DEPTH, GAPS, TRADES, WATCHES
from radar.decimals import canonical
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from radar_simulator import LedgerTrade, Simulator, SimulatorOptions, simulator
from support import Process, radar, run_command
from workers import waiting

MINUTE_S = 60
NAMES = exchanges.names()
# The number of the market that each fault hits.
CLEAN, DROPPED, REPEATED, ALTERED, LOST = range(5)
# Trades that each fault hits.
INJECTED = 4
CUT_WITHIN_S = 15.0
SETTLES_S = 20.0
# Exchanges without a socket for trades: no frame of trades can be dropped or altered.
POLLED = ("tabdeal",)
# The fault, its market and the dataset of each column of the table.
PLACES = {
    "no fault, trades": ("none", CLEAN, "trades"),
    "no fault, book": ("none", CLEAN, "depth"),
    "trades dropped": ("dropped", DROPPED, "trades"),
    "dropped, REST away": ("lost", LOST, "trades"),
    "sent twice": ("repeated", REPEATED, "trades"),
    "altered": ("altered", ALTERED, "trades"),
    "connection cut, trades": ("kick", CLEAN, "trades"),
    "connection cut, book": ("kick", CLEAN, "depth"),
    "book update dropped": ("drop book", DROPPED, "depth"),
    "wrong checksum": ("checksum", ALTERED, "depth"),
}
STORED_WITHIN_S = 60.0
Trades = Counter[tuple[str, ...]]


class Interval(NamedTuple):
    begin_us: int
    end_us: int
    state: str
    cause: str
    evidence: str
    missing: int


class Proof:
    """The answer of the command."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.markets = {
            (each["exchange"], each["dataset"], each["symbol"]): [
                Interval(
                    us(interval["began_at"]), us(interval["ended_at"]), interval["state"],
                    interval["cause"], interval["evidence"], interval["missing"],
                )
                for interval in each["intervals"]
            ]
            for each in found["markets"]
        }  # fmt: skip

    def within(
        self, name: str, symbol: str, begin_s: float, end_s: float, dataset: str = "trades"
    ) -> list[Interval]:
        return [
            each
            for each in self.markets[name, dataset, symbol]
            if each.begin_us < end_s * 1e6 and each.end_us > begin_s * 1e6
        ]


def at_of(trade: LedgerTrade) -> float:
    """Return when a trade happened, Unix time, by the digits of a row."""
    return int(datetime.fromisoformat(trade.timestamp).timestamp() * 1e3) / 1e3


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    assert kafka_settings.kafka_broker
    assert store.database
    for name, value in {
        "EXCHANGES": ",".join(NAMES),
        "BATCH_TIMEOUT_SECONDS": "0.5",
        "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
        "RECONCILE_REQUESTS_PER_SECOND": "50",
        "DEPTH_INTERVAL_SECONDS": "0",
        "RECONNECT_MAX_SECONDS": "0.5",
    }.items():
        monkeypatch.setenv(name, value)
    names = [name for each in DATASETS.values() for name in (each.topic, each.dead_letter_topic)]
    Cluster(kafka_settings).create_topics(names)
    return load()


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[None]:
    running = [
        Process(radar("consume", *names), tmp_path / f"{names[0]}.log", WORKER_ID=names[0])
        for names in (("trades",), ("depth",), ("gaps", "watches"))
    ]
    yield
    for each in running:
        each.end()


class Rig:
    """All simulated exchanges, with a producer of each dataset of each."""

    def __init__(self, sims: dict[str, Simulator], store: Store) -> None:
        self.sims = sims
        self.store = store
        self.symbols: dict[str, list[str]] = {}
        # When each exchange was hit by a fault, Unix time in seconds.
        self.injected: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def choose(self) -> None:
        for name, sim in self.sims.items():
            traded = {each.symbol for each in sim.ledger.trades()} - OTHER_MARKETS
            self.symbols[name] = sorted(traded)[:5]

    def fault(self, fault: str, market: int | None = None, **parameters: Any) -> None:
        """Inject a fault everywhere where the exchange has it."""
        for name, sim in self.sims.items():
            symbol = {} if market is None else {"symbol": self.symbols[name][market]}
            with contextlib.suppress(ValueError):
                sim.fault(fault, **symbol, **parameters)
                times = self.injected[name, f"{fault} {parameters.get('kind', '')}".strip()]
                times.append(time.time())

    def trade(self, market: int, what: str) -> None:
        """Let trades happen that a fault hits."""
        for name, sim in self.sims.items():
            trades = sim.trade(INJECTED, self.symbols[name][market])
            if name not in POLLED:
                self.injected[name, what] += [at_of(each) for each in trades]

    def lose(self, market: int, what: str) -> None:
        """Drop some trades: a frame of a dialect holds all of them, one of Wallex one."""
        for name, sim in self.sims.items():
            count = INJECTED if name == "wallex" else 1
            sim.fault("drop", symbol=self.symbols[name][market], count=count)
        self.trade(market, what)

    def happened(self, name: str) -> Trades:
        return happened(
            [each for each in self.sims[name].ledger.trades() if each.symbol not in OTHER_MARKETS]
        )

    def stored(self, name: str) -> Trades:
        rows = self.store.rows(
            "SELECT symbol, toUnixTimestamp64Milli(event_time), toString(price),"
            " toString(base_amount), toString(side) FROM trades WHERE source = {name:String}",
            {"name": name},
        )
        return Counter(
            (str(symbol), str(time_ms), canonical(str(price)), canonical(str(amount)), str(side))
            for symbol, time_ms, price, amount, side in rows
        )


@contextlib.asynccontextmanager
async def everything(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, store: Store
) -> AsyncIterator[tuple[Rig, contextlib.AsyncExitStack]]:
    async with contextlib.AsyncExitStack() as simulators, contextlib.AsyncExitStack() as producers:
        sims = {}
        for name in NAMES:
            simulated = SimulatorOptions(
                exchange=name, symbols=6, twin_share=0.0, skew=0.0, trades_per_s=4.0,
                depth_per_s=12.0, tick_ms=50.0,
            )  # fmt: skip
            sims[name] = sim = await simulators.enter_async_context(simulator(simulated))
            monkeypatch.setenv(f"{name.upper()}_REST_URL", sim.rest_url)
            monkeypatch.setenv(f"{name.upper()}_WS_URL", sim.ws_url)
            if name != "wallex":
                address = sim.rest_url.replace("http", "ws")
                monkeypatch.setenv(f"{name.upper()}_WS_URL", address)
        for name in NAMES:
            own = load().of_exchange(name)
            for dataset in (TRADES, DEPTH):
                await producers.enter_async_context(producing(own, dataset))
        yield Rig(sims, store), producers


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline_s:
            pytest.fail(f"not within {timeout_s} s: {what}")
        await asyncio.sleep(0.1)


async def at(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.time()))


def all_recorded(rig: Rig) -> bool:
    rows = rig.store.rows("SELECT source, uniqExact(symbol) FROM trades_master GROUP BY source")
    return len(rows) == len(NAMES) and all(int(count) >= 6 for _, count in rows)


async def record(rig: Rig, producers: contextlib.AsyncExitStack, settings: Settings) -> float:
    """Record two minutes with faults; return when the first began."""
    await until(lambda: all_recorded(rig), "each market of each exchange is stored")
    rig.choose()
    # Reads after a subscription may fetch a dropped trade before it counts as missing.
    begin_s = ((time.time() + SETTLES_S) // MINUTE_S + 1) * MINUTE_S
    await at(begin_s + 4)
    rig.lose(DROPPED, "dropped")
    rig.trade(REPEATED, "repeated")
    rig.fault("repeat", REPEATED, count=INJECTED)
    rig.fault("alter", ALTERED, count=INJECTED)
    rig.trade(ALTERED, "altered")
    rig.fault("drop", DROPPED, kind="book", count=1)
    rig.fault("checksum", ALTERED)
    await at(begin_s + MINUTE_S + 4)
    rig.fault("kick", close_frame=False)
    await at(begin_s + MINUTE_S + 25)
    rig.fault("rest_error", seconds=3600)
    await asyncio.sleep(1)
    rig.lose(LOST, "lost")
    # The market stands still over the end of the minute, and the producers record beyond it.
    await at(begin_s + 2 * MINUTE_S + 1)
    for sim in rig.sims.values():
        await sim.quiesce()
    await producers.aclose()
    for sim in rig.sims.values():
        sim.fault("clear")
    datasets = (TRADES, DEPTH, GAPS, WATCHES)
    await until(
        lambda: not any(waiting(settings, each) for each in datasets),
        "all is stored",
        STORED_WITHIN_S,
    )
    return begin_s


def reconcile(begin_s: float, end_s: float) -> Proof:
    period = [
        f"--{option}={datetime.fromtimestamp(each, UTC).isoformat()}"
        for option, each in (("from", begin_s), ("to", end_s))
    ]
    done = run_command("reconcile", *period, "--json", timeout_s=300)  # fmt: skip
    assert (done.returncode, bool(done.stdout)) == (1, True), done.stdout + done.stderr
    return Proof(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_injected_loss_is_reported_and_what_was_not_lost_is_verified(
    settings: Settings, store: Store, workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with everything(settings, monkeypatch, store) as (rig, producers):
            begin_s = await record(rig, producers, settings)
            end_s = begin_s + 2 * MINUTE_S
            proof = await asyncio.to_thread(reconcile, begin_s, end_s)
            assert {key[0] for key in proof.markets} == set(NAMES)
            for name in NAMES:
                check_trades(rig, name, proof, begin_s, end_s)
            found = {name: reported(rig, name, proof, begin_s) for name in NAMES}
            if os.environ.get("WRITE_TABLES"):
                completeness_table.write(found)
            documented = completeness_table.read()
            differences = {
                (name, fault): (state, documented[name][fault])
                for name, states in found.items()
                for fault, state in states.items()
                if state != documented[name][fault]
                # A read that was under way may fetch the trades before they count as missing.
                and not (fault == "trades dropped" and state.startswith("verified"))
            }
            assert differences == {}

    asyncio.run(run())


def check_trades(rig: Rig, name: str, proof: Proof, begin_s: float, end_s: float) -> None:
    """No lost, doubled or altered trade lies in a time that is called complete."""
    have, wanted = rig.stored(name), rig.happened(name)
    for what, trades in (("lost", wanted - have), ("wrong", have - wanted)):
        for symbol, time_ms, *_ in trades:
            at_s = int(time_ms) / 1e3
            if begin_s <= at_s < end_s:
                around = proof.within(name, symbol, at_s - 1e-6, at_s + 0.001)
                states = {each.state for each in around}
                assert states & {"missing", "unverifiable"}, (name, what, symbol, time_ms, around)


def reported(rig: Rig, name: str, proof: Proof, begin_s: float) -> dict[str, str]:
    """Return the row of the table in the documents."""
    return {fault: words(rig, name, proof, begin_s, *place) for fault, place in PLACES.items()}


def words(
    rig: Rig, name: str, proof: Proof, begin_s: float, what: str, market: int, dataset: str
) -> str:
    """Return the worst state of the times that a fault hit, and its evidence."""
    symbol = rig.symbols[name][market]
    if what == "none":
        hit = proof.within(name, symbol, begin_s, begin_s + MINUTE_S, dataset)
    elif what == "kick":
        # Frames that were on their way arrive after the cut.
        (at_s,) = rig.injected[name, what]
        around = proof.within(name, symbol, at_s, at_s + CUT_WITHIN_S, dataset)
        hit = [each for each in around if each.cause == "disconnected"]
    else:
        lasted_s = 2.0 if dataset == "depth" else 0.001
        hit = [
            each
            for at_s in rig.injected[name, what]
            for each in proof.within(name, symbol, at_s, at_s + lasted_s, dataset)
        ]
    if not hit:
        return "–"
    worst = max(hit, key=lambda each: list(State).index(State(each.state)))
    count = sum(each.missing for each in set(hit))
    numbers = f" {count} of {INJECTED}" if what == "lost" and count else ""
    evidence = "" if worst.evidence == "none" else f" ({worst.evidence})"
    return f"{worst.state}{numbers}{evidence}"
