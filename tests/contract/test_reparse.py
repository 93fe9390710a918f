"""A parser fault is recorded through, fixed and reparsed: the tables equal those without it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from cases import of_exchange, others_nightly
from market_data import insert
from producing import Topic, producing
from radar import exchanges
from radar.checks.verify import verify_dataset
from radar.codec import message_format
from radar.datasets import DEPTH, FRAMES, TRADES, Dataset
from radar.errors import InvalidMessage
from radar.exchanges.base import Event, Exchange, Fetch, Stream, StreamRequest
from radar.kafka import Cluster
from radar.producer import producer
from radar.producer.recorders import DepthRecorder, KeyValue, Record, Recorder, Take, TradeRecorder
from radar.records import DepthSnapshot, Trade, TradeSide
from radar.reparse.run import Period, Report, reparse
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator
from support import Process, eventually, radar, run_command
from workers import waiting

ALL = Period(1_700_000_000_000_000, 4_000_000_000_000_000)
# What a wrong parser makes of a record.
Spoil = Callable[[Record], list[Record]]


def shifted(record: Record) -> list[Record]:
    """Put the decimal point at another place."""
    if isinstance(record, Trade):
        return [msgspec.structs.replace(record, price=f"{record.price.replace('.', '')}1")]
    return [msgspec.structs.replace(record, prices=tuple(10 * each for each in record.prices))]


def swapped(record: Record) -> list[Record]:
    """Take the maker's side for the taker's."""
    if isinstance(record, Trade):
        other = TradeSide.BUY if record.side is TradeSide.SELL else TradeSide.SELL
        return [msgspec.structs.replace(record, side=other)]
    return [msgspec.structs.replace(record, quantities=record.quantities[::-1])]


def ignored(record: Record) -> list[Record]:
    """Overlook some records, and take others twice."""
    if isinstance(record, Trade):
        digit = int(record.price[-1])
        return [] if digit % 3 == 0 else [record, record] if digit % 3 == 1 else [record]
    return [] if record.received_at_us % 3 == 0 else [record]


def late(record: Record) -> list[Record]:
    """Read the exchange's time as another second."""
    if isinstance(record, Trade):
        at_ms = record.event_time_ms - 7_000
        at_us = record.event_time_us and record.event_time_us - 7_000_000
        return [msgspec.structs.replace(record, event_time_ms=at_ms, event_time_us=at_us)]
    return [msgspec.structs.replace(record, sequence=record.sequence + 1)]


def fine(record: Record) -> list[Record]:
    return [record]


class Twin:
    """The messages that a producer without the fault publishes for the same frames."""

    def __init__(self, name: str, dataset: Dataset) -> None:
        self.messages: list[bytes] = []
        self.seen: list[bytes] = []  # every snapshot
        self._name, self._dataset = name, dataset
        self._recorder: Recorder

    def start(self) -> None:
        """Forget everything, as a new process does."""
        is_trades = self._dataset is TRADES
        self._recorder = TradeRecorder(self._name) if is_trades else DepthRecorder(self._name, 0)

    def taker(self) -> Take:
        take = self._recorder.taker()

        def note(record: Record) -> KeyValue | None:
            if isinstance(record, DepthSnapshot):
                self.seen.append(message_format.encode_depth(record))
            try:
                message = take(record)
            except InvalidMessage:
                return None
            if message is not None:
                self.messages.append(message[1])
            return message

        return note


class FaultyStream(Stream):
    """A stream with a fault in what it makes of frames."""

    def __init__(self, right: Stream, spoil: Spoil, take: Take) -> None:
        self._right, self._spoil, self._take = right, spoil, take
        self.url, self.headers = right.url, right.headers
        self.opened, self.keepalive = right.opened, right.keepalive  # type: ignore[method-assign]

    def receive(self, frame: bytes, received_at_us: int) -> Iterator[Event]:
        yield from self._spoiled(self._right.receive(frame, received_at_us))

    def fetched(self, fetch: Fetch, body: bytes, received_at_us: int) -> Iterator[Event]:
        yield from self._spoiled(self._right.fetched(fetch, body, received_at_us))

    def _spoiled(self, events: Any) -> Iterator[Event]:
        for event in events:
            if isinstance(event, Trade | DepthSnapshot):
                self._take(event)
                yield from self._spoil(event)
            else:
                yield event


def faulty(name: str, spoil: Spoil, twin: Twin) -> Exchange:
    """Return a driver with a fault."""
    right = exchanges.load(name)

    class Faulty(type(right)):  # type: ignore[misc]
        def open_stream(self, request: StreamRequest) -> Stream:
            return FaultyStream(super().open_stream(request), spoil, twin.taker())

    driver: Exchange = Faulty()
    return driver


class Recorded(NamedTuple):
    """A recording through a fault."""

    messages: list[bytes]
    frames: list[bytes]
    right: list[bytes]  # from the same frames, without the fault
    seen: list[bytes]  # every snapshot, without the fault and without conflation
    fetched: list[bytes]  # trades that came over REST


