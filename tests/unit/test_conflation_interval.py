"""Conflation: the newest snapshot of each side, at most once per interval."""

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from radar.producer.conflation import MIN_SPACING, Conflation, UnreadSnapshot
from radar.records import BookSide, DepthSnapshot


def snapshot(number: int, symbol: str = "BTCUSDT", side: BookSide = BookSide.BID) -> DepthSnapshot:
    return DepthSnapshot(
        source="wallex",
        symbol=symbol,
        base="BTC",
        quote="USDT",
        side=side,
        prices=(1.0,),
        quantities=(1.0,),
        received_at_us=number,
    )


class Frames:
    """Frames of one side, and which of them were parsed."""

    def __init__(self, *invalid: int) -> None:
        self.parsed: list[int] = []
        self._invalid = invalid

    def unread(self, number: int) -> UnreadSnapshot:
        def parse() -> DepthSnapshot | None:
            self.parsed.append(number)
            return None if number in self._invalid else snapshot(number)

        return UnreadSnapshot("BTCUSDT", BookSide.BID, number, parse)


def waiting(frames: Frames, numbers: range) -> Conflation:
    """Return a conflation in which some frames have come within one interval."""
    conflation = Conflation(7)
    assert not conflation.waits("BTCUSDT", BookSide.BID, 0)
    assert conflation.offer(snapshot(0), 0) is not None
    for number in numbers:
        assert conflation.waits("BTCUSDT", BookSide.BID, 1)
        conflation.wait(frames.unread(number))
    return conflation


def test_conflation_discarded_snapshot_is_never_parsed() -> None:
    frames = Frames()
    conflation = waiting(frames, range(1, 1001))
    assert conflation.replaced == 999
    assert frames.parsed == []
    assert conflation.release(7) == [snapshot(1000)]
    assert frames.parsed == [1000]
    assert conflation.drain() == []


def test_conflation_invalid_frame_leaves_the_one_before_it() -> None:
    frames = Frames(9)
    assert waiting(frames, range(1, 10)).drain() == [snapshot(8)]
    assert frames.parsed == [9, 8]
    frames = Frames(2)
    conflation = waiting(frames, range(1))
    conflation.wait(snapshot(1))
    conflation.wait(frames.unread(2))
    assert conflation.forget(["BTCUSDT"]) == [snapshot(1)]


def test_conflation_after_invalid_frames_the_next_snapshot_is_due_at_once() -> None:
    frames = Frames(2, 3)
    conflation = waiting(frames, range(2, 4))
    assert conflation.release(7) == []
    assert not conflation.waits("BTCUSDT", BookSide.BID, 7)
    assert conflation.offer(snapshot(4), 7) == snapshot(4)
    assert conflation.waits("BTCUSDT", BookSide.BID, 13)


def test_conflation_unread_snapshot_is_parsed_once_and_has_its_own_time() -> None:
    frames = Frames()
    unread = frames.unread(5)
    unread.received_at_us = 6
    assert [unread.read(), unread.read()] == [snapshot(6)] * 2
    assert frames.parsed == [5]


def test_conflation_first_snapshot_of_each_side_is_due_at_once() -> None:
    conflation = Conflation(7)
    for symbol in ("BTCUSDT", "USDTTMN"):
        for side in BookSide:
            first = snapshot(1, symbol, side)
            assert conflation.offer(first, 0) is first
            assert conflation.offer(snapshot(2, symbol, side), 0.1) is None


def test_conflation_steady_updates_come_exactly_at_the_interval() -> None:
    conflation = Conflation(7)
    published = []
    for tick in range(700):  # 70 s, an update each 100 ms, the clock read just after
        now = tick / 10
        if (offered := conflation.offer(snapshot(tick), now)) is not None:
            published.append((now, offered))
        published += [(now, each) for each in conflation.release(now)]
    assert [now for now, _ in published] == [7.0 * n for n in range(10)]
    assert [each.received_at_us for _, each in published] == [70 * n for n in range(10)]


