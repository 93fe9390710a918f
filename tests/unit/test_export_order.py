"""The order of events in files of hftbacktest."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from radar.reading.formats.base import increment
from radar.reading.formats.hftbacktest import (
    EVENT,
    EXCHANGE,
    LOCAL,
    order,
    shift_ns,
    write_npz,
)

TIMES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def sorted_places(times: list[int]) -> list[int]:
    return sorted(range(len(times)), key=times.__getitem__)


@given(TIMES)
def test_exchange_and_receiver_get_each_event_once_and_in_order(
    times: list[tuple[int, int]],
) -> None:
    exchange, local = ([each[n] for each in times] for n in (0, 1))
    rows = order(np.array(exchange, np.int64), np.array(local, np.int64))
    received = rows.events[rows.flags & LOCAL != 0].tolist()
    assert received == sorted_places(local)
    # Of events with the same time, the one that was received first comes first.
    by_exchange = sorted(received, key=exchange.__getitem__)
    assert rows.events[rows.flags & EXCHANGE != 0].tolist() == by_exchange


def test_event_is_in_the_array_twice_only_if_it_is_late() -> None:
    rows = order(np.array([1, 5, 2, 6]), np.array([1, 6, 7, 8]))
    assert rows.events.tolist() == [0, 2, 1, 2, 3]
    both = EXCHANGE | LOCAL
    assert rows.flags.tolist() == [both, EXCHANGE, both, LOCAL, both]


def test_receipts_are_shifted_behind_the_exchange(tmp_path: Path) -> None:
    events = np.zeros(3, EVENT)
    events["exch_ts"] = [10_000, 20_000, 40_000]
    events["local_ts"] = [15_000, 13_000, 41_000]
    assert shift_ns(events) == 7_000
    assert shift_ns(events[:1]) == shift_ns(events[:0]) == 0
    contents = write_npz(tmp_path / "day.npz", events, 7_000)
    data = np.load(tmp_path / "day.npz")["data"]
    assert data.dtype == EVENT
    assert (data["local_ts"] >= data["exch_ts"]).all()
    assert (contents.rows, contents.first_us, contents.last_us) == (len(data), 15, 41)


def test_file_without_events_can_be_read(tmp_path: Path) -> None:
    assert write_npz(tmp_path / "day.npz", np.empty(0, EVENT), 0).rows == 0
    assert len(np.load(tmp_path / "day.npz")["data"]) == 0


def test_increment_of_decimal_places() -> None:
    assert [increment(places) for places in (0, 1, 3)] == ["1", "0.1", "0.001"]