async def record(
    name: str, settings: Settings, dataset: Dataset, twin: Twin, **changes: Any
) -> tuple[list[bytes], list[bytes]]:
    """Record through connections that end and a restart; return the messages and the frames."""
    simulated = SimulatorOptions(
        exchange=name,
        symbols=4,
        trades_per_s=40 if dataset is TRADES else 0,
        depth_per_s=0 if dataset is TRADES else 60,
        twin_share=0.3,
        resend_count=5,
    )
    async with simulator(simulated) as sim:
        own = settings.model_copy(
            update={
                "exchanges": (name,),
                f"{name}_ws_url": sim.rest_url.replace("http", "ws"),
                f"{name}_rest_url": sim.rest_url,
                "reconnect_max_seconds": 0.5,
                "repair_requests_per_second": 200.0,
                "redundant_connections": 2,
                "depth_interval_seconds": 0.0,
                "record_frames": "all",
            }
            | changes
        ).of_exchange(name)
        topic, frames = Topic(own, dataset), Topic(own, FRAMES)
        for _ in range(2):
            twin.start()
            async with producing(own, dataset):
                await _until_more(twin, frames)
                sim.fault("kick")
                await _until_more(twin, frames)
        topic.read()
        frames.read()
        topic.close()
        frames.close()
    return [[msgspec.json.encode(each) for each in of.messages] for of in (topic, frames)]  # type: ignore[return-value]


async def _until_more(twin: Twin, frames: Topic) -> None:
    seen = len(twin.messages)
    await frames.until(lambda: len(twin.messages) > seen + 60, "records")


@pytest.fixture
def recorded(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorded]:
    """Record an exchange through a fault of its driver."""

    def run(name: str, dataset: Dataset, spoil: Spoil, **changes: Any) -> Recorded:
        twin, fetched = Twin(name, dataset), list[bytes]()
        taker = TradeRecorder.taker

        def noted(self: TradeRecorder, *, history: bool = False, **more: Any) -> Take:
            take = taker(self, history=history, **more)

            def note(record: Record) -> KeyValue | None:
                message = take(record)
                if message is not None:
                    fetched.append(message[1])
                return message

            return note if history else take

        with monkeypatch.context() as patch:
            patch.setattr(TradeRecorder, "taker", noted)
            patch.setattr(producer, "load", lambda _: faulty(name, spoil, twin))
            messages, frames = asyncio.run(record(name, kafka_settings, dataset, twin, **changes))
        return Recorded(messages, frames, twin.messages, twin.seen, fetched)

    return run


TABLES = {
    "trades": "SELECT * EXCEPT (received_at, inserted_at, kafka_partition, kafka_offset),"
    " toUnixTimestamp64Micro(received_at) FROM trades ORDER BY trade_id",
    "depth": "SELECT * EXCEPT (received_at, inserted_at, kafka_partition, kafka_offset),"
    " toUnixTimestamp64Micro(received_at) FROM orderbook_depth FINAL"
    " ORDER BY symbol, side, received_at",
}


def rows(store: Store, dataset: Dataset) -> list[tuple[Any, ...]]:
    return store.rows(TABLES[dataset.name])


def total(reports: list[Report]) -> dict[str, int]:
    return dict(sum((each.total for each in reports), type(reports[0].total)()))


def expected(store: Store, dataset: Dataset, values: list[bytes]) -> list[tuple[Any, ...]]:
    """Return the rows of messages, and leave the table empty."""
    insert(store, dataset, values, "expected")
    found = rows(store, dataset)
    store.command(f"TRUNCATE TABLE {dataset.table}")
    return found


@pytest.mark.parametrize(
    ("name", "dataset", "spoil"),
    [
        # Without native IDs: a corrected trade has another ID.
        ("wallex", TRADES, shifted),
        pytest.param("wallex", TRADES, ignored, marks=of_exchange("wallex")),
        pytest.param("nobitex", TRADES, late, marks=of_exchange("nobitex")),
        # With native IDs: a corrected trade keeps its ID.
        pytest.param("kraken", TRADES, shifted, marks=of_exchange("kraken")),
        ("okx", TRADES, late),
        # Trades of REST polls alone.
        pytest.param("tabdeal", TRADES, swapped, marks=of_exchange("tabdeal")),
        pytest.param("wallex", DEPTH, shifted, marks=of_exchange("wallex")),
        pytest.param("binance", DEPTH, ignored, marks=of_exchange("binance")),
        ("kraken", DEPTH, swapped),
    ],
)
def test_reparsed_tables_equal_those_without_the_fault(
    name: str,
    dataset: Dataset,
    spoil: Spoil,
    recorded: Callable[..., Recorded],
    store: Store,
) -> None:
    found = recorded(name, dataset, spoil)
    right = expected(store, dataset, found.right + found.fetched)
    insert(store, dataset, found.messages, "faulty")
    insert(store, FRAMES, found.frames, "frames")
    assert rows(store, dataset) != right

    assert total(reparse(store, ALL, dry_run=True)) == total(reparse(store, ALL, dry_run=True))
    assert rows(store, dataset) != right
    planned = total(reparse(store, ALL, dry_run=True))
    assert total(reparse(store, ALL, name)) == planned
    assert rows(store, dataset) == right
    assert total(reparse(store, ALL)) == {}
    # What came from Kafka twice does not double either.
    store.command(f"OPTIMIZE TABLE {dataset.table} FINAL")
    assert rows(store, dataset) == right


