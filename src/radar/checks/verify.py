"""`radar verify`: compare Kafka's messages with ClickHouse's rows, one by one.

Every message before a group's committed offset must be a row, or a dead letter. A row is recognised
by its ID and not by its offset alone. The same trade may have been delivered twice, and a recreated
topic has the same offsets once more. Messages are streamed and compared some thousands at a time;
of the dead letters only digests are kept.

These messages do not count as missing:

- messages that Kafka has deleted after they were stored;
- messages whose rows have expired, or were removed by `radar reparse`;
- messages that still wait;
- messages that an operator skipped because no client can read them (table `delivery_gaps`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

from radar.checks import ledger as ledger_file
from radar.checks.reconciliation import TradesReconciliation, reconcile_trades, second_of
from radar.checks.rows import Identity, Key, from_table, is_valid, read_key, rows_of
from radar.consumer.delivery_gaps import OPEN, TRUNCATED, UNKNOWN, DeliveryGap, recorded
from radar.consumer.dlq.reader import DeadLetterReader, identity
from radar.datasets import DATASETS, RECORDED, Dataset
from radar.errors import InvalidRequest
from radar.kafka import Cluster, Lag, OffsetRange, StoredMessage
from radar.settings import Settings
from radar.store.client import Store
from radar.store.queries import checks as queries
from radar.store.retention import retention_days

# The most messages that are compared at once, and about their largest size together.
CHUNK_MESSAGES = 10_000
CHUNK_BYTES = 16 * 1024 * 1024
# Parameters that do not fit into an address go as a form, which the embedded server refuses.
LOOK_UP_KEYS = 80
SHOWN_PLACES = 5
# How long a trade may take from the exchange to its row.
SETTLE_S = 30.0
SETTLE_EVERY_S = 1.0
QUERY_TIMEOUT_S = 600.0


@dataclass
class PartitionReport:
    """The result for the messages of one partition.

    Attributes:
        partition: Its number.
        compared: Messages that Kafka still has and that must be stored.
        rows: Of these, the ones that are rows.
        repeated: The ones whose row came from another delivery of the same.
        dead_letters: The ones that are dead letters, or were until an operator purged them.
        corrected: The ones whose rows `radar reparse` has removed.
        expired: The ones whose rows the table no longer keeps.
        skipped: Offsets that an operator skipped and that are none of these.
        missing: The ones that are none of these.
        deleted_unstored: Messages that Kafka has deleted before they were stored, and that no
            delivery gap names yet.
        lost: Offsets of open delivery gaps that Kafka no longer holds.
        lost_words: These gaps, in words.
        waiting: Messages that are not stored yet, and not compared.
        places: Offsets of the first missing ones.
    """

    partition: int
    compared: int = 0
    rows: int = 0
    repeated: int = 0
    dead_letters: int = 0
    corrected: int = 0
    expired: int = 0
    skipped: int = 0
    missing: int = 0
    deleted_unstored: int = 0
    lost: int = 0
    lost_words: list[str] = field(default_factory=list)
    waiting: int = 0
    places: list[int] = field(default_factory=list)


@dataclass
class SymbolReport:
    """The result for the messages of one market."""

    compared: int = 0
    missing: int = 0
    doubled: int = 0  # rows that readers see more than once


@dataclass
class DatasetReport:
    """The result for the messages of one dataset."""

    dataset: str
    partitions: list[PartitionReport] = field(default_factory=list)
    symbols: dict[str, SymbolReport] = field(default_factory=dict)
    foreign: int = 0  # rows at offsets where Kafka has other messages

    @property
    def missing(self) -> int:
        """Messages that are neither rows nor dead letters."""
        return sum(each.missing + each.deleted_unstored + each.lost for each in self.partitions)

    @property
    def doubled(self) -> int:
        """Surplus rows: readers see more than one row of a message."""
        return sum(each.doubled for each in self.symbols.values())


@dataclass
class VerifyReport:
    """The result of a comparison."""

    datasets: list[DatasetReport]
    ledger: TradesReconciliation | None = None  # None without a simulated exchange

    @property
    def exact(self) -> bool:
        """Whether no message is missing and no row is doubled."""
        datasets = any(each.missing or each.doubled for each in self.datasets)
        trades = self.ledger is not None and (self.ledger.lost or self.ledger.unexpected)
        return not (datasets or trades)


def verify(
    settings: Settings,
    ledgers: Sequence[Path] = (),
    progress: Callable[[str, int, int], None] = lambda _dataset, _done, _all: None,
) -> VerifyReport:
    """Compare all datasets, and the trades with the ledgers of simulated exchanges; blocks.

    Args:
        settings: The options, with the addresses of Kafka and ClickHouse.
        ledgers: The files of simulated exchanges.
        progress: Called with a dataset, the number of compared messages, and that of all.

    Raises:
        BrokerUnavailable: Kafka does not answer.
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The tables are missing.
        RadarError: The ledger cannot be read.
    """
    cluster = Cluster(settings)
    store = Store(settings, timeout_s=QUERY_TIMEOUT_S)
    try:
        datasets = [
            verify_dataset(cluster, store, dataset, progress) for dataset in DATASETS.values()
        ]
        found = [_verify_ledger(store, ledger) for ledger in ledgers]
        return VerifyReport(datasets, sum(found[1:], found[0]) if found else None)
    finally:
        store.close()


def check_ledger(path: Path) -> None:
    """Read the beginning of a simulated exchange's ledger.

    Raises:
        InvalidRequest: There is no such file, or it cannot be read.
    """
    try:
        ledger_file.started_us(path)
    except OSError as error:
        raise InvalidRequest(
            f"cannot read the ledger {path}: {error.strerror}: give --ledger the file that"
            " `radar simulate --ledger` writes"
        ) from error


def verify_dataset(
    cluster: Cluster,
    store: Store,
    dataset: Dataset,
    progress: Callable[[str, int, int], None] = lambda _dataset, _done, _all: None,
) -> DatasetReport:
    """Compare one dataset; blocks. See `verify`."""
    report = DatasetReport(dataset.name)
    lags = cluster.lag(dataset.topic, dataset.group)
    # After the offsets: a message is a dead letter before its block is committed.
    letters = DeadLetterReader(cluster, dataset).identities()
    gaps = recorded(store, dataset.topic)
    topic_id = cluster.topic_id(dataset.topic) if lags else ""
    oldest_us = None
    done, all_messages = (
        0,
        sum(max(0, min(each.committed or 0, each.end) - each.start) for each in lags),
    )
    for lag in lags:
        comparison = _Comparison(
            store,
            dataset,
            letters,
            report,
            lag,
            [gap for gap in gaps if gap.topic_id == topic_id and gap.state != OPEN],
        )
        if stored := min(lag.committed or 0, lag.end):
            messages = cluster.messages(
                dataset.topic, {lag.partition: stored}, lag.partition, comparison.take_unreadable
            )
            for chunk in _chunks(messages):
                comparison.take(chunk)
                done += len(chunk)
                progress(dataset.name, done, all_messages)
        comparison.take_lost(
            [each for each in gaps if each.partition == lag.partition], topic_id, lag.start
        )
        report.partitions.append(comparison.partition)
        if comparison.oldest_us is not None:
            oldest_us = min(comparison.oldest_us, oldest_us or comparison.oldest_us)
    if oldest_us is not None:
        for symbol, count in _doubled(store, dataset, oldest_us):
            report.symbols.setdefault(symbol, SymbolReport()).doubled = count
    return report


def _chunks(messages: Iterable[StoredMessage]) -> Iterator[list[StoredMessage]]:
    chunk: list[StoredMessage] = []
    size_bytes = 0
    for message in messages:
        chunk.append(message)
        size_bytes += len(message)
        if len(chunk) >= CHUNK_MESSAGES or size_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    if chunk:
        yield chunk


class _Comparison:
    """Compares the messages of one partition, chunk by chunk."""

    def __init__(
        self,
        store: Store,
        dataset: Dataset,
        letters: set[bytes],
        report: DatasetReport,
        lag: Lag,
        gaps: list[DeliveryGap],
    ) -> None:
        self._store = store
        self._dataset = dataset
        self._letters = letters
        self._report = report
        self._gaps = [gap for gap in gaps if gap.partition == lag.partition]
        self._expired_before_us = _expired_before_us(store, dataset)
        self.oldest_us: int | None = None
        self.partition = PartitionReport(lag.partition, waiting=max(0, lag.messages))
        if lag.committed is not None:
            self.partition.deleted_unstored = max(0, lag.start - lag.committed)

    def take(self, messages: list[StoredMessage]) -> None:
        """Compare some messages, in the order of their offsets."""
        keys = [read_key(self._dataset, message.value() or b"") for message in messages]
        rows = self._rows_at(messages[0].offset(), messages[-1].offset())
        stored = {each for _, each in rows}
        offsets = {message.offset() for message in messages}
        own = {key.identity for key in keys if key is not None}
        self._report.foreign += sum(offset in offsets and each not in own for offset, each in rows)
        left: list[tuple[StoredMessage, Key | None]] = []
        for message, key in zip(messages, keys, strict=True):
            self.partition.compared += 1
            if key is None:
                left.append((message, key))
                continue
            self._of(key.symbol).compared += 1
            self.oldest_us = min(key.received_us, self.oldest_us or key.received_us)
            if key.identity in stored:
                self.partition.rows += 1
            else:
                left.append((message, key))
        for start in range(0, len(left), LOOK_UP_KEYS):
            self._look_up(left[start : start + LOOK_UP_KEYS])

    def take_unreadable(self, lost: OffsetRange) -> None:
        """Count offsets that cannot be read; those without an operator's skip are missing."""
        skipped = sum(
            max(0, min(gap.last, lost.last) - max(gap.first, lost.first) + 1) for gap in self._gaps
        )
        skipped = min(skipped, lost.offsets)
        self.partition.compared += lost.offsets
        self.partition.skipped += skipped
        self.partition.missing += lost.offsets - skipped
        if skipped < lost.offsets and len(self.partition.places) < SHOWN_PLACES:
            self.partition.places.append(lost.first)

    def take_lost(self, gaps: list[DeliveryGap], topic_id: str, start: int) -> None:
        """Count the offsets of open gaps that Kafka no longer holds and that were not compared."""
        for gap in gaps:
            last = gap.last
            if gap.topic_id == topic_id and gap.cause != TRUNCATED:
                last = min(last, start - 1)  # the others are compared one by one
            if gap.state == OPEN and gap.first <= last:
                more = ", perhaps more" if gap.extent == UNKNOWN else ""
                self.partition.lost += last - gap.first + 1
                self.partition.lost_words.append(
                    f"{gap.cause}, offsets {gap.first} to {last}{more}"
                )

    def _is_skipped(self, offset: int) -> bool:
        return any(gap.first <= offset <= gap.last for gap in self._gaps)

    def _look_up(self, left: list[tuple[StoredMessage, Key | None]]) -> None:
        """Decide on messages that are not rows at their places."""
        keys = [key for _, key in left if key is not None]
        found = self._find(keys)
        removed = self._removed([key for key in keys if key.identity not in found])
        for message, key in left:
            value = message.value() or b""
            place = (self._dataset.topic, message.partition(), message.offset())
            if key is not None and key.identity in found:
                self.partition.repeated += 1
            elif key is not None and key.identity in removed:
                self.partition.corrected += 1
            elif identity(*place, value) in self._letters:
                self.partition.dead_letters += 1
            elif (
                key is not None
                and key.received_us < self._expired_before_us
                and is_valid(self._dataset, value)
            ):
                self.partition.expired += 1
            elif self._is_skipped(message.offset()):
                self.partition.skipped += 1
            else:
                self.partition.missing += 1
                if len(self.partition.places) < SHOWN_PLACES:
                    self.partition.places.append(message.offset())
                if key is not None:
                    self._of(key.symbol).missing += 1

    def _rows_at(self, first: int, last: int) -> list[tuple[int, Identity]]:
        rows = self._store.rows(
            queries.rows_at(self._dataset.table, rows_of(self._dataset).identity),
            {"partition": self.partition.partition, "first": first, "last": last},
        )
        return [(int(row[0]), from_table(row[1:])) for row in rows]

    def _find(self, keys: list[Key]) -> set[Identity]:
        if not keys:
            return set()
        rows = rows_of(self._dataset)
        found = self._store.rows(
            queries.rows_with(self._dataset.table, rows.identity, *rows.look_up),
            {"values": [key.look_up for key in keys]},
        )
        return {from_table(row) for row in found}

    def _removed(self, keys: list[Key]) -> set[Identity]:
        """Return which rows `radar reparse` has removed."""
        names = {"|".join(map(str, key.identity)): key.identity for key in keys}
        if not names or self._dataset.name not in RECORDED:
            return set()
        found = self._store.rows(queries.removed(names), {"kind": self._dataset.name})
        return {names[str(name)] for (name,) in found}

    def _of(self, symbol: str) -> SymbolReport:
        return self._report.symbols.setdefault(symbol, SymbolReport())