def test_conflation_late_releases_do_not_add_up() -> None:
    conflation = Conflation(7)
    conflation.offer(snapshot(0), 0)
    times = []
    for n in range(1, 50):
        conflation.offer(snapshot(n), 7 * n - 0.05)
        times += [7 * n + 0.1 for _ in conflation.release(7 * n + 0.1)]
    assert times == [7 * n + 0.1 for n in range(1, 50)]


def test_conflation_waiting_snapshot_is_released_without_another_update() -> None:
    conflation = Conflation(7)
    conflation.offer(snapshot(1), 0)
    conflation.offer(snapshot(2), 1)
    conflation.offer(snapshot(3), 2)
    assert conflation.next_due() == 7
    assert conflation.release(6.9) == []
    assert conflation.release(7) == [snapshot(3)]
    assert conflation.release(70) == []
    assert conflation.next_due() is None
    assert conflation.replaced == 1


def test_conflation_drain_gives_what_waits() -> None:
    conflation = Conflation(7)
    conflation.offer(snapshot(1), 0)
    conflation.offer(snapshot(2), 1)
    assert conflation.drain() == [snapshot(2)]
    assert conflation.drain() == []


def test_conflation_without_interval_publishes_all() -> None:
    conflation = Conflation(0)
    offered = [snapshot(number) for number in range(5)]
    assert [conflation.offer(each, 1.0) for each in offered] == offered
    assert conflation.replaced == 0


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 3), st.sampled_from("abc"), st.sampled_from(BookSide), st.booleans()
    ),
    max_size=100,
)  # fmt: skip


@given(EVENTS, st.floats(0.5, 5))
def test_conflation_any_updates_keeps_the_interval_and_the_newest(
    events: list[tuple[float, str, BookSide, bool]], interval: float
) -> None:
    conflation = Conflation(interval)
    now = 0.0
    newest: dict[tuple[str, BookSide], int] = {}
    times = defaultdict[tuple[str, BookSide], list[float]](list)
    seen = defaultdict[tuple[str, BookSide], list[int]](list)
    published = 0

    def publish(each: DepthSnapshot) -> None:
        nonlocal published
        published += 1
        key = (each.symbol, each.side)
        assert each.received_at_us == newest[key], "an older snapshot than the newest"
        times[key].append(now)
        seen[key].append(each.received_at_us)

    for number, (pause, symbol, side, release) in enumerate(events, 1):
        now += pause
        newest[symbol, side] = number
        if (offered := conflation.offer(snapshot(number, symbol, side), now)) is not None:
            publish(offered)
        if release:
            for each in conflation.release(now):
                publish(each)
    waiting = conflation.drain()
    for each in waiting:
        key = (each.symbol, each.side)
        assert each.received_at_us == newest[key]
        seen[key].append(each.received_at_us)
    for key, moments in times.items():
        assert seen[key] == sorted(set(seen[key])), "a snapshot twice, or out of order"
        for one, following in pairwise(moments):
            assert following - one >= MIN_SPACING * interval * (1 - 1e-9)
    assert {key: values[-1] for key, values in seen.items()} == newest
    assert published + len(waiting) + conflation.replaced == len(events)


def test_conflation_forgets_books_and_returns_what_waits_of_them() -> None:
    conflation = Conflation(7)
    for symbol in ("BTCUSDT", "USDTTMN"):
        for number in (1, 2):
            conflation.offer(snapshot(number, symbol), 0)
    assert conflation.forget(["BTCUSDT", "unknown"]) == [snapshot(2, "BTCUSDT")]
    assert conflation.forget(["BTCUSDT"]) == []
    assert conflation.release(7) == [snapshot(2, "USDTTMN")]
    # It returns as if it was new.
    assert conflation.offer(snapshot(3, "BTCUSDT"), 8) == snapshot(3, "BTCUSDT")
