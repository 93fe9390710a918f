"""`radar reconcile` over rows in ClickHouse: states, exit codes, views, and the follower."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from producing import Topic, options, producing, until
from radar.checks.following import Follower
from radar.checks.proof import Span
from radar.checks.reconcile import recorded_hours
from radar.codec import message_format
from radar.consumer.chunk import decode_chunk
from radar.consumer.messages import Messages
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES, Dataset
from radar.producer import session_recorder
from radar.records import BookSide, DepthSnapshot, Gap, GapCause, SessionReport, Trade, TradeSide
from radar.settings import Settings, load
from radar.store import proofs
from radar.store.client import Store
from radar.telemetry.health import Health
from radar_simulator import SimulatorOptions, simulator
from support import Consumed, run_command

HOUR_US = 3_600_000_000
SECOND = 1_000_000
# A whole hour that is over.
START = (int(datetime.now(UTC).timestamp()) // 3600 - 3) * HOUR_US
MARKET: dict[str, Any] = {"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT"}


def at(minutes: float) -> int:
    return START + int(minutes * 60 * SECOND)


def insert(store: Store, dataset: Dataset, *values: bytes) -> None:
    chunk = decode_chunk(
        dataset, 0, Messages.of([Consumed(n, value) for n, value in enumerate(values)])
    )
    assert not chunk.bad_messages
    rows = [(len(part.messages), part.columns) for part in chunk.parts]
    store.insert(dataset.table, rows, repr(values)[:500])


def session(source: str, dataset: str, begin: float, end: float, **changes: Any) -> bytes:
    facts: dict[str, Any] = {"end_reason": "stopped", "connection": "0a", "interval_ms": 0}
    return message_format.encode_session(
        SessionReport(
            source=source, record_kind=dataset, symbols=("BTCUSDT",), began_at_us=at(begin),
            ended_at_us=at(end), received_at_us=at(end), **(facts | changes),
        )
    )  # fmt: skip


def trade(source: str, number: int, minutes: float, *, received: float | None = None) -> bytes:
    return message_format.encode_trade(
        Trade(
            source=source, **MARKET, side=TradeSide.BUY, price="100.5", base_amount="2",
            event_time_ms=at(minutes) // 1000, received_at_us=at(minutes if received is None
            else received) + 1000, native_id=str(number), sequence=number,
            event_time_us=at(minutes),
        ),
        f"{number:032x}",
    )  # fmt: skip


def snapshot(source: str, minutes: float, *, verified: bool) -> bytes:
    return message_format.encode_depth(
        DepthSnapshot(
            source=source, **MARKET, side=BookSide.BID, prices=(100.5,), quantities=(1.0,),
            received_at_us=at(minutes), verified=verified,
        )
    )  # fmt: skip


def reconcile(*arguments: str, begin: float = 0, end: float = 60) -> tuple[int, dict[str, Any]]:
    period = [
        f"--{name}={datetime.fromtimestamp(at(minutes) / 1e6, UTC).isoformat()}"
        for name, minutes in (("from", begin), ("to", end))
    ]
    done = run_command("reconcile", *arguments, *period, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def states(found: dict[str, Any], dataset: str = "trades") -> list[tuple[str, str, int]]:
    (market,) = [each for each in found["markets"] if each["dataset"] == dataset]
    return [(each["state"], each["cause"], each["missing"]) for each in market["intervals"]]


@pytest.fixture
def numbered(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Provide an hour of a market whose trades have numbers; its exchange does not answer."""
    monkeypatch.setenv("BINANCE_REST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BINANCE_WS_URL", "ws://127.0.0.1:9")
    insert(store, WATCHES, session("binance", "trades", -10, 70))
    insert(store, TRADES, *(trade("binance", n, 2 * n) for n in range(1, 35) if n not in (9, 10)))
    return store


def test_missing_numbers_are_reported_with_exit_code_1(numbered: Store) -> None:
    code, found = reconcile("binance")
    assert code == 1
    # The first trade is two minutes after the beginning.
    assert states(found) == [
        ("unverifiable", "no_evidence", 0),
        ("verified", "", 0),
        ("missing", "sequence", 2),
        ("verified", "", 0),
    ]
    assert found["result"] == "missing"
    assert "records are missing" in found["error"]
    assert "no candles of binance were compared" in found["notes"][0]
    (row,) = numbered.rows(
        "SELECT verified_s, missing_s, unverifiable_s, repaired_s, own_s, missing FROM completeness"
    )
    assert row == (60 * 60 - 2 * 60 - 6 * 60, 6 * 60, 2 * 60, 0, 0, 2)


@pytest.mark.slow("src/radar/checks")
def test_trades_that_are_fetched_later_repair_their_time(numbered: Store) -> None:
    assert reconcile("binance")[0] == 1
    late = [trade("binance", n, 2 * n, received=90) for n in (9, 10)]
    insert(numbered, TRADES, *late)
    code, found = reconcile("binance", begin=2)
    assert code == 0, found
    assert ("repaired", "late", 0) in states(found)
    assert {state for state, _, _ in states(found)} == {"verified", "repaired"}
    # The examination replaces the one before.
    (row,) = numbered.rows("SELECT missing_s, missing, repaired_s > 0 FROM completeness")
    assert row == (0, 0, True)
    assert found["error"] is None