def _expired_before_us(store: Store, dataset: Dataset) -> int:
    """Return the time of receipt from which rows are kept, Unix time."""
    days = retention_days(store, dataset.table)
    return 0 if days is None else int((time() - days * 86_400) * 1e6)


def _doubled(store: Store, dataset: Dataset, since_us: int) -> list[tuple[str, int]]:
    """Return the surplus rows of each market that readers see, since a time of receipt."""
    rows = rows_of(dataset)
    found = store.rows(
        queries.surplus_rows(rows.visible, rows.symbol, rows.identity),
        {"since": since_us},
    )
    return [(str(symbol), int(count)) for symbol, count in found]


def _verify_ledger(store: Store, ledger: Path) -> TradesReconciliation:
    """Compare the trades that the exchange has sent until now, after the time to store them."""
    since_us = ledger_file.started_us(ledger)
    exchange = ledger_file.exchange(ledger)
    # The newest second is not over yet.
    before = _newest_second(ledger_file.trades(ledger))
    deadline_s = monotonic() + SETTLE_S
    while True:
        found = reconcile_trades(store, ledger, since_us, before, exchange=exchange)
        if not (found.lost or found.unexpected) or monotonic() > deadline_s:
            return found
        sleep(SETTLE_EVERY_S)


def _newest_second(trades: Iterable[Any]) -> str:
    return max((second_of(trade.timestamp) for trade in trades), default="")


