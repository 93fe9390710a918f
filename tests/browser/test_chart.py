"""What the chart of a market draws, and where, in a real browser."""

import re
import time
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from browser.recorded import insert_book
from browser.test_accessibility import AXE, SERIOUS
from market_data import insert, trade
from radar.codec import message_format
from radar.datasets import DEPTH, TRADES
from radar.records import BookSide, DepthSnapshot
from radar.store.client import Store

expect.set_options(timeout=TIMEOUT_MS)

# The pixels of the chart: width, height, data.
PIXELS = """
  const canvas = document.querySelector('.chart-place canvas');
  const { width, height } = canvas;
  const copy = Object.assign(document.createElement('canvas'), { width, height });
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
"""

# Groups of columns with candles: dotted lines and volumes do not count.
BARS = (
    f"() => {{{PIXELS}"
    """
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
)


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


# The columns with the colour of the heat map.
HEAT = (
    f"() => {{{PIXELS}"
    """
  const groups = [];
  for (let x = 0; x < width; x += 1) {
    let coloured = 0;
    for (let y = 0; y < height * 0.7; y += 1) {
      const at = 4 * (y * width + x);
      const [red, green, blue] = data.slice(at, at + 3);
      if (blue > red + 40 && blue > green + 40) coloured += 1;
    }
    if (coloured < 2) continue;
    if (groups.length && groups.at(-1)[1] >= x - 2) groups.at(-1)[1] = x;
    else groups.push([x, x]);
  }
  return groups;
}"""
)
HEAT_S, SILENT = 900, (400, 640)  # of a recording, and from when to when it has no book


@pytest.fixture(scope="module")
def heated(recorded: Store) -> int:
    """Insert a trade and a book every five seconds, with a wall; return the begin, a Unix time."""
    begin_s = int(time.time()) // 60 * 60 - 7200
    trades, books = [], []
    for second in range(0, HEAT_S, 5):
        at_us = (begin_s + second) * 1_000_000
        price = 1000 + second // 5 % 7
        trades.append(
            message_format.encode_trade(
                trade(at_us // 1000, at_us, f"{price}", "HEATTMN"), f"{88:08x}{second:024x}"
            )
        )
        if SILENT[0] <= second < SILENT[1]:
            continue
        for which, sign in ((BookSide.BID, -1), (BookSide.ASK, 1)):
            prices = tuple(price + sign * (0.5 + level) for level in range(12))
            wall = 999.5 if sign < 0 else 1007.5
            books.append(
                DepthSnapshot(
                    source="wallex", symbol="HEATTMN", base="HEAT", quote="TMN", side=which,
                    prices=prices, quantities=tuple(500.0 if p == wall else 2.0 for p in prices),
                    received_at_us=at_us + 1 + sign,
                )
            )  # fmt: skip
    insert(recorded, TRADES, trades, "heat trades")
    insert(recorded, DEPTH, [message_format.encode_depth(each) for each in books], "heat books")
    return begin_s


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_heat_map_shows_the_depth_over_time_and_no_unrecorded_time(
    look: Look, dashboard: Dashboard, heated: int, width: int, theme: str
) -> None:
    at = datetime.fromtimestamp(heated + HEAT_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    page = look(
        dashboard.url,
        f"#/market/wallex%3AHEATTMN?interval=15&at={at}",
        lang="en",
        width=width,
        theme=theme,
    )
    expect(page.locator(".legend")).to_contain_text("C 1,00")
    assert page.evaluate(HEAT) == []
    page.get_by_role("button", name="Heat map").click()
    page.wait_for_function(f"() => ({HEAT})().length === 2")
    (begin, silent), (again, end) = page.evaluate(HEAT)
    # A book holds for a minute; the rest of the time without one stays empty.
    hole = (SILENT[1] - SILENT[0] - 55) / HEAT_S
    assert (again - silent) / (end - begin) == pytest.approx(hole, abs=0.02)
    # What is offered where the pointer is: the wall.
    box = page.locator(".chart-place .fill").bounding_box()
    assert box
    x = (begin + silent) / 2
    for y in range(10, int(box["height"]), 2):
        page.mouse.move(box["x"] + x, box["y"] + y)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        said = page.locator(".legend [data-study=heat]")
        if said.count() and "500" in said.inner_text():
            break
    else:
        pytest.fail("the pointer finds no wall")
    expect(said).to_contain_text(re.compile("Book (999.4|1,007.4)"))
    page.mouse.move(0, 0)
    page.get_by_role("button", name="Values").click()
    first = page.locator(".walls tbody tr").first
    newest_s = heated + HEAT_S - 5
    expect(first).to_contain_text(datetime.fromtimestamp(newest_s, UTC).strftime("%H:%M:%S"))
    expect(first).to_contain_text(re.compile("999.40*500.*1,007.40*500"))
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    assert [each["id"] for each in found["violations"] if each["impact"] in SERIOUS] == []
    page.get_by_role("button", name="Heat map").click()
    page.wait_for_function(f"() => ({HEAT})().length === 0")
    expect(page.locator(".walls")).to_have_count(0)


def test_link_shows_the_same_indicators_and_back_returns_to_the_earlier_ones(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    page = look(dashboard.url, "#/market/USDTTMN", lang="en")
    expect(page).to_have_url(re.compile(r"interval=60$"))
    page.get_by_role("button", name="MA", exact=True).click()
    period = page.get_by_label("Candles of the fast average")
    period.fill("3")
    period.press("Enter")
    page.get_by_role("button", name="VWAP").click()
    page.get_by_label("Compare with").select_option("wallex:SHIBTMN")
    seen = "interval=60&show=averages,vwap&average=3,50&with=wallex%3ASHIBTMN"
    expect(page).to_have_url(re.compile(re.escape(seen)))
    # A browser that never chose anything shows the same.
    other = look(dashboard.url, page.url.partition("/")[2].partition("/")[2].partition("/")[2])
    expect(other.locator(".legend")).to_contain_text("MA 3")
    expect(other.locator(".legend [data-study=compared]")).to_contain_text("wallex:SHIBTMN 0.")
    expect(other.get_by_role("button", name="VWAP")).to_have_attribute("aria-pressed", "true")
    # Another interval keeps them; Back returns step by step.
    page.keyboard.press("]")
    expect(page).to_have_url(re.compile(re.escape(seen.replace("=60", "=300"))))
    for earlier in (seen, seen.partition("&with")[0]):
        page.go_back()
        expect(page).to_have_url(re.compile(re.escape(earlier) + "$"))
    expect(page.locator(".legend [data-study=compared]")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("button", name="VWAP")).to_have_attribute("aria-pressed", "false")
    page.go_back()
    expect(period).to_have_value("20")
