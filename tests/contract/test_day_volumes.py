"""The exchange's volume of 24 hours against recorded trades: results, states, and the view.

The simulated exchange claims the volume of the trades of its ledger. The database holds the same
trades, apart from losses that a test injects.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from cases import exchange_cases
from producing import OTHER_MARKETS
from radar import exchanges
from radar.checks import day_volumes
from radar.checks.following import Follower
from radar.codec import message_format
from radar.consumer.chunk import decode_chunk
from radar.consumer.messages import Messages
from radar.datasets import GAPS, TRADES, WATCHES, Dataset
from radar.decimals import canonical
from radar.records import Gap, GapCause, SessionReport, Trade, TradeSide
from radar.settings import load
from radar.store import retention
from radar.store.client import Store
from radar.telemetry.health import Health
from radar_simulator import LedgerTrade, Simulator, SimulatorOptions, simulator
from support import Consumed, run_command

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
OFFERING = [name for name in exchanges.names() if exchanges.load(name).day_volumes_path]
# Three trades each 20 minutes: none is newer, and none is near the beginning of the 24 hours.
QUIET_PAST = {"history_s": 26.2 * 3600, "history_trades": 3 * 78, "trades_per_s": 0.0}
FINISHED_WITHIN_S = 60.0


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def insert(store: Store, dataset: Dataset, values: list[bytes]) -> None:
    messages = Messages.of([Consumed(n, value) for n, value in enumerate(values)])
    chunk = decode_chunk(dataset, 0, messages)
    assert not chunk.bad_messages
    rows = [(len(part.messages), part.columns) for part in chunk.parts]
    store.insert(dataset.table, rows, repr(values)[:500])


class Recording:
    """A recorded exchange whose trades a test takes from the ledger."""

    def __init__(self, store: Store, name: str, sim: Simulator) -> None:
        self.store = store
        self.name = name
        self.trades: dict[str, list[LedgerTrade]] = defaultdict(list)
        for each in sim.ledger.trades():
            self.trades[each.symbol].append(each)
        self.symbols = sorted(self.trades.keys() - OTHER_MARKETS)
        self.until_us = us(datetime.now().astimezone().isoformat())

    def lost(self, symbol: str) -> LedgerTrade:
        """Return a trade of the middle of the 24 hours."""
        middle_us = self.until_us - 12 * HOUR_US
        return next(each for each in self.trades[symbol] if us(each.timestamp) > middle_us)

    def store_trades(self, symbol: str, *, but: LedgerTrade | None = None) -> None:
        values = [self._value(each) for each in self.trades[symbol] if each is not but]
        insert(self.store, TRADES, values)

    def store_trade(self, trade: LedgerTrade, *, copy: int = 1) -> None:
        insert(self.store, TRADES, [self._value(trade, copy)])

    def _value(self, trade: LedgerTrade, copy: int = 1) -> bytes:
        at_us = us(trade.timestamp)
        made = Trade(
            source=self.name, symbol=trade.symbol, base="BTC", quote="USDT",
            side=TradeSide(trade.side), price=canonical(trade.price),
            base_amount=canonical(trade.quantity), event_time_ms=at_us // 1000,
            received_at_us=at_us + 1000, event_time_us=at_us,
        )  # fmt: skip
        return message_format.encode_trade(made, f"{trade.seq * 10 + copy:032x}")

    def store_session(self, symbol: str, hours: float = 27) -> None:
        report = SessionReport(
            source=self.name, record_kind="trades", symbols=(symbol,),
            connection=f"{self.symbols.index(symbol):02x}",
            began_at_us=self.until_us - int(hours * HOUR_US), ended_at_us=self.until_us + HOUR_US,
            received_at_us=self.until_us, end_reason="open", interval_ms=0,
        )  # fmt: skip
        insert(self.store, WATCHES, [message_format.encode_session(report)])

    def store_gap(self, trade: LedgerTrade, *, repaired: bool = False) -> None:
        at_us = us(trade.timestamp)
        gap = Gap(
            source=self.name, record_kind="trades", cause=GapCause.DISCONNECTED,
            symbols=(trade.symbol,), began_at_us=at_us - 5 * SECOND_US,
            ended_at_us=at_us + 5 * SECOND_US, repaired=repaired, received_at_us=at_us,
        )  # fmt: skip
        insert(self.store, GAPS, [message_format.encode_gap(gap)])

    def result(self, symbol: str) -> tuple[str, str]:
        """Return result and reason of the newest comparison of a market."""
        ((result, reason),) = self.store.rows(
            "SELECT result, reason FROM day_volumes WHERE exchange = {name:String}"
            " AND symbol = {symbol:String} ORDER BY asked_at DESC LIMIT 1",
            {"name": self.name, "symbol": symbol},
        )
        return str(result), str(reason)

    def states(self, symbol: str) -> set[tuple[str, str, str]]:
        """Return state, cause and evidence of the times of the last 23 hours."""
        rows = self.store.rows(
            "SELECT DISTINCT state, cause, evidence FROM proof_intervals"
            " WHERE exchange = {name:String} AND symbol = {symbol:String}"
            " AND began_at > fromUnixTimestamp64Micro({begin:Int64}, 'UTC')"
            " AND ended_at < fromUnixTimestamp64Micro({end:Int64}, 'UTC')",
            {
                "name": self.name,
                "symbol": symbol,
                "begin": self.until_us - 23 * HOUR_US,
                "end": self.until_us - HOUR_US // 10,
            },
        )
        return {(str(state), str(cause), str(evidence)) for state, cause, evidence in rows}


async def followed(store: Store) -> None:
    """Examine until no answer waits for its comparison."""
    follower = Follower(load(), store, Health())
    async with asyncio.timeout(FINISHED_WITHIN_S):
        await follower.examine()
        assert store.rows("SELECT count() > 0 FROM day_volumes") == [(1,)]
        while store.rows("SELECT count() FROM day_volumes WHERE reason = 'waiting'") != [(0,)]:
            await follower.examine()


@contextmanager
def options(monkeypatch: pytest.MonkeyPatch, **values: str) -> Iterator[None]:
    with monkeypatch.context() as changed:
        for name, value in values.items():
            changed.setenv(name, value)
        yield


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the newest trades count as stored at once."""
    monkeypatch.setenv("RECONCILE_DELAY_SECONDS", "1")
    monkeypatch.setenv("RECONCILE_REQUESTS_PER_SECOND", "50")


