"""Exact decimals as canonical text, the form in which amounts travel through radar."""

import re
from decimal import Decimal

# Decimal(38, 18) holds 20 digits before the point and 18 after it. The pattern is ASCII and
# bounded on purpose: Decimal() itself accepts "1_000", Arabic digits and "1e1000000".
CANONICAL_PATTERN = r"^(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{0,17}[1-9])?$"
MAX_INTEGER_DIGITS = 20
MAX_FRACTION_DIGITS = 18

_PLAIN = re.compile(r"(?a:\d{1,40})(?:\.(?a:\d{1,40}))?")
_EXPONENT = re.compile(r"(?a:\d{1,40})(?:\.(?a:\d{1,40}))?[eE][+-]?(?a:\d{1,2})")


def canonical(text: str) -> str:
    """Return the canonical text of a non-negative decimal, exactly.

    Args:
        text: Digits, optionally a point and digits, optionally an exponent of at most two
            digits (JavaScript writes 0.0000001 as 1e-7).

    Raises:
        ValueError: The text is not such a decimal, or does not fit into Decimal(38, 18).
    """
    if _PLAIN.fullmatch(text):
        whole, _, fraction = text.partition(".")
    elif _EXPONENT.fullmatch(text):
        whole, _, fraction = format(Decimal(text), "f").partition(".")
    else:
        raise ValueError(f"not a decimal: {text[:50]!r}")
    whole = whole.lstrip("0") or "0"
    fraction = fraction.rstrip("0")
    if len(whole) > MAX_INTEGER_DIGITS or len(fraction) > MAX_FRACTION_DIGITS:
        raise ValueError(f"does not fit into Decimal(38, 18): {text[:50]!r}")
    return f"{whole}.{fraction}" if fraction else whole
