"""Compares the exchange's ledger with rows and gaps: every trade is stored or accounted for."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from radar.datasets import TRADES
from radar_simulator import read_ledger
from radar_simulator.listings import listings

if TYPE_CHECKING:
    from chaos.silent_rig import SilentRig

# A trade that is older must be stored, or lie inside a recorded gap, if a view says "fine".
FINE_DEADLINE_S = 30.0
# The exchange tells whole seconds, and its clock and the producer's need not agree.
MARGIN_S = 2.0
# Over-the-counter markets, which radar leaves alone on purpose.
NOT_RECORDED = {each.symbol for each in listings(1) if not each.is_spot}


class Place(NamedTuple):
    """Where a message stood in Kafka."""

    topic_id: str
    partition: int
    offset: int


class _Value(msgspec.Struct):
    symbol: str
    event_time_ms: int


class Witnessed(NamedTuple):
    """A message of trades that Kafka has had."""

    place: Place
    symbol: str
    second: int  # of the exchange, Unix time

    @classmethod
    def of(cls, place: Place, value: bytes) -> "Witnessed":
        """Read the message."""
        told = msgspec.json.decode(value, type=_Value)
        return cls(place, told.symbol, told.event_time_ms // 1000)


class Sample(NamedTuple):
    """What `radar status` said once."""

    at_s: float
    fine: bool
    missing: int  # trades that were neither stored nor accounted for although it said "fine"


class Look(NamedTuple):
    """The trades of a run that are not stored.

    Attributes:
        in_gaps: Trades that lie inside a recorded gap of their market.
        in_delivery_gaps: Trades whose message lies inside a recorded delivery gap.
        unrecorded: Market and second of those that nothing accounts for.
    """

    sent: int
    in_gaps: int
    in_delivery_gaps: int
    unrecorded: list[tuple[str, int]]


@dataclass
class SilentVerdict:
    """What a run of silent faults came to; every count but the first six must be 0."""

    trades_sent: int = 0  # that happened on the exchange
    trades_stored: int = 0
    trades_in_gaps: int = 0
    trades_in_delivery_gaps: int = 0
    status_fine: int = 0  # how often `radar status` said that everything flows
    status_not_fine: int = 0
    trades_unrecorded: int = 0  # neither stored nor inside a recorded gap
    trades_unexpected: int = 0  # stored more often than they happened
    dead_letters: int = 0  # no message was bad
    fine_without_evidence: int = 0  # "fine", although an older trade was not accounted for
    events: int = field(default=0, repr=False)

    @property
    def exact(self) -> bool:
        """Tell whether every trade is accounted for, and no view claimed too much."""
        return not (
            self.trades_unrecorded
            or self.trades_unexpected
            or self.dead_letters
            or self.fine_without_evidence
        )


def judge_silent(rig: "SilentRig") -> SilentVerdict:
    """Compare; blocks. The run has settled."""
    found = look(rig, until_s=None)
    verdict = SilentVerdict(
        trades_sent=found.sent,
        trades_in_gaps=found.in_gaps,
        trades_in_delivery_gaps=found.in_delivery_gaps,
        trades_unrecorded=len(found.unrecorded),
        status_fine=sum(sample.fine for sample in rig.samples),
        status_not_fine=sum(not sample.fine for sample in rig.samples),
        fine_without_evidence=sum(sample.missing > 0 for sample in rig.samples),
        dead_letters=len(rig.log(TRADES, dead_letters=True)),
    )
    happened = Counter(
        (trade.symbol, trade.timestamp, Decimal(trade.price), Decimal(trade.quantity), trade.side)
        for trade in read_ledger(rig.ledger_path)
    )
    client = rig.client()
    try:
        rows = client.query(
            "SELECT symbol, formatDateTime(event_time, '%Y-%m-%dT%H:%i:%SZ', 'UTC'),"
            " price, base_amount, toString(side), count() FROM trades GROUP BY ALL"
        ).result_rows
    finally:
        client.close()
    stored = Counter({tuple(row[:5]): int(row[5]) for row in rows})
    verdict.trades_stored = stored.total()
    verdict.trades_unexpected = (stored - happened).total()
    verdict.events = verdict.trades_sent
    if found.unrecorded:
        (rig.directory / "unrecorded.txt").write_text("\n".join(map(str, found.unrecorded)))
    return verdict


def look(rig: "SilentRig", until_s: float | None) -> Look:
    """Look for the trades that are not stored; blocks.

    Args:
        rig: The run.
        until_s: Look as of this Unix time: younger trades may still be under way. None: all.
    """
    newest_s = float("inf") if until_s is None else until_s - FINE_DEADLINE_S
    happened: Counter[tuple[str, int]] = Counter()
    for trade in read_ledger(rig.ledger_path):
        if trade.symbol in NOT_RECORDED:
            continue
        second = int(datetime.fromisoformat(trade.timestamp).timestamp())
        if rig.began_s + 1 <= second <= newest_s:
            happened[trade.symbol, second] += 1
    client = rig.client()
    try:
        stored = Counter(
            {
                (row[0], int(row[1])): int(row[2])
                for row in client.query(
                    "SELECT symbol, toUnixTimestamp(event_time), count() FROM trades GROUP BY ALL"
                ).result_rows
            }
        )
        gaps = client.query(
            "SELECT symbol, toUnixTimestamp64Micro(began_at) / 1e6,"
            " toUnixTimestamp64Micro(ended_at) / 1e6 FROM symbol_gaps"
            " WHERE record_kind = 'trades'"
        ).result_rows
        lost = client.query(
            # How far a topic reached that was recreated is not known.
            "SELECT topic_id, partition, first_offset,"
            " if(extent = 'unknown', 9223372036854775807, last_offset) FROM delivery_gaps FINAL"
            f" WHERE topic = '{TRADES.topic}'"
        ).result_rows
    finally:
        client.close()
    missing = happened - stored
    in_gaps = _inside(missing, gaps)
    left = missing - in_gaps
    in_delivery_gaps = left & _lost(rig.witnessed() if left and lost else (), lost)
    left -= in_delivery_gaps
    return Look(
        happened.total(), in_gaps.total(), in_delivery_gaps.total(), sorted(left.elements())
    )


def _inside(
    missing: Counter[tuple[str, int]], gaps: Iterable[tuple[str, float, float]]
) -> Counter[tuple[str, int]]:
    """Return the trades that lie inside a gap of their market."""
    of_market: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for symbol, began_s, ended_s in gaps:
        of_market[symbol].append((began_s - MARGIN_S, ended_s + MARGIN_S))
    return Counter(
        {
            (symbol, second): count
            for (symbol, second), count in missing.items()
            if any(began <= second <= ended for began, ended in of_market[symbol])
        }
    )


def _lost(messages: Iterable[Witnessed], gaps: Iterable[Any]) -> Counter[tuple[str, int]]:
    """Return the trades whose message lies inside a delivery gap."""
    ranges: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for topic_id, partition, first, last in gaps:
        ranges[topic_id, int(partition)].append((int(first), int(last)))
    return Counter(
        (message.symbol, message.second)
        for message in messages
        if any(
            first <= message.place.offset <= last
            for first, last in ranges[message.place.topic_id, message.place.partition]
        )
    )