def addresses(name: str, sim: Simulator) -> dict[str, str]:
    ws_url = sim.ws_url if name == "wallex" else sim.rest_url.replace("http", "ws")
    return {
        "EXCHANGES": name,
        f"{name.upper()}_REST_URL": sim.rest_url,
        f"{name.upper()}_WS_URL": ws_url,
    }


def simulated(name: str) -> SimulatorOptions:
    values: dict[str, Any] = QUIET_PAST
    return SimulatorOptions(exchange=name, symbols=8, twin_share=0.0, skew=0.0, **values)


@pytest.mark.parametrize("name", exchange_cases(OFFERING))
def test_volume_of_each_exchange_is_equal_without_and_short_with_a_loss(
    name: str, store: Store, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    async def run() -> None:
        async with simulator(simulated(name)) as sim:
            recording = Recording(store, name, sim)
            whole, less = recording.symbols[:2]
            recording.store_trades(whole)
            recording.store_trades(less, but=recording.lost(less))
            for symbol in (whole, less):
                recording.store_session(symbol)
            with options(monkeypatch, **addresses(name, sim)):
                await followed(store)
            assert recording.result(whole) == ("equal", "")
            # A candle names the minute of the loss, which explains the rest.
            has_candles = exchanges.load(name).candle_history is not None
            assert recording.result(less) == ("short", "explained" if has_candles else "")

    asyncio.run(run())


def test_states_follow_from_the_volume_where_nothing_else_proves_them(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    async def run() -> None:
        async with simulator(simulated("exir")) as sim:
            recording = Recording(store, "exir", sim)
            whole, less, torn, mended, young, doubled, patched, _ = recording.symbols
            for symbol in recording.symbols:
                recording.store_session(symbol, hours=3 if symbol == young else 27)
            lost = {symbol: recording.lost(symbol) for symbol in recording.symbols}
            for symbol in (less, torn, patched):
                recording.store_trades(symbol, but=lost[symbol])
            for symbol in (whole, mended, young, doubled):
                recording.store_trades(symbol)
            recording.store_trade(lost[doubled], copy=2)
            for symbol in (torn, mended):
                recording.store_gap(lost[symbol])
            recording.store_gap(lost[patched], repaired=True)
            with options(monkeypatch, **addresses("exir", sim)):
                await followed(store)
                proof = await asyncio.to_thread(reconcile)
                results = {
                    whole: ("equal", ""),
                    less: ("short", ""),
                    torn: ("short", "explained"),
                    mended: ("equal", ""),
                    young: ("unknown", "recorded_less_than_a_day"),
                    doubled: ("different", ""),
                    patched: ("short", ""),
                }
                assert {symbol: recording.result(symbol) for symbol in results} == results
                volume = ("unverifiable", "volume", "volume")
                unproven = ("unverifiable", "no_evidence", "none")
                # The examination that the command makes agrees with the one before.
                assert {symbol: recording.states(symbol) for symbol in results} == {
                    whole: {("verified", "", "volume")},
                    less: {volume},
                    torn: {unproven, ("unverifiable", "disconnected", "sessions")},
                    mended: {("verified", "", "volume"), ("repaired", "disconnected", "volume")},
                    young: {unproven},
                    doubled: {volume},
                    patched: {volume, ("unverifiable", "disconnected", "volume")},
                }
                assert {each["symbol"]: each["result"] for each in proof["day_volumes"]} == {
                    symbol: result for symbol, (result, _) in results.items()
                } | {recording.symbols[7]: "short"}

                lines = await asyncio.to_thread(described)
                assert "volumes of 24 hours, by the exchange: 2 equal, 3 short, 1 diff" in lines
                assert f"short  exir:{less} trades  24 hours to " in lines

                # The lost trade comes late, and the exchange is asked again.
                recording.store_trade(lost[less])
                recording.store_trade(lost[patched])
                with monkeypatch.context() as sooner:
                    sooner.setattr(day_volumes, "ASK_EVERY_US", 1)
                    await Follower(load(), store, Health()).examine()
                proof = await asyncio.to_thread(reconcile)
                assert {each["symbol"]: each["result"] for each in proof["day_volumes"]} == {
                    symbol: result for symbol, (result, _) in results.items()
                } | {less: "equal", patched: "equal", recording.symbols[7]: "short"}
                # The command that compares an answer shows the states that follow.
                (market,) = [each for each in proof["markets"] if each["symbol"] == less]
                assert {
                    each["state"]
                    for each in market["intervals"]
                    if us(each["began_at"]) > recording.until_us - 23 * HOUR_US
                    and us(each["ended_at"]) < recording.until_us - HOUR_US // 10
                } == {"verified"}
                assert recording.states(less) == {("verified", "", "volume")}
                assert recording.states(patched) == recording.states(mended)
                # Those of another volume stay as they were.
                assert recording.states(doubled) == {volume}

    asyncio.run(run())


def described(*arguments: str) -> str:
    done = run_command("reconcile", "exir", "--from", "25h", *arguments)
    assert done.returncode == 3, done.stdout + done.stderr
    return done.stdout


def reconcile() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(described("--json"))
    return found


def test_trades_that_expire_within_two_days_are_not_compared(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    retention.apply(store, 1, None)

    async def run() -> None:
        async with simulator(simulated("exir")) as sim:
            recording = Recording(store, "exir", sim)
            recording.store_session(recording.symbols[0])
            with options(monkeypatch, **addresses("exir", sim)):
                lines = await asyncio.to_thread(described)
            assert "set RETENTION_DAYS to 2" in lines
            assert store.rows("SELECT count() FROM day_volumes") == [(0,)]

    try:
        asyncio.run(run())
    finally:
        retention.apply(store, load().retention_days, None)
