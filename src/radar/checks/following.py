"""`radar reconcile --follow`: examine each time soon after it is over, again and again."""

import asyncio
import time

import structlog

from radar.checks.completeness import HOUR_US, MarketProof
from radar.checks.proof import MINUTE_US, Span, State
from radar.checks.reconcile import examiner
from radar.clock import unix_us
from radar.datasets import RECORDED
from radar.errors import QueryFailed, RadarError, StoreRejected, StoreUnavailable
from radar.settings import Settings
from radar.store import proofs, sums
from radar.store.client import Store
from radar.telemetry import metrics
from radar.telemetry.health import Health

# After a pause of this service, so much of the past is examined.
LOOK_BACK_US = 24 * HOUR_US
# Without a finished examination for so many periods, the process is not ready.
LATE_PERIODS = 3

_log = structlog.get_logger()


class Follower:
    """Examines what was recorded since the last time, again and again.

    The hour before is examined each time as well: a later trade shows whether its end is complete.
    """

    def __init__(self, settings: Settings, store: Store, health: Health) -> None:
        self._settings = settings
        self._store = store
        self._health = health
        self._until_us: dict[str, int] = {}  # the end of the newest examination of each exchange
        self._succeeded_s = time.monotonic()
        self._began_us = unix_us()

    async def run(self) -> None:
        """Examine until cancelled; idle most of the time."""
        while True:
            try:
                await self.examine()
            except (StoreUnavailable, StoreRejected, QueryFailed) as error:
                _log.warning("the recording cannot be examined", error=str(error))
                self._report_late(error)
            else:
                self._succeeded_s = time.monotonic()
                self._report_behind()
            await self._sum_weeks()
            await asyncio.sleep(self._settings.reconcile_every_seconds)

    async def examine(self) -> None:
        """Examine every recorded exchange once.

        Raises:
            StoreUnavailable: ClickHouse does not answer.
            QueryFailed: It refuses a query.
            StoreRejected: It refuses the proofs.
        """
        if not self._until_us:
            newest = proofs.examined(self._store)
            self._until_us = {
                name: hour_s * 1_000_000
                for name, hour_s in newest.items()
                if name in self._settings.exchanges
            }
        for name in proofs.exchanges(self._store):
            if name in self._settings.exchanges:
                self._until_us.setdefault(name, 0)
                await self._examine(name)

    async def _examine(self, name: str) -> None:
        # Candles judge whole minutes.
        end_us = unix_us() - int(self._settings.reconcile_delay_seconds * 1e6)
        end_us -= end_us % MINUTE_US
        newest_us = self._until_us[name]
        begin_us = max(newest_us // HOUR_US * HOUR_US - HOUR_US, end_us - LOOK_BACK_US)
        period = Span(begin_us // HOUR_US * HOUR_US, end_us)
        async with examiner(self._settings, self._store, name) as (examining, sources):
            candles = sources.candles
            async for found in examining.examine(period):
                _show(name, found)
            await sources.volumes.renew()
            # Without candles less is proven: the time is examined again.
            if candles.is_offered and candles.trouble:
                _log.warning("no candles to compare", exchange=name, detail=candles.trouble)
                return
        self._until_us[name] = end_us
        metrics.EXAMINED_UNTIL.labels(name).set(end_us / 1e6)

    async def _sum_weeks(self) -> None:
        """Sum the trades of past weeks that are not summed; without the sums, reads take longer."""
        try:
            for week in sums.due(self._store):
                # A week of many millions of trades takes seconds, and a stop should not wait.
                complete = await asyncio.to_thread(sums.add, self._store, week)
                _log.info("trades are summed", week=str(week.monday), complete=complete)
        except (StoreUnavailable, QueryFailed) as error:
            _log.warning("past weeks are not summed", error=str(error))

    def _report_behind(self) -> None:
        """Warn of exchanges whose newest recording is not examined yet, for lack of candles."""
        settings = self._settings
        allowed_s = settings.reconcile_delay_seconds + LATE_PERIODS * (
            settings.reconcile_every_seconds
        )
        behind = [
            name
            for name, until_us in sorted(self._until_us.items())
            if unix_us() - max(until_us, self._began_us) > allowed_s * 1e6
        ]
        if behind:
            self._health.warn(
                "examination",
                f"the newest recording of {', '.join(behind)} was examined without candles: the"
                " exchange does not answer; see the log",
            )
        else:
            self._health.clear("examination")

    def _report_late(self, error: RadarError) -> None:
        late_s = time.monotonic() - self._succeeded_s
        if late_s > LATE_PERIODS * self._settings.reconcile_every_seconds:
            self._health.set(
                "examination", f"the recording was not examined for {late_s:.0f} s: {error}"
            )


def _show(name: str, found: list[MarketProof]) -> None:
    """Show the seconds of the newest hour by state, over all markets."""
    newest_us = max((each.hour_us for each in found), default=0)
    for dataset in RECORDED:
        for state in State:
            seconds = sum(
                interval.end_us - interval.begin_us
                for each in found
                if (each.hour_us, each.dataset) == (newest_us, dataset)
                for interval in each.intervals
                if interval.state is state
            )
            metrics.PROVEN_SECONDS.labels(name, dataset, state.value).set(seconds / 1e6)
