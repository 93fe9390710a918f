"""What stands in many byte strings at once is what stands in each."""

import re
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.codec import byte_grid
from radar.codec.byte_grid import ByteGrid, StringColumn, Unusual
from radar.decimals import CANONICAL_PATTERN

_NEARLY_AMOUNTS = st.one_of(
    st.from_regex(CANONICAL_PATTERN.replace("$", r"\Z")),
    st.text("0019.", max_size=24),
    st.text(".0123456789/:-", max_size=6),
)


def packed(texts: list[str]) -> StringColumn:
    joined = "".join(texts).encode()
    return StringColumn(np.array([len(each) for each in texts]), np.frombuffer(joined, np.uint8))


@given(_NEARLY_AMOUNTS)
def test_integer_digits_takes_exactly_the_positive_canonical_amounts(text: str) -> None:
    is_amount = re.fullmatch(CANONICAL_PATTERN, text) is not None and text != "0"
    for texts in ([text], ["0.5", text, "12"], [text, text]):
        if is_amount:
            found = byte_grid.integer_digits(packed(texts)).tolist()
            assert found == [len(each.partition(".")[0]) for each in texts]
        else:
            with pytest.raises(Unusual):
                byte_grid.integer_digits(packed(texts))


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 99)), min_size=1, max_size=5))
def test_numbers_of_a_pattern_are_read_back(pairs: list[tuple[int, int]]) -> None:
    grid = ByteGrid([b"a%03db%02dc" % pair for pair in pairs])
    first, second = byte_grid.numbers(grid.rows(grid.starts, 8), [b"a", b"000", b"b", b"00", b"c"])
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == pairs


@pytest.mark.parametrize("string", [b"a12xb12c", b"a123b12d", b"a1/3b12c", b"a:23b12c"])
def test_numbers_of_something_else_are_refused(string: bytes) -> None:
    grid = ByteGrid([b"a123b12c", string])
    with pytest.raises(Unusual):
        byte_grid.numbers(grid.rows(grid.starts, 8), [b"a", b"000", b"b", b"00", b"c"])


def test_rows_beyond_the_end_are_refused() -> None:
    grid = ByteGrid([b"abc", b"de"])
    assert [row.tobytes() for row in grid.rows(grid.starts, 2)] == [b"ab", b"de"]
    for at, width in ((grid.starts, 3), (grid.starts - 1, 2), (grid.starts, 6)):
        with pytest.raises(Unusual):
            grid.rows(at, width)


@given(st.lists(st.uuids(), min_size=1, max_size=4))
def test_uuids_are_pairs_of_their_halves(made: list[UUID]) -> None:
    digits = np.frombuffer("".join(each.hex for each in made).encode(), np.uint8).reshape(-1, 32)
    words = [int(word) for word in byte_grid.uuids(digits)]
    assert [high << 64 | low for high, low in zip(words[::2], words[1::2], strict=True)] == [
        each.int for each in made
    ]


@pytest.mark.parametrize("character", "AgG/: `\0")
def test_uuids_of_other_characters_are_refused(character: str) -> None:
    digits = np.frombuffer(("a" * 31 + character).encode(), np.uint8).reshape(1, 32)
    with pytest.raises(Unusual):
        byte_grid.uuids(digits)
