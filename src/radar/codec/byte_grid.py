"""The byte grid: many byte strings as one array, to compare the same place in each; pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radar.decimals import MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS

MAX_DIGITS = 18  # of a number that surely fits into 64 bits

_ZERO, _POINT = np.uint8(ord("0")), np.uint8(ord("."))
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = range(16)


class Unusual(Exception):
    """The bytes differ from the expected ones."""


class StringColumn(NamedTuple):
    """Strings of fewer than 128 ASCII characters each, one behind the other."""

    lengths: NDArray[np.int64]
    characters: NDArray[np.uint8]


class ByteGrid:
    """Byte strings, none of them empty, one behind the other.

    Attributes:
        starts: The begin of each.
        ends: The end of each.
    """

    def __init__(self, strings: Sequence[bytes]) -> None:
        self._joined = b"".join(strings)
        self._bytes = np.frombuffer(self._joined, np.uint8)
        lengths = np.fromiter(map(len, strings), np.int64, len(strings))
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths

    def rows(self, at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
        """Return `width` bytes from each of some places, as a row for each.

        Raises:
            Unusual: There are not so many bytes.
        """
        if at.min() < 0 or at.max() + width > len(self._bytes):
            raise Unusual
        windows: NDArray[np.void] = np.ndarray(
            (len(self._bytes) - width + 1,), f"V{width}", self._joined, strides=(1,)
        )
        return windows[at].view(np.uint8).reshape(len(at), width)

    def check(self, at: NDArray[np.int64], text: bytes) -> None:
        """Check that a text stands at each of some places.

        Raises:
            Unusual: It does not.
        """
        check(self.rows(at, len(text)), text)

    def places(self, character: bytes, count: int) -> NDArray[np.int64]:
        """Return the places of a character: a row of `count` places for each string.

        The caller must check that the rows do not straddle strings.

        Raises:
            Unusual: All strings together have another number of them.
        """
        found = np.flatnonzero(self._bytes == ord(character))
        if len(found) != count * len(self.ends):
            raise Unusual
        return found.reshape(len(self.ends), count)

    def integers(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers from 0 below 10**18 between two places each.

        Raises:
            Unusual: There is something else than a JSON number without sign, point and exponent.
        """
        lengths = ends - starts
        longest = int(lengths.max())
        if lengths.min() < 1 or longest > MAX_DIGITS:
            raise Unusual
        found = np.zeros(len(starts), np.int64)
        for place in range(longest):
            inside = place < lengths
            digits = self._bytes[np.where(inside, ends - 1 - place, starts)] - _ZERO
            if digits.max() > 9:
                raise Unusual
            found += np.where(inside, digits, 0).astype(np.int64) * 10**place
        if ((lengths > 1) & (self._bytes[starts] == _ZERO)).any():
            raise Unusual
        return found

    def texts(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> StringColumn:
        """Return the strings between two places each, in this order."""
        lengths = ends - starts
        shifts = starts - (np.cumsum(lengths) - lengths)
        return StringColumn(
            lengths, self._bytes[np.repeat(shifts, lengths) + np.arange(lengths.sum())]
        )


def check(rows: NDArray[np.uint8], text: bytes) -> None:
    """Check that each row equals a text.

    Raises:
        Unusual: One does not.
    """
    if (rows != np.frombuffer(text, np.uint8)).any():
        raise Unusual


def numbers(rows: NDArray[np.uint8], pattern: Sequence[bytes]) -> list[NDArray[np.int64]]:
    """Return the numbers in rows of one pattern; zeros in the pattern stand for digits.

    Raises:
        Unusual: A row does not match the pattern.
    """
    at, found = 0, list[NDArray[np.int64]]()
    for part in pattern:
        columns = rows[:, at : at + len(part)]
        at += len(part)
        if part.isdigit():
            digits = columns - _ZERO  # smaller characters wrap around
            if digits.max() > 9:
                raise Unusual
            powers = np.array([10**n for n in reversed(range(len(part)))], np.int64)
            found.append(digits.astype(np.int64) @ powers)
        else:
            check(columns, part)
    return found


def uuids(digits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return rows of 32 hexadecimal digits as pairs of integers, one behind the other.

    Raises:
        Unusual: A character is no lower-case hexadecimal digit.
    """
    nibbles = _NIBBLES[digits]
    if nibbles.max() > 15:
        raise Unusual
    return (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).view(">u8").ravel().astype(np.uint64)


def integer_digits(amounts: StringColumn) -> NDArray[np.int64]:
    """Return how many digits of each amount stand before the point.

    Raises:
        Unusual: One is not a positive decimal in its canonical form (`decimals.py`).
    """
    lengths, characters = amounts
    ends = np.cumsum(lengths)
    starts = ends - lengths
    digits = characters - _ZERO
    points = np.flatnonzero(digits > 9)
    broken = np.searchsorted(ends, points, "right")  # the amounts that have a fraction
    if not lengths.all() or (characters[points] != _POINT).any() or not np.diff(broken).all():
        raise Unusual
    whole = lengths.copy()
    whole[broken] = points - starts[broken]
    fraction = lengths[broken] - whole[broken] - 1
    idle_zero = digits[starts] == 0
    idle_zero[broken] &= whole[broken] > 1
    if idle_zero.any() or whole.min() < 1 or whole.max() > MAX_INTEGER_DIGITS:
        raise Unusual
    if len(broken) and (
        fraction.min() < 1
        or fraction.max() > MAX_FRACTION_DIGITS
        or not digits[ends[broken] - 1].all()
    ):
        raise Unusual
    return whole
