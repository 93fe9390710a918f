"""Number literals and times of the wire, read exactly."""

import re
from decimal import Decimal

from msgspec import Raw

from radar.decimals import canonical

# `canonical` raises ValueError, which is also the base of msgspec's and of Unicode errors.
NOT_DECODABLE = (ValueError, RecursionError)
# Milliseconds reach this in the year 5138, microseconds passed it in 1973.
_LEAST_US = 100_000_000_000_000

_PLAIN = re.compile(r"(?a:\d{1,20})(?:\.(?a:\d{1,20}))?")
_EXPONENT = re.compile(r"(?a:\d{1,20})(?:\.(?a:\d{1,20}))?[eE][+-]?(?a:\d{1,2})")


def text_of(literal: Raw) -> str:
    """Return the characters of a JSON number, or of a JSON string without escapes."""
    # Latin-1 decodes any byte; the readers of numbers refuse all but ASCII digits.
    text = str(literal, "latin-1")
    return text[1:-1] if text.startswith('"') else text


def amount(literal: Raw) -> str:
    """Return the canonical text of an amount, exactly.

    Raises:
        ValueError: It is no decimal that fits into Decimal(38, 18).
    """
    return canonical(text_of(literal))


def plain(text: str) -> str:
    """Return a decimal as it stands, or without its exponent; zeros stay.

    Raises:
        ValueError: It is no decimal, or has too many digits.
    """
    if _PLAIN.fullmatch(text):
        return text
    if _EXPONENT.fullmatch(text):
        written = format(Decimal(text), "f")
        if _PLAIN.fullmatch(written):
            return written
    raise ValueError(f"not a decimal of the book: {text[:50]!r}")


def unix_us(time: int) -> int:
    """Return a Unix time in microseconds that the exchange sent in milli- or microseconds."""
    return time if time >= _LEAST_US else time * 1000