@pytest.mark.parametrize(
    ("name", "dataset"),
    others_nightly([("wallex", TRADES), ("okx", TRADES), ("wallex", DEPTH), ("kraken", DEPTH)]),
)
@pytest.mark.parametrize("part", others_nightly([0.0, 0.5]), ids=["whole", "second half"])
def test_reparse_changes_nothing_where_the_parser_is_right(
    name: str, dataset: Dataset, part: float, recorded: Callable[..., Recorded], store: Store
) -> None:
    found = recorded(name, dataset, fine, depth_interval_seconds=0.3)
    insert(store, dataset, found.messages, "messages")
    insert(store, FRAMES, found.frames, "frames")
    before = rows(store, dataset)
    times = sorted(msgspec.json.decode(each)["received_at_us"] for each in found.frames)
    begin_us = times[int(part * len(times))]
    (report,) = [
        each for each in reparse(store, Period(begin_us, times[-1])) if each.dataset == dataset.name
    ]
    assert report.frames > 50
    assert (report.changes, report.without_begin, report.missing_frames) == ({}, 0, 0)
    assert rows(store, dataset) == before


def test_conflated_snapshots_are_corrected_where_they_are(
    recorded: Callable[..., Recorded], store: Store
) -> None:
    found = recorded("wallex", DEPTH, shifted, depth_interval_seconds=0.3, redundant_connections=1)
    right = {(row[1], row[4], row[-1]): row for row in expected(store, DEPTH, found.seen)}
    insert(store, DEPTH, found.messages, "faulty")
    insert(store, FRAMES, found.frames, "frames")
    count = len(rows(store, DEPTH))
    assert total(reparse(store, ALL)) == {"changed": count}
    corrected = rows(store, DEPTH)
    assert len(corrected) == count
    assert all(right[row[1], row[4], row[-1]] == row for row in corrected)


def test_rows_of_missing_frames_stay_and_the_report_says_so(
    recorded: Callable[..., Recorded], store: Store
) -> None:
    found = recorded("wallex", TRADES, shifted)
    insert(store, TRADES, found.messages, "faulty")
    decoded = [msgspec.json.decode(each) for each in found.frames]
    begins = {each["connection"] for each in decoded if each["what"] == "opened"}
    beheaded = min(begins)
    kept = [each for each in decoded if (each["connection"], each["place"]) != (beheaded, 0)]
    lost = next(each for each in kept if each["connection"] != beheaded and each["place"] == 7)
    kept.remove(lost)
    insert(store, FRAMES, [msgspec.json.encode(each) for each in kept], "frames")
    before = rows(store, TRADES)
    (report,) = [each for each in reparse(store, ALL) if each.dataset == "trades"]
    assert (report.without_begin, report.missing_frames) == (1, 1)
    untouched = {
        each["received_at_us"] for each in decoded if each["connection"] == beheaded or each is lost
    } - {each["received_at_us"] for each in kept if each["connection"] != beheaded}
    after = set(rows(store, TRADES))
    assert {row for row in before if row[-1] in untouched} <= after
    assert set(before) - after


@pytest.mark.kafka_decides
def test_reparsed_rows_are_in_order_to_verify(
    recorded: Callable[..., Recorded],
    kafka_settings: Settings,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded("wallex", TRADES, shifted)
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    command = radar("consume", "trades", "frames")
    worker = Process(command, tmp_path / "worker.log", WORKER_ID="worker-1")
    try:
        eventually(
            lambda: not any(waiting(kafka_settings, each) for each in (TRADES, FRAMES)),
            "all is stored",
        )
    finally:
        worker.end()
    assert len(rows(store, TRADES)) > 100

    def run(*arguments: str) -> dict[str, Any]:
        done = run_command("reparse", "--from", "1h", "--exchange", "wallex", "--json", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        parsed: dict[str, Any] = json.loads(done.stdout)
        return parsed

    planned, done = run("--dry-run"), run()
    assert planned["datasets"] == done["datasets"]
    counts = done["datasets"][0]["markets"]
    assert sum(each["removed"] for each in counts) > 50
    report = verify_dataset(Cluster(kafka_settings), store, TRADES)
    # Several messages may have been one row.
    corrected = sum(each.corrected for each in report.partitions)
    assert corrected >= sum(each["removed"] for each in counts)
    assert (report.missing, report.doubled) == (0, 0)
