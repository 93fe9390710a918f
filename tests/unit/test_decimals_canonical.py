"""Exact decimals as canonical text."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.decimals import CANONICAL_PATTERN, canonical

DECIMALS = st.builds(
    lambda whole, fraction: f"{whole}.{fraction}" if fraction else whole,
    st.text("0123456789", min_size=1, max_size=20),
    st.text("0123456789", max_size=18),
)


@given(DECIMALS)
def test_canonical_any_decimal_equals_it_and_matches_the_pattern(text: str) -> None:
    result = canonical(text)
    assert Decimal(result) == Decimal(text)
    assert re.match(CANONICAL_PATTERN, result)
    assert canonical(result) == result


@given(DECIMALS, DECIMALS)
def test_canonical_equal_decimals_have_equal_texts(one: str, other: str) -> None:
    assert (canonical(one) == canonical(other)) == (Decimal(one) == Decimal(other))


@given(st.integers(0, 10**12), st.integers(-18, 7), st.sampled_from(["e", "E"]))
def test_canonical_exponent_equals_its_decimal(digits: int, exponent: int, letter: str) -> None:
    text = f"{digits}{letter}{exponent}"
    assert Decimal(canonical(text)) == Decimal(text)


@pytest.mark.parametrize(
    ("text", "result"),
    [("0", "0"), ("000.000", "0"), ("007.10", "7.1"), ("1.0", "1"), ("100", "100"), ("1e2", "100")],
)
def test_canonical_form_has_no_superfluous_zeros(text: str, result: str) -> None:
    assert canonical(text) == result


@given(st.text())
def test_canonical_any_text_is_refused_or_exact(text: str) -> None:
    try:
        result = canonical(text)
    except ValueError:
        return
    assert Decimal(result) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", ".5", "5.", "1_000", " 1", "1\n", "۱۲", "NaN", "inf", "1e1000000", "0x10",
     "9" * 21, "0." + "1" * 19, "1e21", "1e-19"],
)  # fmt: skip
def test_canonical_what_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a decimal|does not fit"):
        canonical(text)
