"""Currencies: one name for the Iranian ones, and Rial in Toman, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.exchanges.common.units import tomans, unified


@given(st.decimals(min_value=0, max_value=Decimal(10) ** 18, places=6, allow_nan=False))
def test_ten_rials_are_one_toman_exactly(rials: Decimal) -> None:
    text = tomans(format(rials, "f"))
    assert Decimal(text) * 10 == rials
    assert "." not in text or not text.endswith("0")


@pytest.mark.parametrize(("rials", "expected"), [("7", "0.7"), ("0.05", "0.005"), ("0", "0")])
def test_less_than_a_toman_keeps_its_digits(rials: str, expected: str) -> None:
    assert tomans(rials) == expected


@pytest.mark.parametrize("text", ["", "-1", "1,000", "٣"])
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        tomans(text)


@pytest.mark.parametrize("name", ["irt", "RLS", "irr", "TMN", "rial"])
def test_every_iranian_currency_has_one_name(name: str) -> None:
    assert unified(name) == "TMN"
