"""The .npz files of hftbacktest 2: trades and book of a market and day in one array of events.

Each program that a backtest simulates reads the events that concern it: the exchange in the order
of its own clock, the receiver in the order of the receipt. An event that is late by the exchange's
clock stands in the array twice, once for each of them.
"""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radar.datasets import BOOK_UPDATES, DEPTH, TRADES, Dataset
from radar.reading.formats import book_updates
from radar.reading.formats.base import Contents, Day, increment, rows_of, save
from radar.reading.query import Ask
from radar.store.queries import export_formats as queries

EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
EXCHANGE, LOCAL = 1 << 31, 1 << 30
TRADE, KINDS = 2, 0xFF
# Rows that are gathered and compressed at once.
CHUNK = 65_536
# zip files begin in this year; a real date would change the checksum.
_NO_DATE = (1980, 1, 1, 0, 0, 0)

Events = NDArray[Any]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class EventRows:
    """The rows of a file: which event each one is, and for whom."""

    events: Index
    flags: NDArray[np.uint64]


def order(exchange: Index, local: Index) -> EventRows:
    """Return the rows of events: each is there once for the exchange, and once for the receiver.

    Rows for the exchange are in the order of its times, and rows for the receiver in the order of
    theirs. Events of equal times keep their order.

    Args:
        exchange: The times of the events by the exchange's clock.
        local: The times of their receipt.
    """
    received = np.argsort(local, kind="stable")
    times = exchange[received]
    late = np.zeros(len(times), bool)
    late[1:] = times[1:] < np.maximum.accumulate(times)[:-1]
    shared, both = received[~late], times[~late]
    places = np.flatnonzero(late)
    before_receipt = places - np.arange(len(places))  # how many shared ones were received before
    # Fewer than those: the one that makes an event late was received before it.
    by_time = np.argsort(times[late], kind="stable")
    for_exchange = np.searchsorted(both, times[late][by_time], side="right")
    events = np.concatenate([received[late][by_time], received[late], shared])
    flags = np.repeat(
        np.array([EXCHANGE, LOCAL, EXCHANGE | LOCAL], np.uint64), [len(places)] * 2 + [len(shared)]
    )
    keys = np.concatenate([2 * for_exchange, 2 * before_receipt, 2 * np.arange(len(shared)) + 1])
    rows = np.argsort(keys, kind="stable")
    return EventRows(events[rows], flags[rows])


def shift_ns(events: Events) -> int:
    """Return how much later receipts must be, so that none is before its exchange's time.

    hftbacktest's own converters shift all receipts of a file by the same time.
    """
    if not len(events):
        return 0
    return max(0, -int((events["local_ts"] - events["exch_ts"]).min()))


def write_npz(path: Path, events: Events, shift: int) -> Contents:
    """Write a compressed file with the array `data`.

    Args:
        path: Where to write it.
        events: The events in the order of the receipt.
        shift: Nanoseconds to add to the times of the receipt.
    """
    rows = order(events["exch_ts"], events["local_ts"])
    member = zipfile.ZipInfo("data.npy", _NO_DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    with (
        zipfile.ZipFile(path, "w") as archive,
        archive.open(member, "w", force_zip64=True) as file,
    ):
        header = {"descr": EVENT.descr, "fortran_order": False, "shape": (len(rows.events),)}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in _chunks(events, rows, shift):
            file.write(chunk.tobytes())
    if not len(events):
        return Contents(0)
    return Contents(
        len(rows.events),
        int(events["local_ts"][0]) // 1000,
        int(events["local_ts"][-1]) // 1000,
    )


def _chunks(events: Events, rows: EventRows, shift: int) -> Iterator[Events]:
    for begin in range(0, len(rows.events), CHUNK):
        chunk = events[rows.events[begin : begin + CHUNK]]
        chunk["ev"] |= rows.flags[begin : begin + CHUNK]
        chunk["local_ts"] += shift
        yield chunk


class Days:
    """Files of hftbacktest."""

    name = "hftbacktest"

    @property
    def sources(self) -> Sequence[tuple[Dataset, str]]:
        """Return all recorded datasets; days are those of the receipt."""
        return tuple((dataset, "received_at") for dataset in (TRADES, DEPTH, BOOK_UPDATES))

    def wants(self, day: Day) -> bool:
        """Return whether the day has an order book: no strategy runs without."""
        return bool(day.datasets & {DEPTH.name, BOOK_UPDATES.name})

    def path(self, day: Day) -> Path:
        """Return EXCHANGE/SYMBOL/DAY.npz."""
        return day.path("npz")

    def write(self, ask: Ask, day: Day, path: Path) -> Contents:
        """Write the file; needs memory for its index: 110 bytes an event."""
        values, carried = book_updates.book(ask, day)
        raw = path.with_name(f"{path.name}.events")
        try:
            answer = ask(queries.hftbacktest(carried=carried), "RowBinary", values, queries.PRECISE)
            save(answer, raw)
            # The largest part stays on the disk.
            size = raw.stat().st_size
            events = np.memmap(raw, EVENT, "r") if size else np.empty(0, EVENT)
            shift = shift_ns(events)
            contents = write_npz(path, events, shift)
        finally:
            raw.unlink(missing_ok=True)
        ((price, amount, *_greatest),) = rows_of(ask, queries.places(carried=carried), values)
        details = {
            "trades": int(np.count_nonzero(events["ev"] & KINDS == TRADE)),
            "book": DEPTH.name if carried is None else BOOK_UPDATES.name,
            "tick_size": increment(int(price)),
            "lot_size": increment(int(amount)),
            "local_time_shift_ns": shift,
        }
        return Contents(contents.rows, contents.first_us, contents.last_us, details)

    def facts(self, _ask: Ask, _day: Day) -> None:
        """Return None: only the events themselves decide on the rows."""
