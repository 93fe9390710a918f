"""`radar reparse`: derive trades and books again from recorded frames, and correct the tables.

The frames of a period are read in windows, in the order of each producer's monotonic clock. Before
the period they are read from the begin of its connections on, because a stream has state. Then each
window's rows are compared with the records that follow from the frames.

Corrected rows are inserted first, and wrong ones are deleted at the end. A run that is broken off
deletes no row; the next run finds the same wrong rows.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from radar.codec.batch_decoder import Column
from radar.datasets import DEPTH, RECORDED, Dataset
from radar.exchanges import load
from radar.reparse.changes import (
    Change,
    DepthRow,
    Origins,
    SetBack,
    Snapshots,
    TradeRow,
    changes_of_trades,
    unstored,
    wrong_trades,
)
from radar.reparse.derive import Books, Delivered, Derivation, Trades
from radar.reparse.frames import connections, frames, producers_began_us
from radar.store.client import Store
from radar.store.queries import reparse as queries

SECOND_US = 1_000_000
WINDOW_US = 60 * SECOND_US
# A process that began at most so long before the period is read from its begin on; of an older one
# only the connections of the period.
WARM_UP_US = 24 * 3600 * SECOND_US
# Stored snapshots are read so far ahead: one of several in a frame counts as received later.
AHEAD_US = SECOND_US
FLUSH_CHANGES = 5_000
LOOK_UP_IDS = 1_000


class Period(NamedTuple):
    """A time of receipt, Unix time; the end is not included."""

    begin_us: int
    end_us: int


@dataclass
class Report:
    """The result for one dataset of an exchange.

    Attributes:
        exchange: Name of the exchange.
        dataset: The corrected dataset.
        frames: Frames of the period's connections that were parsed.
        connections: Connections of the period.
        without_begin: Those whose first frame is not stored: their rows stay as they are.
        missing_frames: Frames that the places of connections prove to be missing.
        changes: Corrected rows by market and kind.
    """

    exchange: str
    dataset: str
    frames: int = 0
    connections: int = 0
    without_begin: int = 0
    missing_frames: int = 0
    changes: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, changes: Iterable[Change]) -> None:
        """Count changes; a row that is replaced counts once."""
        seen = {(each.row_key, each.kind, each.symbol) for each in changes}
        for _, kind, symbol in seen:
            self.changes.setdefault(symbol, Counter())[str(kind)] += 1

    @property
    def total(self) -> Counter[str]:
        """Corrected rows by kind, of all markets."""
        return sum(self.changes.values(), Counter[str]())


# Called with the present task, the finished number of seconds, and that of all.
Progress = Callable[[str, int, int], None]


def reparse(
    store: Store,
    period: Period,
    exchange: str = "",
    *,
    dry_run: bool = False,
    progress: Progress = lambda _what, _done, _all: None,
) -> list[Report]:
    """Correct the trades and books of a period; blocks.

    Args:
        store: The database; its user may delete rows.
        period: The time of receipt.
        exchange: Name of the exchange; empty: all that have frames of the period.
        dry_run: Only report the changes.
        progress: Called from time to time.

    Raises:
        ConfigurationError: There is no such exchange.
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses a statement.
    """
    period = Period(period.begin_us, min(period.end_us, time.time_ns() // 1000))
    parameters = {"begin": period.begin_us, "end": period.end_us}
    names = (
        [exchange]
        if exchange
        else [str(row[0]) for row in store.rows(queries.RECORDED_EXCHANGES, parameters)]
    )
    run = time.time_ns() // 1000
    return [
        _Run(store, name, dataset, period, run, dry_run=dry_run).work(progress)
        for name in names
        for dataset in RECORDED.values()
    ]


class _Run:
    """One dataset of one exchange."""

    def __init__(
        self,
        store: Store,
        source: str,
        dataset: Dataset,
        period: Period,
        run: int,
        *,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._exchange = load(source)
        self._dataset = dataset
        self._period = period
        self._run = run
        self._dry_run = dry_run
        self._report = Report(source, dataset.name)
        self._derivations: dict[str, Derivation] = {}
        self._newest: dict[str, tuple[int, int]] = {}  # unix and monotonic, by producer
        self._origins = Origins()
        self._snapshots = Snapshots(source)
        self._waiting: list[Change] = []
        self._added: set[str] = set()
        self._has_deleted = False

    def work(self, progress: Progress) -> Report:
        """Derive, compare and correct."""
        period, report = self._period, self._report
        found = connections(
            self._store, report.exchange, self._dataset, period.begin_us, period.end_us
        )
        whole = [each for each in found if not each.first_place]
        report.connections = len(found)
        report.without_begin = len(found) - len(whole)
        producers = {each.producer for each in whole}
        if not producers:
            return report
        began_us = producers_began_us(self._store, report.exchange, self._dataset, producers)
        first_us = min(
            began_us[each.producer]
            if began_us[each.producer] >= period.begin_us - WARM_UP_US
            else each.began_us
            for each in whole
        )
        for begin_us, end_us in self._windows(first_us):
            progress(
                f"{report.exchange} {report.dataset}",
                (begin_us - first_us) // SECOND_US,
                (period.end_us - first_us) // SECOND_US,
            )
            self._take_stored(begin_us, end_us)
            self._derive(producers, begin_us, end_us)
            self._judge(begin_us, end_us)
            self._origins.forget_before(end_us - 2 * WINDOW_US - self._interval_us)
        self._judge_snapshots(period.end_us)
        self._flush()
        self._delete()
        report.missing_frames = sum(each.missing for each in self._derivations.values())
        return report

    def _windows(self, first_us: int) -> Iterator[tuple[int, int]]:
        """Yield windows: up to the period, of the period, and of an interval behind it."""
        period = self._period
        at_us = first_us
        while at_us < period.end_us:
            bound_us = period.begin_us if at_us < period.begin_us else period.end_us
            end_us = min(bound_us, at_us + WINDOW_US)
            yield at_us, end_us
            at_us = end_us
        # A snapshot is due an interval after it was received, at most.
        last_us = min(period.end_us + 2 * self._interval_us, time.time_ns() // 1000)
        while at_us < last_us:
            end_us = min(last_us, at_us + WINDOW_US)
            yield at_us, end_us
            at_us = end_us

    @property
    def _interval_us(self) -> int:
        derived = (each.derived for each in self._derivations.values())
        return max((each.interval_us for each in derived if isinstance(each, Books)), default=0)

    def _derive(self, producers: set[str], begin_us: int, end_us: int) -> None:
        report = self._report
        for frame in frames(
            self._store, report.exchange, self._dataset, producers, begin_us, end_us
        ):
            derivation = self._derivations.get(frame.producer)
            if derivation is None:
                derivation = Derivation(self._exchange, self._dataset)
                self._derivations[frame.producer] = derivation
            before = derivation.frames
            derivation.take(frame)
            self._newest[frame.producer] = (frame.received_at_ns, frame.monotonic_ns)
            if derivation.frames > before:
                self._origins.add(frame.received_at_us, len(frame.content))
                report.frames += self._period.begin_us <= frame.received_at_us < self._period.end_us
        for producer, (unix_ns, monotonic_ns) in self._newest.items():
            passed_ns = max(0, end_us * 1000 - unix_ns)
            self._derivations[producer].derived.advance(monotonic_ns + passed_ns)

    def _take_stored(self, begin_us: int, end_us: int) -> None:
        """Read the stored snapshots of a window; those around the period are not judged."""
        if self._dataset is not DEPTH:
            return
        period = self._period
        begin_us = max(begin_us, period.begin_us)
        end_us = min(end_us + AHEAD_US, period.end_us)
        if begin_us < end_us:
            rows = self._rows(queries.DEPTH, begin_us, end_us)
            self._snapshots.take_stored(_depth_row(row) for row in rows)

    def _judge(self, begin_us: int, end_us: int) -> None:
        period = self._period
        is_inside = period.begin_us <= begin_us < period.end_us
        for derivation in self._derivations.values():
            derived = derivation.derived
            if isinstance(derived, Books):
                due = [
                    each
                    for each in derived.published
                    if period.begin_us <= each.received_at_us < period.end_us
                ]
                self._snapshots.take_derived(derived.seen, due)
                derived.seen.clear()
                derived.published.clear()
        if self._dataset is DEPTH:
            self._judge_snapshots(min(end_us - 2 * self._interval_us, period.end_us))
            return
        trades: dict[str, Delivered] = {}
        for derivation in self._derivations.values():
            if isinstance(derivation.derived, Trades):
                _move(derivation.derived.found, trades, end_us)
        if is_inside:
            self._judge_trades(
                {k: each for k, each in trades.items() if each.first.received_at_us >= begin_us},
                begin_us,
                end_us,
            )

    def _judge_snapshots(self, end_us: int) -> None:
        self._note(self._snapshots.changes(end_us, self._interval_us, self._origins))

    def _judge_trades(self, derived: dict[str, Delivered], begin_us: int, end_us: int) -> None:
        rows = [_trade_row(row) for row in self._rows(queries.TRADES, begin_us, end_us)]
        wrong = wrong_trades(derived, rows, self._origins)
        bad = set(wrong)
        missing = unstored(derived, (row for row in rows if row not in bad))
        missing = {name: each for name, each in missing.items() if name not in self._added}
        others: list[TradeRow] = []
        names = list(missing)
        for start in range(0, len(names), LOOK_UP_IDS):
            found = self._store.rows(
                queries.trades_with(names[start : start + LOOK_UP_IDS]),
                {"source": self._report.exchange},
            )
            others += [_trade_row(row) for row in found]
        set_back = SetBack()
        for row in rows:
            set_back.note(row.received_at_us, row.set_back_us)
        changes = changes_of_trades(derived, wrong, missing, others, set_back)
        self._added.update(missing)
        self._note(changes)

    def _rows(self, query: str, begin_us: int, end_us: int) -> list[tuple[Any, ...]]:
        parameters = {"source": self._report.exchange, "begin": begin_us, "end": end_us}
        return self._store.rows(query, parameters)

    def _note(self, changes: list[Change]) -> None:
        self._report.count(changes)
        if not self._dry_run:
            self._waiting += changes
            if len(self._waiting) >= FLUSH_CHANGES:
                self._flush()

    def _flush(self) -> None:
        """Insert corrected rows, and record the changes."""
        changes, self._waiting = self._waiting, []
        if not changes:
            return
        values = [each.message for each in changes if each.message is not None]
        first = self._report.total.total()
        token = f"reparse-{self._run}-{self._report.exchange}-{self._dataset.name}-{first}"
        if values:
            place = [
                Column(
                    "kafka_partition",
                    "UInt16",
                    np.full(len(values), queries.REPARSED_PARTITION, np.uint16),
                ),
                Column("kafka_offset", "UInt64", np.full(len(values), self._run, np.uint64)),
            ]
            columns = [*self._dataset.read_columns(values), *place]
            self._store.insert(self._dataset.table, [(len(values), columns)], token)
        self._store.insert("reparse_changes", [(len(changes), self._columns(changes))], token)
        self._has_deleted |= any(each.deleted for each in changes)

    def _columns(self, changes: list[Change]) -> list[Column]:
        texts = {
            "source": [self._report.exchange] * len(changes),
            "record_kind": [self._dataset.name] * len(changes),
            "symbol": [each.symbol for each in changes],
            "change": [str(each.kind) for each in changes],
            "row_key": [each.row_key for each in changes],
            "deleted": [each.deleted for each in changes],
        }
        times = np.array([each.received_at_us for each in changes], np.int64)
        return [
            *(Column(name, "String", values) for name, values in texts.items()),
            Column("received_at", "DateTime64(6, 'UTC')", times),
            Column("run", "UInt64", np.full(len(changes), self._run, np.uint64)),
        ]

    def _delete(self) -> None:
        """Delete the wrong deliveries; the corrected ones are there."""
        if self._has_deleted:
            self._store.command(
                queries.DELETE[self._dataset.name],
                {
                    "source": self._report.exchange,
                    "kind": self._dataset.name,
                    "begin": self._period.begin_us,
                    "end": self._period.end_us,
                    "run": self._run,
                },
            )


def _move(found: dict[str, Delivered], into: dict[str, Delivered], end_us: int) -> None:
    """Move the trades before a time."""
    for name in [name for name, each in found.items() if each.first.received_at_us < end_us]:
        into[name] = found.pop(name).merged(into.get(name))


def _trade_row(row: tuple[Any, ...]) -> TradeRow:
    base, quote, side, price, amount, native_id = map(str, row[4:10])
    numbers = int(row[2]), int(row[3])
    return TradeRow(
        str(row[0]), str(row[1]), *numbers, base, quote, side, price, amount, native_id,
        int(row[10]), int(row[11]), int(row[12]),
    )  # fmt: skip


def _depth_row(row: tuple[Any, ...]) -> DepthRow:
    return DepthRow(
        str(row[0]), str(row[1]), int(row[2]), str(row[3]), str(row[4]),
        tuple(map(float, row[5])), tuple(map(float, row[6])), int(row[7]), int(row[8]),
        bool(row[9]), int(row[10]),
    )  # fmt: skip
