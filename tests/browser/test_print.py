"""Pages on paper: readable in black on white, whole, and without controls."""

import time

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from market_data import insert, trade
from radar.codec import message_format
from radar.datasets import TRADES
from radar.store.client import Store

expect.set_options(timeout=TIMEOUT_MS)

MARKETS = 45  # more than a screen has rows
CONTROLS = """() => [...document.querySelectorAll('button, select, input, nav, form')]
  .filter((each) => !each.closest('thead') && each.checkVisibility({ visibilityProperty: true }))
  .map((each) => each.outerHTML.slice(0, 80))"""
# What would be cut: content that is larger than the box that hides the rest, or beyond the page.
CUT = """() => [...document.querySelectorAll('main *')]
  .filter((each) => each.checkVisibility({ visibilityProperty: true })
    && !each.closest('.visually-hidden, .range-bar, .meter, svg'))
  .filter((each) => {
    const { overflowX, overflowY } = getComputedStyle(each);
    const box = each.getBoundingClientRect();
    return (overflowX !== 'visible' && each.scrollWidth > each.clientWidth + 1)
      || (overflowY !== 'visible' && each.scrollHeight > each.clientHeight + 1)
      || box.right > document.documentElement.clientWidth + 1 || box.left < -1;
  })
  .map((each) => each.outerHTML.slice(0, 80))"""
# Cards whose last row stands outside of them.
SPILT = """() => [...document.querySelectorAll('.card')].filter((card) =>
  [...card.querySelectorAll('tr')].some((row) =>
    row.getBoundingClientRect().bottom > card.getBoundingClientRect().bottom + 1))
  .map((card) => card.className)"""
COLOURS = """() => [document.body, ...document.querySelectorAll('main :is(td, th, h1, h2, dd)')]
  .map((each) => getComputedStyle(each).color)
  .filter((colour) => Math.max(...colour.match(/[0-9]+/g).slice(0, 3)) > 0x60)"""


@pytest.fixture(scope="module")
def many(recorded: Store) -> None:
    at_us = (int(time.time()) - 60) * 1_000_000
    values = [
        message_format.encode_trade(
            trade(at_us // 1000, at_us, "5.5", f"P{n:03d}TMN"), f"{99:08x}{n:024x}"
        )
        for n in range(MARKETS)
    ]
    insert(recorded, TRADES, values, "many markets")


def on_paper(page: Page) -> None:
    """Wait for content, and show the page as it is printed on a landscape page."""
    expect(page.locator("main .spinner")).to_have_count(0)
    page.emulate_media(media="print")
    expect(page.locator(".printed")).to_contain_text(page.url)
    expect(page.locator(".printed")).to_be_visible()
    assert page.evaluate(CONTROLS) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(SPILT) == []
    assert page.evaluate(COLOURS) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(("lang", "theme"), [("en", "dark"), ("fa", "light")])
def test_market_is_printed_with_its_chart_as_a_picture(
    look: Look, dashboard: Dashboard, lang: str, theme: str
) -> None:
    place = "#/market/USDTTMN?interval=300&show=averages"
    page = look(dashboard.url, place, lang=lang, theme=theme, width=1032, height=720)
    expect(page.locator(".tape tbody tr:not(.tape-gap)")).to_have_count(50)
    expect(page.locator(".legend")).to_be_visible()
    picture = "document.querySelector('.chart-place .print-only canvas')?.width ?? 0"
    # What the browser's own printing finds.
    page.evaluate(
        f"window.addEventListener('beforeprint', () => {{ window.printed_px = {picture}; }})"
    )
    page.pdf()
    assert page.evaluate("window.printed_px") > 300
    assert page.evaluate(picture) == 0
    on_paper(page)
    assert page.evaluate(picture) > 300


@pytest.mark.parametrize(("lang", "theme"), [("fa", "dark"), ("en", "light")])
@pytest.mark.usefixtures("many")
def test_list_of_markets_is_printed_whole(
    look: Look, dashboard: Dashboard, lang: str, theme: str
) -> None:
    page = look(dashboard.url, "#/", lang=lang, theme=theme, width=1032, height=720)
    row = page.locator("table.markets tr[data-symbol]")
    expect(row.first).to_be_visible()
    assert row.count() < MARKETS
    on_paper(page)
    expect(page.locator("table.markets tr[data-symbol^=P0]")).to_have_count(MARKETS)
    page.emulate_media(media="screen")
    expect(page.locator(".printed")).to_be_hidden()
    assert row.count() < MARKETS


@pytest.mark.parametrize(("lang", "theme"), [("en", "dark"), ("fa", "light")])
def test_data_quality_is_printed_with_all_its_gaps(
    look: Look, dashboard: Dashboard, lang: str, theme: str
) -> None:
    page = look(dashboard.url, "#/quality", lang=lang, theme=theme, width=1032, height=720)
    expect(page.locator("table.gaps").first).to_be_visible()
    on_paper(page)
    found = page.evaluate("fetch('/api/gaps?days=7').then((answer) => answer.json())")
    expect(page.locator("table.gaps").first.locator("tbody tr")).to_have_count(len(found["gaps"]))
