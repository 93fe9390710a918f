"""The size of blocks after one was too large: half at once, more again with time."""

from itertools import pairwise

from radar.consumer.block_limit import FIRST_WAIT_S, LONGEST_WAIT_S, BlockLimit

LARGEST_BYTES = 8_000


def test_refused_block_halves_the_limit_each_time() -> None:
    limit = BlockLimit()
    for size_bytes, expected in ((8_000, 4_000), (4_000, 2_000), (2_000, 1_000)):
        limit.refused(size_bytes, 0.0)
        limit.raise_if_due(LARGEST_BYTES, 0.1)
        assert limit.limit_bytes == expected


def test_short_limit_is_forgotten_within_a_minute() -> None:
    limit = BlockLimit()
    limit.refused(500, 0.0)
    seen = []
    for step in range(1, 5):
        limit.raise_if_due(LARGEST_BYTES, step * FIRST_WAIT_S)
        seen.append(limit.limit_bytes)
    assert seen == [1_000, 4_000, None, None]


def test_limit_that_stays_is_tried_more_and_more_rarely() -> None:
    limit, now_s, refused_at_s = BlockLimit(), 0.0, []
    limit.refused(2_000, now_s)
    while now_s < 3_600:
        now_s += 1.0
        limit.raise_if_due(LARGEST_BYTES, now_s)
        if limit.limit_bytes is None or limit.limit_bytes > 1_000:
            refused_at_s.append(now_s)
            for size_bytes in (4_000, 2_000):
                limit.refused(size_bytes, now_s)
    waits_s = [after - before for before, after in pairwise(refused_at_s)]
    assert refused_at_s[0] == FIRST_WAIT_S
    assert waits_s == sorted(waits_s)
    assert waits_s[-1] == LONGEST_WAIT_S
    assert len(refused_at_s) < 15


def test_limit_after_a_long_time_without_one_is_tried_soon_again() -> None:
    limit = BlockLimit()
    limit.refused(2_000, 0.0)
    for now_s in (15.0, 30.0):
        limit.raise_if_due(LARGEST_BYTES, now_s)
    assert limit.limit_bytes is None
    limit.refused(8_000, 2_000.0)
    limit.raise_if_due(LARGEST_BYTES, 2_000.0 + FIRST_WAIT_S)
    assert limit.limit_bytes is None
