"""What the chart of a market draws, and where, in a real browser."""

import time

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from browser.recorded import insert_book
from market_data import insert, trade
from radar.codec import message_format
from radar.datasets import TRADES
from radar.store.client import Store

expect.set_options(timeout=TIMEOUT_MS)

# Groups of columns with candles: dotted lines and volumes do not count.
BARS = """() => {
  const canvas = document.querySelector('.chart-place canvas');
  const { width, height } = canvas;
  const copy = Object.assign(document.createElement('canvas'), { width, height });
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const found = [];
  for (let x = 0; x < width; x += 1) {
    let coloured = 0;
    for (let y = 0; y < height * 0.75; y += 1) {
      const at = 4 * (y * width + x);
      if (data[at + 3] === 255 && Math.abs(data[at] - data[at + 1]) > 60) coloured += 1;
    }
    if (coloured < 4) continue;
    if (found.length && found.at(-1)[1] === x - 1) found.at(-1)[1] = x;
    else found.push([x, x]);
  }
  return { bars: found.filter(([from, to]) => to > from), width };
}"""


def put(store: Store, symbol: str, second: int, count: int = 2) -> None:
    """Insert trades of a second that lies so far from now, with a body to see."""
    at_us = (int(time.time()) + second) * 1_000_000
    values = [
        message_format.encode_trade(
            trade(at_us // 1000 + n, at_us + n, f"{500 + 40 * (n % 2)}", symbol),
            f"{at_us + n:032x}",
        )
        for n in range(count)
    ]
    insert(store, TRADES, values, f"{symbol} {at_us}")


def bars(page: Page, count: int) -> tuple[list[list[int]], int]:
    """Wait until so many bars are drawn; return from where to where each reaches, and the width."""
    page.wait_for_function(f"(count) => ({BARS})().bars.length === count", arg=count)
    found = page.evaluate(BARS)
    return found["bars"], found["width"]


@pytest.mark.parametrize("width", [1440, 390])
def test_young_recording_begins_at_the_left_and_grows(
    look: Look, dashboard: Dashboard, recorded: Store, width: int
) -> None:
    symbol = f"CHART{width}TMN"
    put(recorded, symbol, -130)
    put(recorded, symbol, -70)
    page = look(dashboard.url, f"#/market/wallex%3A{symbol}?interval=60", lang="en", width=width)
    expect(page.locator(".legend")).to_contain_text("C 540")
    drawn, room = bars(page, 2)
    assert drawn[0][0] < room / 10
    assert drawn[0][1] - drawn[0][0] + 1 >= 4
    # Other colours move nothing.
    page.keyboard.press("t")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert bars(page, 2)[0] == drawn
    # Nor does a candle that is new: it stands beside the others.
    put(recorded, symbol, -1)
    after, _ = bars(page, 3)
    assert after[:2] == drawn
    assert drawn[1][1] < after[2][0] < room / 2


def test_chart_of_a_market_without_candles_begins_with_its_first_one(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    symbol = "FIRSTTMN"
    insert_book(recorded, symbol, 500.0, 2)
    page = look(dashboard.url, f"#/market/wallex%3A{symbol}?interval=60", lang="en")
    expect(page.locator(".chart .cover")).to_contain_text("No trades")
    put(recorded, symbol, -1)
    expect(page.locator(".legend")).to_contain_text("C 540")
    drawn, room = bars(page, 1)
    assert drawn[0][0] < room / 10
