"""Questions of the pages about markets, before they reach the database."""

import pytest

from radar.ui.web.markets import DAY_S, Grid


@pytest.mark.parametrize(
    ("grid", "period_s", "is_long"),
    [
        (Grid(3600), 20 * DAY_S, True),
        (Grid(900), 10 * DAY_S, True),
        (Grid(DAY_S, "Asia/Tehran"), 500 * DAY_S, True),
        (Grid(3600), 3 * DAY_S, False),
        (Grid(300), 20 * DAY_S, False),  # the sums are of quarters of an hour
    ],
)
def test_only_long_candles_over_many_days_are_read_from_sums(
    grid: Grid, period_s: float, is_long: bool
) -> None:
    assert ("FROM summed_market_" in grid.candles(period_s)) is is_long
