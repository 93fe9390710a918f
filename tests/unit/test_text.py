"""What `printable` shows of texts that others wrote."""

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from radar.text import clickhouse_words, printable, printable_chunks, printable_lines

ANY_TEXT = st.text(st.characters(exclude_categories=()))
SEEN = {"L", "M", "N", "P", "S"}  # the first letters of Unicode's categories of visible characters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("USDTTMN", "USDTTMN"),
        ("تتر / تومان", "تتر / تومان"),
        ("", ""),
        ("\x1b]0;PWNED\x07", r"\x1b]0;PWNED\x07"),
        ("a\nb\r\tc", r"a\x0ab\x0d\x09c"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("\ud800", r"\ud800"),
        ("\ue000\U000f0000", r"\ue000\U000f0000"),
        ("\U000e0041", r"\U000e0041"),
        ("\u3164\u2800\ufe0f", r"\u3164\u2800\ufe0f"),
        ("[/boom] $(touch pwn) <img>", "[/boom] $(touch pwn) <img>"),
    ],
)
def test_escapes_what_is_not_seen(text: str, shown: str) -> None:
    """Whatever a terminal would obey or hide is written out; the rest stays."""
    assert printable(text) == shown


@given(ANY_TEXT, st.integers(1, 300))
@example("\x1b" * 300, 1)
def test_every_character_is_seen(text: str, limit: int) -> None:
    """The result is one line of visible characters, at most as long as allowed."""
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
    assert all(c == " " or unicodedata.category(c)[0] in SEEN for c in shown)
    shown.encode()  # no surrogates


@given(ANY_TEXT, st.integers(1, 300))
def test_changes_nothing_twice(text: str, limit: int) -> None:
    """A text may pass two boundaries."""
    assert printable(printable(text, limit), limit) == printable(text, limit)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=200))
def test_leaves_plain_text_alone(text: str) -> None:
    """Plain text is the same object, not a copy."""
    assert printable(text) is text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abcdef", "abc…"),
        ("ab\x1bdef", "ab…"),
        ("\x1b", r"\x1b"),
        ("\x1b\x1b", "…"),
        ("abcd", "abcd"),
    ],
)
def test_cuts_with_an_ellipsis(text: str, shown: str) -> None:
    """A cut shows, and does not leave half an escape."""
    assert printable(text, 4) == shown


def test_costs_nothing_for_a_huge_text() -> None:
    """Only what is shown is looked at."""
    huge = "\x1b" * 50_000_000
    began_s = time.perf_counter()
    assert len(printable(huge)) <= 200
    assert time.perf_counter() - began_s < 1


def test_lines_stay_lines() -> None:
    """A table keeps its breaks and tabs; everything else is written out, however long it is."""
    assert printable_lines("a\tb\n\x1b[2J\r\n") == "a\tb\n\\x1b[2J\\x0d\n"
    assert printable_lines("\u2502 x\n" * 9999) == "\u2502 x\n" * 9999


@given(st.text(), st.integers(1, 5))
def test_chunks_are_read_as_one_text(text: str, size: int) -> None:
    """Characters that are cut between two chunks are not broken."""
    data = text.encode()
    chunks = [data[n : n + size] for n in range(0, len(data), size)]
    assert b"".join(printable_chunks(chunks)).decode() == printable_lines(text)


def test_chunks_of_other_bytes_are_written_out() -> None:
    """Bytes that are no UTF-8 include C1 controls of 8-bit terminals."""
    assert b"".join(printable_chunks([b"a\x9b2J", b"\xff\n", b"\xe2\x82"])) == (
        b"a\\x9b2J\\xff\n\\xe2\\x82"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Code: 73. DB::Exception: Code: 73. DB::Exception: No. (NO_FOO). (NO_FOO) (version 2)",
            "Code: 73. No. (NO_FOO)",
        ),
        (
            "Received ClickHouse exception, server response: Code: 6. DB::Exception: A (for url x)",
            "Code: 6. A",
        ),
        ("[Errno 111] Connection refused", "[Errno 111] Connection refused"),
    ],
)
def test_error_of_clickhouse_is_shown_without_what_surrounds_it(text: str, words: str) -> None:
    assert clickhouse_words(text) == words
