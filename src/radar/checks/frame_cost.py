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
# The share of the bytes that ClickHouse keeps; docs/raw-frames.md has the measurement.
TYPICAL_SHARE = 0.15
_METRIC = "radar_frame_bytes_total"
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


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
    return describe(settings, recorded, {} if recorded else _received_per_s(settings))


def describe(
    settings: Settings, recorded: Recorded | None, received_per_s: Mapping[str, float]
) -> Finding:
    """Describe the cost.

    Args:
        settings: The options.
        recorded: The recorded frames; None: too few.
        received_per_s: Bytes a second that producers receive, by dataset.
    """
    option, days = f"RECORD_FRAMES={settings.record_frames}", settings.frames_retention_days
    if recorded is not None:
        day_bytes = recorded.bytes / recorded.seconds * DAY_S
        disk_bytes = day_bytes * recorded.share
        return ok(
            "frames",
            f"{option}: {_size(day_bytes)} of frames a day take {_size(disk_bytes)} of disk a day,"
            f" {_size(disk_bytes * days)} in {days} days (FRAMES_RETENTION_DAYS); measured over"
            f" {recorded.seconds / 3600:.1f} h",
        )
    if not received_per_s:
        return ok(
            "frames",
            f"{option}; the cost of a day is unknown: no producer that answers has run for a"
            " minute, and no frames are recorded",
        )
    all_bytes = sum(received_per_s.values()) * DAY_S
    trades_bytes = received_per_s.get(TRADES.name, 0.0) * DAY_S
    return ok(
        "frames",
        f"{option}; RECORD_FRAMES=all would take about {_size(all_bytes * TYPICAL_SHARE)} of disk"
        f" a day, RECORD_FRAMES=trades {_size(trades_bytes * TYPICAL_SHARE)}: producers receive"
        f" {_size(all_bytes)} of frames a day, and about {TYPICAL_SHARE:.0%} of it is left",
    )


def _recorded(store: Store) -> Recorded | None:
    ((new, seconds, count, all_bytes, table_bytes),) = store.rows(
        queries.FRAME_SIZES, {"table": FRAMES.table}
    )
    if float(seconds) < LEAST_S or not int(count or 0) or not int(all_bytes or 0):
        return None
    frame_bytes = int(new) * int(all_bytes) / int(count)
    return Recorded(frame_bytes, float(seconds), int(table_bytes) / int(all_bytes))


def _received_per_s(settings: Settings) -> dict[str, float]:
    """Return the rates of the producers that answer, since they started."""
    found: dict[str, float] = defaultdict(float)
    for process in find(settings).processes:
        if not process.port:
            continue
        try:
            sample = read(process.host, process.port, (_METRIC, STARTED_AT[0])).sample
        except OSError:
            continue
        lasted_s = time.time() - sample.get(STARTED_AT, time.time())
        if lasted_s < LEAST_S:
            continue
        for (metric, dataset), value in sample.items():
            if metric == _METRIC:
                found[dataset] += value / lasted_s
    return dict(found)


def _size(size_bytes: float) -> str:
    scale, unit = next((each for each in _UNITS if size_bytes >= each[0]), (1.0, "B"))
    return f"{size_bytes / scale:.3g} {unit}"
