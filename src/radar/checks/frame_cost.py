"""How much disk the recording of frames takes or would take, from measured rates."""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from radar.checks.findings import Finding, ok
from radar.datasets import FRAMES, TRADES
from radar.settings import Settings
from radar.status.deployment import find
from radar.status.scrape import STARTED_AT, read
from radar.store.client import Store
from radar.store.queries import checks as queries

DAY_S = 86_400
# A shorter measurement says little about a day.
LEAST_S = 60.0
# The disk that a frame takes in ClickHouse; docs/raw-frames.md has the measurement.
BYTES_OF_A_FRAME = 40
SHARE_OF_BYTES = 0.04
_FRAMES, _BYTES = "radar_frames_total", "radar_frame_bytes_total"
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Received(NamedTuple):
    """The frames that producers receive in a second."""

    frames: float = 0.0
    bytes: float = 0.0

    @property
    def disk_bytes(self) -> float:
        """The disk that it takes, about."""
        return self.frames * BYTES_OF_A_FRAME + self.bytes * SHARE_OF_BYTES


class Recorded(NamedTuple):
    """The frames of the last day in the table.

    Attributes:
        bytes: Their size.
        seconds: The time from the first to the last.
        share: The part of the bytes that the table takes on the disk.
    """

    bytes: float
    seconds: float
    share: float


def frame_cost(settings: Settings, store: Store) -> Finding:
    """Return the cost of a day, measured from recorded frames or from running producers; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses the query, or the table is missing.
    """
    recorded = _recorded(store)
    return describe(settings, recorded, {} if recorded else _received(settings))


def describe(
    settings: Settings, recorded: Recorded | None, received: Mapping[str, Received]
) -> Finding:
    """Describe the cost.

    Args:
        settings: The options.
        recorded: The recorded frames; None: too few.
        received: The frames that producers receive in a second, by dataset.
    """
    option, days = f"RECORD_FRAMES={settings.record_frames}", settings.frames_retention_days
    if recorded is not None:
        day_bytes = recorded.bytes / recorded.seconds * DAY_S
        disk_bytes = day_bytes * recorded.share
        return ok(
            "frames",
            f"{option}: {_size(day_bytes)} of frames a day take {_size(disk_bytes)} of disk a day,"
            f" {_size(disk_bytes * days)} in {days} days (FRAMES_RETENTION_DAYS); measured over"
            f" {_lasted(recorded.seconds)}",
        )
    if not received:
        return ok(
            "frames",
            f"{option}; the cost of a day is unknown: no producer that answers has run for a"
            " minute, and no frames are recorded",
        )
    day_bytes = sum(each.bytes for each in received.values()) * DAY_S
    disk_bytes = sum(each.disk_bytes for each in received.values()) * DAY_S
    trades_bytes = received.get(TRADES.name, Received()).disk_bytes * DAY_S
    return ok(
        "frames",
        f"{option}; RECORD_FRAMES=all would take about {_size(disk_bytes)} of disk a day, and"
        f" RECORD_FRAMES=trades {_size(trades_bytes)}: producers receive {_size(day_bytes)} of"
        " frames a day",
    )


def _recorded(store: Store) -> Recorded | None:
    ((new, seconds, count, all_bytes, table_bytes),) = store.rows(
        queries.FRAME_SIZES, {"table": FRAMES.table}
    )
    if float(seconds) < LEAST_S or not int(count or 0) or not int(all_bytes or 0):
        return None
    frame_bytes = int(new) * int(all_bytes) / int(count)
    return Recorded(frame_bytes, float(seconds), int(table_bytes) / int(all_bytes))


def _received(settings: Settings) -> dict[str, Received]:
    """Return the rates of the producers that answer, since they started."""
    found: dict[str, Received] = defaultdict(Received)
    for process in find(settings).processes:
        if not process.port:
            continue
        try:
            sample = read(process.host, process.port, (_FRAMES, _BYTES, STARTED_AT[0])).sample
        except OSError:
            continue
        lasted_s = time.time() - sample.get(STARTED_AT, time.time())
        if lasted_s < LEAST_S:
            continue
        for (metric, dataset), size_bytes in sample.items():
            if metric == _BYTES:
                frames = sample.get((_FRAMES, dataset), 0.0) / lasted_s
                known = found[dataset]
                found[dataset] = Received(
                    known.frames + frames, known.bytes + size_bytes / lasted_s
                )
    return dict(found)


def _lasted(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def _size(size_bytes: float) -> str:
    scale, unit = next((each for each in _UNITS if size_bytes >= each[0]), (1.0, "B"))
    return f"{size_bytes / scale:.3g} {unit}"