def facts(report: VerifyReport) -> dict[str, Any]:
    """Return the result, for JSON."""
    found = asdict(report)
    for dataset, each in zip(found["datasets"], report.datasets, strict=True):
        dataset |= {"missing": each.missing, "doubled": each.doubled}
    return {"exact": report.exact} | found


def describe(report: VerifyReport) -> Iterator[str]:
    """Describe the result, line by line."""
    for dataset in report.datasets:
        yield f"{dataset.dataset}:"
        for each in dataset.partitions:
            yield f"  partition {each.partition}: {_partition_words(each)}"
        for symbol, market in sorted(dataset.symbols.items()):
            if market.missing or market.doubled:
                yield f"  {symbol}: {market.missing:,} missing, {market.doubled:,} doubled"
        if dataset.foreign:
            yield (
                f"  note: {dataset.foreign:,} rows come from other messages at these offsets: the"
                " topic was made anew, or the broker lost the end of its log"
            )
    if (ledger := report.ledger) is not None:
        yield (
            f"exchange: sent {ledger.sent:,} trades, stored {ledger.stored:,}"
            f" ({ledger.fetched:,} of them only over REST), missing {ledger.lost:,},"
            f" doubled {ledger.unexpected:,}"
        )
    if not report.exact:
        missing = sum(each.missing for each in report.datasets)
        doubled = sum(each.doubled for each in report.datasets)
        yield (
            f"NOT everything is there once: of Kafka's messages {missing:,} are missing,"
            f" {doubled:,} rows are doubled"
        )
    elif any(each.compared for dataset in report.datasets for each in dataset.partitions):
        yield "no message is missing and no row is doubled"
    else:
        yield "no message is stored yet, and none is missing"


