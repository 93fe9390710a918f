"""How the pipeline of `radar up` is stopped: in order, without fixed waits, and bounded.

    producers publish → workers store → workers, exchange and dashboard end → stores end

Each step ends as soon as its condition holds. STOP_WITHIN_S bounds all steps before the stores.
Messages that are not stored by then stay in Kafka, and the next start stores them. So a worker that
waits for a store may be killed.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from radar.daemon_threads import aside
from radar.datasets import DATASETS, groups
from radar.errors import BrokerUnavailable
from radar.kafka import Cluster
from radar.kafka import check_answer as check_kafka
from radar.local.supervisor import Supervisor
from radar.settings import Settings
from radar.ui.terminal.watch import LiveOverview

STOP_WITHIN_S = 90.0
STUCK_AFTER_S = 15.0  # in which no more message was stored
SILENT_AFTER_S = 5.0  # without an answer of Kafka
ASK_WITHIN_S = 5.0
ASK_EVERY_S = 0.1
SAY_EVERY_S = 0.5
SHOWN_PARTITIONS = 3

Waiting = dict[tuple[str, int], int]
"""Messages that are not stored, by dataset and partition; partitions without any are left out."""


@dataclass(frozen=True)
class Left:
    """The messages in Kafka that are not stored.

    Attributes:
        waiting: The messages; None if Kafka does not answer.
        why: The obstacle, as far as it is known; empty if no message is left.
    """

    waiting: Waiting | None
    why: str = ""

    @property
    def messages(self) -> int | None:
        """How many messages; None if unknown."""
        return None if self.waiting is None else sum(self.waiting.values())


class Stop:
    """One stop of a pipeline."""

    def __init__(self, settings: Settings, supervisor: Supervisor, overview: LiveOverview) -> None:
        """Begin: the time starts to count, and the view shows the steps."""
        self._settings = settings
        self._supervisor = supervisor
        self._overview = overview
        self._ends_s = time.monotonic() + STOP_WITHIN_S

    @property
    def left_s(self) -> float:
        """The time that is left for the steps before the stores."""
        return max(0.0, self._ends_s - time.monotonic())

    def say(self, words: str) -> None:
        """Show the step for which the stop waits."""
        self._overview.stopping = words

    async def end(self, names: Iterable[str], timeout_s: float, words: str) -> None:
        """End processes together, and name those that still run; kills after `timeout_s`."""
        children = self._supervisor.children
        chosen = [name for name in names if name in children]
        began_s = time.monotonic()
        ending = asyncio.ensure_future(self._supervisor.stop(chosen, timeout_s))
        try:
            while not ending.done():
                left = [name for name in chosen if children[name].state != "stopped"]
                left_s = max(0.0, began_s + timeout_s - time.monotonic())
                self.say(f"{words} ({', '.join(left)}; killed in {left_s:.0f} s)")
                await asyncio.wait({ending}, timeout=SAY_EVERY_S)
        finally:
            ending.cancel()
        ending.result()

    async def stored(self) -> Left:
        """Wait until all messages in Kafka are stored, as long as the workers store messages.

        Returns:
            The messages that are not stored: no more were stored for STUCK_AFTER_S, Kafka did not
                answer
            for SILENT_AFTER_S, or the time was over.
        """
        ask = _Asking(self._settings)
        progress_s = answered_s = time.monotonic()
        least: int | None = None
        self.say("counting the messages that wait in Kafka")
        while True:
            try:
                waiting = await asyncio.wait_for(aside(ask, "ask for lag"), ASK_WITHIN_S)
                left = Left(waiting, self._why() if waiting else "")
            except (BrokerUnavailable, TimeoutError):
                left = Left(None, f"Kafka at {self._settings.kafka_broker} does not answer")
            if left.messages == 0:
                return left
            now_s = time.monotonic()
            if left.messages is not None and (least is None or left.messages < least):
                least, progress_s = left.messages, now_s
            if left.messages is not None:
                answered_s = now_s
            left_s = min(
                progress_s + STUCK_AFTER_S - now_s,
                answered_s + SILENT_AFTER_S - now_s,
                self.left_s,
            )
            if left_s <= 0:
                return left
            self.say(f"{describe(left)}; gives up in {left_s:.0f} s if that does not change")
            await asyncio.sleep(ASK_EVERY_S)

    def _why(self) -> str:
        """Return why messages are not stored, as far as the newest observation shows it."""
        newest = self._overview.newest
        if newest is None:
            return ""
        if newest.clickhouse_error:
            return newest.clickhouse_error
        # The stop itself ended the producers and the exchange; that is no obstacle here.
        return next(
            (
                each.text
                for each in newest.obstacles
                if each.severity == "problem" and each.stage in ("workers", "tables")
            ),
            "",
        )


class _Asking:
    """Counts the messages that are not stored; called from one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster: Cluster | None = None

    def __call__(self) -> Waiting:
        """Count; blocks.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        if self._cluster is None:
            # The client itself waits much longer.
            check_kafka(self._settings)
            self._cluster = Cluster(self._settings)
        try:
            found = self._cluster.lags(groups())
            return {
                (dataset.name, lag.partition): lag.messages
                for dataset in DATASETS.values()
                for lag in found[dataset.topic]
                if lag.messages
            }
        except BrokerUnavailable:
            self._cluster = None
            raise


def describe(left: Left) -> str:
    """Describe the messages that are not stored: how many, in which partitions, and why."""
    if left.waiting is None:
        return f"it is not known how many messages are not stored: {left.why}"
    most = sorted(left.waiting.items(), key=lambda each: -each[1])
    places = [f"{dataset} {partition}: {count:,}" for (dataset, partition), count in most]
    shown = ", ".join(places[:SHOWN_PARTITIONS])
    if (more := len(places) - SHOWN_PARTITIONS) > 0:
        shown += f" and {more} more partitions"
    count = left.messages or 0
    are = "message is" if count == 1 else "messages are"
    return f"{count:,} {are} not stored yet ({shown})" + (f": {left.why}" if left.why else "")
