"""Compares what is stored with the exchange's ledger and with Kafka's log, message for message."""

import hashlib
import struct
from collections import Counter
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

import msgspec

from chaos.rig import DATASETS, Rig
from radar.checks.reconciliation import _shortest
from radar.datasets import TRADES, Dataset
from radar_simulator import read_ledger

Facts = tuple[str, str, Decimal, Decimal, str]  # symbol, second, price, amount, side


@dataclass
class Verdict:
    """What a run came to; every count but the first four must be 0."""

    trades_sent: int = 0
    trades_stored: int = 0
    depth_stored: int = 0
    bad_messages: int = 0
    trades_lost: int = 0  # sent while a connection was up, but not visible
    trades_unexpected: int = 0  # visible more often than the exchange told them in any way
    messages_lost: int = 0  # acknowledged by Kafka, but neither visible nor a dead letter
    phantom_rows: int = 0  # visible, but from no message
    visible_duplicates: int = 0
    physical_duplicates: int = 0  # messages with more than one row, before any merge
    dead_letters_wrong: int = 0  # missing, or of good messages

    @property
    def events(self) -> int:
        """Return how many events of the exchange were verified."""
        return self.trades_sent + self.depth_stored

    @property
    def exact(self) -> bool:
        """Tell whether nothing is lost and nothing doubled."""
        return not any(getattr(self, field.name) for field in fields(self)[4:])

    def __str__(self) -> str:
        return ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in asdict(self).items()
        )


def judge(rig: Rig) -> Verdict:
    """Compare; blocks. The run has settled."""
    verdict = Verdict()
    client = rig.client()
    try:
        _compare_with_ledger(rig, client, verdict)
        for name, dataset in DATASETS.items():
            _compare_with_log(rig, client, dataset, set(rig.bad[name]), verdict)
    finally:
        client.close()
    return verdict


def _compare_with_ledger(rig: Rig, client: Any, verdict: Verdict) -> None:
    ledger = read_ledger(rig.ledger_path)
    sent: Counter[Facts] = Counter()
    possible: Counter[Facts] = Counter()
    for trade in ledger:
        if trade.possible:
            facts = (
                trade.symbol,
                _shortest(trade.timestamp),
                Decimal(trade.price),
                Decimal(trade.quantity),
                str(trade.side),
            )
            possible[facts] += 1
            sent[facts] += trade.sent
    rows = client.query(
        "SELECT symbol, formatDateTime(event_time_us, '%Y-%m-%dT%H:%i:%S.%f', 'UTC'), price,"
        " base_amount, toString(side), count() FROM trades GROUP BY ALL"
    ).result_rows
    stored = Counter({(r[0], _shortest(r[1]), r[2], r[3], r[4]): int(r[5]) for r in rows})
    verdict.trades_sent = sent.total()
    verdict.trades_stored = stored.total()
    verdict.trades_lost = (sent - stored).total()
    verdict.trades_unexpected = (stored - possible).total()
    if verdict.trades_lost:
        lost = (rig.directory / "lost.txt").open("w")
        with lost:
            for facts, count in (sent - stored).items():
                print(count, *facts, file=lost)


def _compare_with_log(
    rig: Rig, client: Any, dataset: Dataset, bad_keys: set[bytes], verdict: Verdict
) -> None:
    log = rig.log(dataset)
    bad = {position for position, message in log.items() if message.key() in bad_keys}
    letters = {
        (int(headers[b"partition"]), int(headers[b"offset"]))
        for headers in map(_headers, rig.log(dataset, dead_letters=True).values())
    }
    verdict.bad_messages += len(bad)
    verdict.dead_letters_wrong += len(bad ^ letters) + len(bad_keys) - len(bad)
    ((rows, positions),) = client.query(
        f"SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM {dataset.table}"
    ).result_rows
    verdict.physical_duplicates += rows - positions
    # Readers of the book see the newest; the history is the table without duplicates.
    reader = "trades" if dataset is TRADES else "orderbook_depth FINAL"
    identities, counts = client.query(
        f"SELECT {_STORED_IDENTITY[dataset.name]} AS identity, count() FROM {reader}"
        " GROUP BY identity",
        column_oriented=True,
    ).result_columns or ((), ())
    visible = Counter(dict(zip(identities, counts, strict=True)))
    if dataset is not TRADES:
        verdict.depth_stored = visible.total()
    wanted = {_identity(dataset, message.value()) for at, message in log.items() if at not in bad}
    verdict.visible_duplicates += visible.total() - len(visible)
    verdict.messages_lost += len(wanted - visible.keys())
    verdict.phantom_rows += len(visible.keys() - wanted)


def _headers(message: Any) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in message.headers()}


# What a message and its row are known by. A trade's identity follows from what it says, which is
# compared with the ledger; a snapshot's is its book, its time and a hash of every level.
_STORED_IDENTITY = {
    "trades": "replaceAll(toString(trade_id), '-', '')",
    "depth": "concat(symbol, ' ', side, ' ', toUnixTimestamp64Micro(received_at), ' ', lower(hex("
    "MD5(arrayStringConcat(arrayMap(x -> toString(reinterpretAsUInt64(x)),"
    " arrayConcat(prices, quantities)), ' ')))))",
}


class _Trade(msgspec.Struct):
    trade_id: str


class _Snapshot(msgspec.Struct):
    symbol: str
    side: str


def _identity(dataset: Dataset, value: bytes) -> str:
    if dataset is TRADES:
        return msgspec.json.decode(value, type=_Trade).trade_id
    head, _, numbers = value.partition(b"\n")
    told = msgspec.json.decode(head, type=_Snapshot)
    received_at_us, _, _, _, *bits = struct.unpack(f"<{len(numbers) // 8}Q", numbers)
    content = hashlib.md5(" ".join(map(str, bits)).encode(), usedforsecurity=False).hexdigest()
    return f"{told.symbol} {told.side} {received_at_us} {content}"
