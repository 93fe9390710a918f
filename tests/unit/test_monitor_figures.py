"""Numbers as they are shown."""

import pytest

from radar.status import judgement
from radar.ui.terminal import figures


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (0, "0"), (999_999, "999,999"), (1_234_567, "1.23M"), (2e9, "2.00G")],
)
def test_count(number: float | None, text: str) -> None:
    assert figures.count(number) == text


@pytest.mark.parametrize(
    ("per_s", "text"), [(None, "–"), (0, "0"), (0.04, "0.0"), (17.26, "17.3"), (1234.5, "1,234")]
)
def test_rate(per_s: float | None, text: str) -> None:
    assert figures.rate(per_s) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(None, "–"), (12, "12 B"), (2048, "2.0 KiB"), (80 << 20, "80 MiB")]
)
def test_size(size_bytes: float | None, text: str) -> None:
    assert figures.size(size_bytes) == text


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (None, "–"),
        ("98765.100000000000000000", "98,765.1"),
        ("0.000000001234", "0.000000001234"),
        ("25402.000000", "25,402"),
        (62526.0, "62,526"),
        (62678.52, "62,678.52"),
        (1.5e-9, "0.0000000015"),
    ],
)
def test_price_loses_nothing_but_zeros(price: str | float | None, text: str) -> None:
    assert figures.price(price) == text


@pytest.mark.parametrize(
    ("per_s", "lag", "arrow"),
    [(None, 5, "→"), (0.9, 5, "→"), (3.0, 40, "↗"), (-3.0, 40, "↘"), (16.0, 396, "↗")],
)
def test_trend(per_s: float | None, lag: int, arrow: str) -> None:
    assert figures.trend(judgement.trend(per_s, lag)) == arrow


def test_spark_shows_the_newest_at_the_right_and_the_highest_of_each_bar() -> None:
    assert figures.spark((), 4) == "    "
    assert figures.spark((0, 0), 4) == "  ▁▁"
    assert figures.spark((7, 0), 2) == "█▁"
    assert figures.spark((0, 1, 2, 3, 4, 5, 6, 7), 4) == "▂▄▆█"


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.9, "00:00:59"), (3661, "01:01:01"), (90_000, "1 d 01:00:00")]
)
def test_uptime(seconds: float, text: str) -> None:
    assert figures.uptime(seconds) == text