def _partition_words(each: PartitionReport) -> str:
    words = [f"{each.compared:,} message{_s(each.compared)}, {each.rows + each.repeated:,} stored"]
    if each.repeated:
        words.append(f"{each.repeated:,} of them delivered more than once")
    if each.dead_letters:
        words.append(f"{each.dead_letters:,} dead letter{_s(each.dead_letters)}")
    if each.corrected:
        words.append(f"{each.corrected:,} removed by radar reparse")
    if each.expired:
        words.append(f"{each.expired:,} expired")
    if each.skipped:
        words.append(f"{each.skipped:,} skipped (see the table delivery_gaps)")
    if each.waiting:
        words.append(f"{each.waiting:,} waiting")
    if each.missing:
        more = ", …" if each.missing > len(each.places) else ""
        words.append(f"{each.missing:,} MISSING (offsets {', '.join(map(str, each.places))}{more})")
    if each.lost:
        shown = each.lost_words[:SHOWN_PLACES]
        more = "; …" if len(each.lost_words) > len(shown) else ""
        words.append(f"{each.lost:,} MISSING ({'; '.join(shown)}{more})")
    if each.deleted_unstored:
        words.append(
            f"{each.deleted_unstored:,} MISSING: Kafka deleted them before they were stored"
        )
    return ", ".join(words)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
