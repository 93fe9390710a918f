"""The report of a producer about itself: why it is not ready, and warnings for the operator."""

import time
from collections.abc import Mapping, Sequence

from radar.clock import MOST_OFFSET_S, unix_us
from radar.datasets import Dataset
from radar.producer.backfill import Backfill
from radar.producer.clock_offset import EVIDENCE_S, ClockOffset, Offset
from radar.producer.feed import Feed
from radar.producer.markets_set_aside import SetAside
from radar.producer.publishers import Publishers
from radar.producer.rate_limit import RateLimitGate
from radar.producer.recorders import Recorder
from radar.records import Market
from radar.telemetry import metrics
from radar.telemetry.health import Health
from radar.text import some_of

# Kafka acknowledges within a second; after this time without one the producer is not ready.
STALLED_AFTER_S = 5.0
# Nor is it after this time without a frame, if many frames usually arrive in it.
SILENT_AFTER_S = 6.0
SILENT_AFTER_FRAMES = 30
# Receipt minus exchange time of live trades, beyond which the clocks differ; the alert
# RadarClockSkew has the same thresholds.
MOST_BEHIND_S = 5.0
MOST_AHEAD_S = 1.5


class Conditions:
    """Reads the parts of a producer, and sets and clears its conditions and warnings."""

    def __init__(
        self,
        dataset: Dataset,
        freshness_s: float,
        health: Health,
        *,
        markets: Mapping[str, Market],
        set_aside: SetAside,
        gate: RateLimitGate,
        feed: Feed,
        backfill: Backfill,
        publishers: Publishers,
        clocks: "ClockConditions",
    ) -> None:
        """Name the parts; nothing is reported yet."""
        self._dataset = dataset
        self._freshness_s = freshness_s
        self._health = health
        self._markets = markets
        self._set_aside = set_aside
        self._gate = gate
        self._feed = feed
        self._backfill = backfill
        self._publishers = publishers
        self._clocks = clocks

    def report(self, unverified: Sequence[str], *, is_listed: bool) -> None:
        """Report everything anew.

        Args:
            unverified: The markets without evidence that their records arrive.
            is_listed: Whether the exchange has sent its list of markets.
        """
        self._report_markets(is_listed=is_listed)
        self._report_connections(unverified)
        self._report_silence()
        self._report_kafka()
        self._clocks.report()

    def _report_markets(self, *, is_listed: bool) -> None:
        self._set(
            "markets",
            f"no market can be recorded: {self._set_aside.text}",
            holds=is_listed and not self._markets,
        )
        self._warn("set aside", self._set_aside.text)
        self._set_aside.show()
        self._warn("rate limit", self._gate.reason)
        self._gate.show()

    def _report_connections(self, unverified: Sequence[str]) -> None:
        unconnected = self._feed.unconnected()
        # Markets without a connection are reported as such.
        without = {*unconnected, *self._feed.refused}
        silent = [symbol for symbol in unverified if symbol not in without]
        if unconnected == list(self._markets):
            silent = []
        metrics.UNVERIFIED_MARKETS.labels(self._dataset.name).set(len(silent))
        cause = f": {self._backfill.trouble}" if self._backfill.trouble else ""
        self._warn(
            "freshness",
            f"{len(silent)} of {len(self._markets)} markets are not verified for more than"
            f" {self._freshness_s:g} s ({some_of(silent)}){cause}"
            if silent
            else "",
        )
        self._set(
            "exchange",
            f"{len(unconnected)} of {len(self._markets)} markets have no connection to the"
            f" exchange ({some_of(unconnected)}): {self._feed.trouble or 'not opened yet'}",
            holds=bool(unconnected),
        )

    def _report_silence(self) -> None:
        silent_s, missing = self._feed.silence(unix_us())
        self._set(
            "silence",
            f"no frame has come from the exchange for {silent_s:.0f} s",
            # A producer that waits for Kafka does not read.
            holds=silent_s > SILENT_AFTER_S
            and missing > SILENT_AFTER_FRAMES
            and not self._feed.waits,
        )

    def _report_kafka(self) -> None:
        stalled_s, queued = self._publishers.stalled_s, self._publishers.queued
        self._set(
            "acknowledgements",
            f"Kafka has acknowledged no message for {stalled_s:.0f} s, {queued:,} messages wait",
            holds=stalled_s > STALLED_AFTER_S,
        )
        troubles = self._publishers.troubles
        self._set("publish", "; ".join(troubles), holds=bool(troubles))

    def _warn(self, condition: str, reason: str) -> None:
        if reason:
            self._health.warn(condition, reason)
        else:
            self._health.clear(condition)

    def _set(self, condition: str, reason: str, *, holds: bool) -> None:
        if holds:
            self._health.set(condition, reason)
        else:
            self._health.clear(condition)


class ClockConditions:
    """Warns if this machine's clock and the exchange's differ, and shows by how much."""

    def __init__(
        self, exchange: str, health: Health, recorder: Recorder, clock_offset: ClockOffset
    ) -> None:
        """Name the parts.

        Args:
            exchange: The name that the metrics bear.
            health: Takes the warning.
            recorder: Knows the delay of live trades.
            clock_offset: Knows the exchange's time, from its answers.
        """
        self._exchange = exchange
        self._health = health
        self._recorder = recorder
        self._clock_offset = clock_offset

    def report(self) -> None:
        """Warn of a proven offset, else of a delay that only clocks which differ explain."""
        offset = self._show_offset()
        if offset is not None and offset.least_s > MOST_OFFSET_S:
            where = "ahead of" if offset.seconds > 0 else "behind"
            self._health.warn(
                "clock",
                f"this machine's clock is {abs(offset.seconds):,.1f} s {where} the exchange's"
                f" (± {offset.uncertainty_s:.1f} s, by its REST answers): synchronise the clock"
                " (timedatectl set-ntp true)",
            )
            return
        skew_s = self._recorder.clock_skew_s
        if skew_s is not None and (time.monotonic() - self._recorder.clock_skew_at_s > EVIDENCE_S):
            metrics.CLOCK_SKEW_SECONDS.clear()
            skew_s = None
        if skew_s is None or -MOST_AHEAD_S <= skew_s <= MOST_BEHIND_S:
            self._health.clear("clock")
            return
        where = "ahead of" if skew_s > 0 else "behind"
        self._health.warn(
            "clock",
            f"this machine's clock is {abs(skew_s):,.0f} s {where} the exchange's; trades are"
            " stored with both times, up to a day of difference: synchronise the clock"
            " (timedatectl set-ntp true)",
        )

    def _show_offset(self) -> Offset | None:
        """Show the offset of the clocks; None: unknown."""
        now_s, shown = time.monotonic(), self._clock_offset
        if (skew_s := self._recorder.clock_skew_s) is not None:
            shown.delayed(int(skew_s * 1e6), self._recorder.clock_skew_at_s)
        offset = shown.estimate(now_s)
        for gauge, value in (
            (metrics.CLOCK_OFFSET_SECONDS, offset and offset.seconds),
            (metrics.CLOCK_OFFSET_UNCERTAINTY_SECONDS, offset and offset.uncertainty_s),
        ):
            if value is None:
                gauge.clear()
            else:
                gauge.labels(self._exchange).set(value)
        return offset
