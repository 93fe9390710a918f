"""Records gaps: it combines the reports of connections and backfill, and publishes the gaps."""

import time
from collections.abc import Callable, Collection, Hashable, Iterable
from datetime import UTC, datetime

import structlog

from radar.clock import unix_us
from radar.codec import message_format
from radar.datasets import Dataset
from radar.producer.gaps import (
    EVENT_TIME_MARGIN_US,
    AwaitedBackfills,
    Coverage,
    Read,
    Uncovered,
)
from radar.producer.reports import Reports
from radar.producer.trade_sequence import Hole
from radar.records import Gap, GapCause
from radar.telemetry import metrics

# A market may wait for its turn until all markets were read at a low rate of requests.
# Monotonic: the clock may be set meanwhile.
BACKFILL_TIMEOUT_US = 120_000_000
LOOK_EVERY_US = 1_000_000
SHOWN_SYMBOLS = 5

_log = structlog.get_logger()


class GapRecorder:
    """Publishes each gap once: of trades after its backfill, of others as soon as it is known.

    No method blocks.
    """

    def __init__(
        self,
        source: str,
        dataset: Dataset,
        reports: Reports,
        backfill: Callable[[Iterable[str]], None] | None,
    ) -> None:
        """Start without a connection.

        Args:
            source: Name of the exchange.
            dataset: The recorded dataset, whose records a gap lacks.
            reports: The publisher of gaps.
            backfill: Requests a backfill of markets; None if missed records cannot be fetched.
        """
        self._source = source
        self._dataset = dataset
        self._reports = reports
        self._backfill = backfill
        self._coverage = Coverage()
        self._awaited = AwaitedBackfills(BACKFILL_TIMEOUT_US)
        self._holes: dict[Hole, int] = {}  # recorded at, Unix time
        self._stopped = False
        self._looked_us = 0

    def begin(self, connection: Hashable, symbols: Iterable[str]) -> None:
        """Record that a connection has subscribed, or is read again."""
        if not self._stopped:
            self._note(self._coverage.begin(connection, symbols, unix_us()))

    def end(
        self, connection: Hashable, symbols: Iterable[str], last_us: int, cause: GapCause
    ) -> None:
        """Record that a connection brings no more records since its last frame (Unix time)."""
        if not self._stopped:
            self._note(self._coverage.end(connection, symbols, last_us, cause))

    def rebase(self) -> None:
        """Follow a clock that was set back; all connections must have ended before."""
        self._coverage.rebase(unix_us())
        self._awaited.rebase(unix_us())

    def refuse(self, symbols: Iterable[str]) -> None:
        """Record that the exchange refused a connection for these markets."""
        self._coverage.refuse(symbols)

    def mute(self, symbol: str, since_us: int) -> None:
        """Record that no connection has brought a market since then (Unix time)."""
        self._coverage.mute(symbol, since_us)

    def note_mute(self, symbol: str, began_at_us: int, ended_at_us: int) -> None:
        """Record that a market was mute in a time that is over."""
        if not self._stopped and ended_at_us > began_at_us:
            self._note([Uncovered(began_at_us, ended_at_us, GapCause.MUTE, (symbol,))])

    def expect(self, symbols: Iterable[str]) -> None:
        """Add wanted markets that the exchange does not offer."""
        self._coverage.expect(symbols, unix_us())

    def is_covered(self, symbol: str) -> bool:
        """Return whether a live connection covers a market."""
        return self._coverage.is_covered(symbol)

    def connections(self, symbol: str) -> int:
        """Return how many live connections cover a market."""
        return self._coverage.connections(symbol)

    def forget(self, symbols: Collection[str]) -> None:
        """Drop markets that no longer exist; their gaps are not recorded from now on."""
        self._coverage.forget(symbols)
        for gap, repaired in self._awaited.forget(symbols):
            self._record(gap, repaired=repaired)

    def read(self, read: Read, hole_ended_us: int = 0) -> None:
        """Take the range of a REST answer; its trades must be published already.

        Args:
            read: The range.
            hole_ended_us: See `AwaitedBackfills.read`.
        """
        for gap, repaired in self._awaited.read(read, hole_ended_us):
            self._record(gap, repaired=repaired)

    def unpublished(self, gap: Uncovered, *, may_backfill: bool) -> None:
        """Record a time in which Kafka refused messages; also after `stop`.

        Args:
            gap: The time and the markets.
            may_backfill: Whether Kafka takes messages again, so that a backfill can succeed.
        """
        if may_backfill and not self._stopped:
            self._note([gap])
        else:
            self._record(gap, repaired=False)

    def lost(self, gap: Uncovered) -> None:
        """Record a loss that the exchange's numbers prove; its connection covers the market on."""
        if self._stopped:
            return
        if self._backfill is not None and self._awaited.join(gap):
            self._backfill(gap.symbols)
        else:
            self._note([gap])

    def missing(self, hole: Hole) -> None:
        """Record at once that the exchange's numbers prove a loss."""
        self._holes[hole] = unix_us()
        self._record_hole(hole, repaired=False)

    def filled(self, hole: Hole) -> None:
        """Record that every missing trade has come after all."""
        if hole in self._holes:
            self._record_hole(hole, repaired=True)
            del self._holes[hole]
        # The numbers prove it, so no read has to reach back.
        self.read(Read(hole.symbol, unix_us(), hole.began_at_us - EVENT_TIME_MARGIN_US))

    def give_up(self, hole: Hole) -> None:
        """Follow a hole no further: it stays recorded as not filled."""
        self._holes.pop(hole, None)

    def _record_hole(self, hole: Hole, *, repaired: bool) -> None:
        # The same time of recording: the row takes the place of the one before.
        gap = Uncovered(
            hole.began_at_us,
            hole.ended_at_us,
            GapCause.SEQUENCE,
            (hole.symbol,),
            (hole.first_id, hole.last_id),
        )
        self._record(
            gap, repaired=repaired, recorded_at_us=self._holes[hole], missing=hole.reported
        )

    def poll(self) -> None:
        """Publish the gaps that the passing of time completes; call it many times a second."""
        if not self._stopped and _monotonic_us() >= self._looked_us + LOOK_EVERY_US:
            self._looked_us = _monotonic_us()
            self._note(self._coverage.lasting(unix_us()))
        for gap, repaired in self._awaited.expire(_monotonic_us()):
            self._record(gap, repaired=repaired)

    def stop(self) -> None:
        """Publish the known gaps, before the producer closes its connections.

        A gap that lasts ends here; one that waits for its backfill counts as not backfilled.
        """
        for gap in self._coverage.stop(unix_us()):
            self._record(gap, repaired=False)
        for gap, repaired in self._awaited.stop():
            self._record(gap, repaired=repaired)
        self._stopped = True

    def _note(self, gaps: Iterable[Uncovered]) -> None:
        for gap in gaps:
            if self._backfill is None:
                self._record(gap, repaired=False)
                continue
            if not self._awaited.add(gap, _monotonic_us()):
                self._record(gap, repaired=False)
            self._backfill(gap.symbols)

    def _record(
        self,
        gap: Uncovered,
        *,
        repaired: bool,
        recorded_at_us: int = 0,
        missing: int = 0,
    ) -> None:
        first_id, last_id = gap.numbers or (0, 0)
        metrics.GAPS.labels(self._dataset.name, gap.cause.value).inc()
        (_log.info if repaired else _log.warning)(
            "gap",
            cause=gap.cause.value,
            began=datetime.fromtimestamp(gap.began_at_us / 1e6, UTC).isoformat(),
            seconds=round((gap.ended_at_us - gap.began_at_us) / 1e6, 3),
            markets=len(gap.symbols),
            symbols=",".join(gap.symbols[:SHOWN_SYMBOLS]),
            repaired=repaired,
        )
        record = Gap(
            source=self._source,
            record_kind=self._dataset.name,
            cause=gap.cause,
            symbols=gap.symbols,
            began_at_us=gap.began_at_us,
            ended_at_us=gap.ended_at_us,
            repaired=repaired,
            received_at_us=recorded_at_us or unix_us(),
            first_id=first_id,
            last_id=last_id,
            missing=missing or gap.missing_count,
        )
        key = message_format.message_key(self._source, self._dataset.name)
        self._reports.put(key, message_format.encode_gap(record))


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000
