"""The end of a batch that cannot be read is found without passing over a readable message."""

from hypothesis import given
from hypothesis import strategies as st

from radar.kafka.unreadable import Unreadable, last_of

# Whether each of some batches, one after the other, can be read, and how many offsets it has.
LOGS = st.lists(st.tuples(st.booleans(), st.integers(1, 300)), min_size=1, max_size=8)


@given(LOGS, st.data())
def test_last_of_finds_the_end_of_the_batch_from_everywhere_in_it(
    log: list[tuple[bool, int]], data: st.DataObject
) -> None:
    batches: list[Unreadable | None] = []
    for readable, size in log:
        bad = None if readable else Unreadable(0, len(batches), "damaged")
        batches += [bad] * size
    asked = 0

    def at(offset: int) -> Unreadable | None:
        nonlocal asked
        asked += 1
        return batches[offset]

    stuck = [offset for offset, bad in enumerate(batches) if bad is not None]
    if not stuck:
        return
    first = data.draw(st.sampled_from(stuck))
    bad = batches[first]
    assert bad is not None
    last = max(offset for offset, each in enumerate(batches) if each == bad)
    assert last_of(at, first, bad, len(batches)) == last
    assert asked <= 20