def test_time_without_evidence_has_exit_code_3_and_is_shown_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(store, WATCHES, session("exir", "trades", -10, 20), session("exir", "trades", 30, 70))
    monkeypatch.setenv("EXIR_REST_URL", "http://127.0.0.1:9")
    code, found = reconcile()
    assert code == 3
    assert states(found) == [
        ("unverifiable", "no_evidence", 0),
        ("unverifiable", "not_recording", 0),
        ("unverifiable", "no_evidence", 0),
    ]
    assert [each["is_own"] for each in found["markets"][0]["intervals"]] == [False, True, False]
    assert found["markets"][0]["own_s"] == 600
    done = run_command("coverage", "BTCUSDT", "--since", "3d", check=True)
    assert "0.000 %    0.000 %  100.000 %    0.000 %" in done.stdout


def test_books_are_proven_by_their_chain_and_missing_in_a_gap(store: Store) -> None:
    insert(store, WATCHES, session("kraken", "depth", -10, 70))
    times = [n / 2 for n in range(-4, 130)]
    insert(store, DEPTH, *(snapshot("kraken", n, verified=n != 20) for n in times))
    gap = Gap(
        source="kraken", record_kind="depth", cause=GapCause.CHECKSUM, symbols=("BTCUSDT",),
        began_at_us=at(19.5), ended_at_us=at(19.75), repaired=False, received_at_us=at(20),
    )  # fmt: skip
    insert(store, GAPS, message_format.encode_gap(gap))
    code, found = reconcile("kraken")
    assert code == 1
    assert states(found, "depth") == [
        ("verified", "", 0),
        ("missing", "checksum", 0),
        ("unverifiable", "no_evidence", 0),
        ("verified", "", 0),
    ]


def test_only_hours_with_a_recording_are_examined(numbered: Store) -> None:
    month_us = 30 * 24 * HOUR_US
    around = Span(START - month_us, START + month_us)
    # The session began ten minutes before the hour, and may still last.
    first_us, until_us = recorded_hours(numbered, "binance", around)
    assert (first_us, until_us > at(60)) == (START - HOUR_US, True)
    assert recorded_hours(numbered, "binance", Span(START, at(60))) == (START, at(60))
    before = Span(START - month_us, START - 2 * HOUR_US)
    for name, period in (("binance", before), ("kraken", around)):
        begin_us, end_us = recorded_hours(numbered, name, period)
        assert begin_us == end_us


def test_a_period_without_a_recording_proves_nothing(store: Store) -> None:
    code, found = reconcile()
    assert (code, found["markets"]) == (3, [])
    done = run_command("reconcile", "--from", "2h")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        3,
        "no market was recorded in this period: no time is proven",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nosuch",), "unknown exchange 'nosuch'"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "give an earlier begin"),
        (("--to", "2999-01-01"), "is in the future: leave it out"),
        (("--from", "yesterday"), "is no time"),
    ],
)
def test_impossible_arguments_are_refused(
    store: Store, arguments: tuple[str, ...], words: str
) -> None:
    done = run_command("reconcile", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_the_follower_examines_the_past_and_goes_on_from_there(
    numbered: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXCHANGES", "binance")

    health = Health()
    monkeypatch.setenv("RECONCILE_EVERY_SECONDS", "0.001")
    monkeypatch.setenv("RECONCILE_DELAY_SECONDS", "1")

    async def follow() -> None:
        follower = Follower(load(), numbered, health)
        await follower.examine()
        hours = {hour for (hour,) in numbered.rows("SELECT toUnixTimestamp(hour) FROM proofs")}
        assert START // SECOND in hours
        first = numbered.rows("SELECT max(checked_at) FROM proofs")
        await follower.examine()
        assert numbered.rows("SELECT max(checked_at) FROM proofs") > first
        assert set(proofs.examined(numbered)) == {"binance"}
        # The exchange does not answer, and the operator learns of it.
        running = asyncio.create_task(follower.run())
        async with asyncio.timeout(60):
            while not health.warnings():  # noqa: ASYNC110 - the health announces nothing
                await asyncio.sleep(0.05)
        running.cancel()
        assert "binance was examined without candles" in health.warnings()[0]
        assert not health.why_not_ready()

    asyncio.run(follow())
    states_found = numbered.rows("SELECT DISTINCT state FROM proof_intervals ORDER BY state")
    assert [state for (state,) in states_found] == ["missing", "unverifiable", "verified"]


def test_sessions_count_the_trades_of_redundant_connections(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_recorder, "REPORT_EVERY_S", 0.1)

    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, depth_per_s=0, twin_share=0)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim, redundant_connections=2)
            topic = Topic(settings, WATCHES)
            async with producing(settings, TRADES):
                await until(lambda: sim.ledger.summary().connections_open == 2)
                await topic.until(
                    lambda: sum(each.get("both", 0) > 20 for each in topic.messages) > 1,
                    "both connections count",
                )
            await asyncio.to_thread(topic.read)
            newest = {each["connection"]: each for each in topic.messages}
            first, second = (each["both"] for each in newest.values())
            assert abs(first - second) <= 3
            topic.close()

    asyncio.run(record())


def test_the_estimate_follows_from_both_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OKX_REST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OKX_WS_URL", "ws://127.0.0.1:9")
    counts = {"both": 900, "alone": 30}
    insert(
        store,
        WATCHES,
        session("okx", "trades", 0, 1, connection="0a", **counts),
        session("okx", "trades", 0, 1, connection="0b", **counts),
    )
    ((both, one, missed),) = store.rows(
        "SELECT brought_by_both, brought_by_one, estimated_missed FROM redundancy"
    )
    assert (both, one, missed) == (900, 60, 1.0)
    _, found = reconcile("okx")
    assert "okx: two connections brought 900 trades both and 60 alone" in found["notes"][-1]
    assert found["notes"][-1].endswith("both missed about 1.0")
