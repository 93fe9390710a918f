"""How browsers are used: many tabs, networks that fail, the way back, phones, old data."""

import re
import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from browser.recorded import insert_days
from dashboards import TOKEN, now_us
from embedded_clickhouse import running
from market_data import insert, side, trade
from ports import free_port
from radar.codec import message_format
from radar.datasets import DEPTH, TRADES
from radar.records import BookSide
from radar.settings import load
from radar.store.client import Store
from radar.store.migrate import migrate

expect.set_options(timeout=TIMEOUT_MS)

CONNECTED = re.compile("live|still|silent")
TABS = 7  # a browser opens at most six connections to one address


def put_trade(store: Store, symbol: str, price: str) -> None:
    at_us = now_us()
    made = trade(at_us // 1000, at_us, price, symbol)
    insert(store, TRADES, [message_format.encode_trade(made, f"{at_us:032x}")], f"{symbol} {at_us}")


@pytest.fixture
def tabs(browser: Browser, dashboard: Dashboard, recorded: Store) -> list[Page]:
    """Open as many markets as tabs of one browser."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    context.request.get(f"{dashboard.url}/", params={"token": TOKEN})
    pages = []
    for n in range(TABS):
        put_trade(recorded, f"TAB{n}TMN", f"{500 + n}.5")
        page = context.new_page()
        page.goto(f"{dashboard.url}/#/market/wallex%3ATAB{n}TMN")
        pages.append(page)
    return pages


def test_seven_tabs_are_all_live_over_one_stream(
    tabs: list[Page], recorded: Store, dashboard: Dashboard
) -> None:
    for n, page in enumerate(tabs):
        expect(page.locator(".tape tbody tr").first).to_contain_text(f"{500 + n}.5")
    for n in range(TABS):
        put_trade(recorded, f"TAB{n}TMN", f"{600 + n}.25")
    for n, page in enumerate(tabs):
        expect(page.locator(".market-price .big")).to_have_text(f"{600 + n}.25")
    # One more page could not even be loaded if each tab held a connection.
    another = tabs[0].context.new_page()
    another.goto(f"{dashboard.url}/#/pipeline")
    expect(another.locator(".verdict").first).to_be_visible()
    tabs[0].close()
    put_trade(recorded, "TAB6TMN", "777.75")
    expect(tabs[6].locator(".market-price .big")).to_have_text("777.75")
    tabs[6].context.close()


def test_head_ladder_tape_and_chart_agree_on_the_last_price(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    put_trade(recorded, "ONETMN", "10.5")
    page = look(dashboard.url, "#/market/wallex%3AONETMN?interval=300")
    expect(page.locator(".market-price .big")).to_have_text("10.5")
    for price in ("12.25", "9.75"):
        put_trade(recorded, "ONETMN", price)
        expect(page.locator(".tape tbody tr").first).to_contain_text(price)
        # The page draws its parts within a few frames; after them, none contradicts another.
        parts = page.evaluate(
            """async () => {
              for (let n = 0; n < 10; n += 1) await new Promise(requestAnimationFrame);
              return [document.querySelector('.market-price .big').textContent,
                document.querySelector('.legend').textContent.match(/C ([0-9.]+)/)[1]].map(Number);
            }"""
        )
        assert parts == [float(price), float(price)]
    facts = page.locator(".facts")
    expect(facts).to_contain_text("12.25")
    expect(facts).to_contain_text("9.75")


def test_old_book_is_marked(look: Look, dashboard: Dashboard, recorded: Store) -> None:
    at_us = now_us() - 10_000_000_000
    sides = [
        side(which, [100 + sign], at_us, "OLDTMN")
        for which, sign in ((BookSide.BID, -1), (BookSide.ASK, 1))
    ]
    insert(recorded, DEPTH, [message_format.encode_depth(each) for each in sides], "old book")
    page = look(dashboard.url, "#/market/wallex%3AOLDTMN")
    expect(page.locator(".old-book")).to_contain_text(re.compile(r"This book is [23]\.?\d? h old"))


def test_page_whose_script_does_not_arrive_says_so_and_loads_by_itself(
    browser: Browser, dashboard: Dashboard
) -> None:
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    context.request.get(f"{dashboard.url}/", params={"token": TOKEN})
    page = context.new_page()
    page.route("**/js/format.js", lambda route: route.abort())
    page.goto(f"{dashboard.url}/")
    expect(page.locator("#app")).to_contain_text("This page could not be loaded")
    page.unroute("**/js/format.js")
    expect(page.locator("main[data-page=markets]")).to_be_visible()
    # A part that comes later, too.
    page.route("**/js/pages/pipeline.js", lambda route: route.abort())
    page.get_by_role("link", name="Pipeline").click()
    expect(page.locator("main .failed")).to_be_visible()
    page.unroute("**/js/pages/pipeline.js")
    expect(page.locator(".flow, .verdict").first).to_be_visible()
    context.close()


def test_back_keeps_the_search_and_the_place_in_the_list(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    for n in range(40):
        put_trade(recorded, f"ROW{n}TMN", "1.5")
    page = look(dashboard.url, height=500)
    page.get_by_label("Search markets").fill("ROW")
    expect(page.locator(".count")).to_have_text("40 markets")
    page.evaluate("window.scrollTo(0, 700)")
    page.wait_for_function("() => history.state && history.state.scroll_y === 700")
    page.locator("tbody tr[data-symbol] .name a").nth(12).click()
    expect(page.locator("main[data-page=market]")).to_be_visible()
    page.go_back()
    expect(page.locator(".count")).to_have_text("40 markets")
    expect(page.get_by_label("Search markets")).to_have_value("ROW")
    page.wait_for_function("() => Math.abs(window.scrollY - 700) < 2")


@pytest.mark.parametrize("place", ["#/nonsense", "#/market/%", "#/market/USDTTMN?at=yesterday"])
def test_wrong_address_says_so(look: Look, dashboard: Dashboard, place: str) -> None:
    page = look(dashboard.url, place)
    expect(page.locator("main")).to_contain_text("No page is shown at this address.")


def test_swipe_that_begins_on_the_chart_scrolls_the_page(look: Look, dashboard: Dashboard) -> None:
    page = look(
        dashboard.url, "#/market/USDTTMN", width=390, height=844, is_mobile=True, has_touch=True
    )
    expect(page.locator(".legend")).to_be_visible()
    place = page.locator(".chart-place .fill")
    place.evaluate("(chart) => window.scrollBy(0, chart.getBoundingClientRect().top - 150)")
    box = place.bounding_box()
    assert box
    before = page.evaluate("window.scrollY")
    finger = page.context.new_cdp_session(page)
    x, y = box["x"] + 100, box["y"] + 300
    points = [{"x": x, "y": y - 200 * n / 10} for n in range(11)]
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for point in points[1:]:
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("(before) => window.scrollY > before + 100", arg=before)


@pytest.mark.slow("src/radar/ui/web")
def test_data_quality_refreshes_itself_and_shows_its_time(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, "#/quality")
    expect(page.locator(".asked")).to_contain_text("As of")
    with page.expect_response(lambda response: "/api/gaps" in response.url):
        pass  # without a touch


@pytest.mark.slow("src/radar/ui/web", "src/radar/store/client.py")
def test_database_that_stands_still_is_seen_on_every_page(
    browser: Browser, look: Look, tmp_path: Path
) -> None:
    with running(tmp_path / "clickhouse") as server:
        store = Store(load(clickhouse_port=server.port))
        migrate(store, 90)
        insert_days(store)
        store.close()
        frozen = Dashboard(
            tmp_path, CLICKHOUSE_PORT=str(server.port), KAFKA_BROKER=f"127.0.0.1:{free_port()}"
        )
        try:
            frozen.start()
            pages = [
                look(frozen.url, place, may_complain=True)
                for place in ("#/", "#/market/USDTTMN", "#/quality")
            ]
            for page in pages:
                expect(page.locator(".connection")).to_have_attribute("data-state", CONNECTED)
            server.process.send_signal(signal.SIGSTOP)
            began_s = time.monotonic()
            for page in pages:
                expect(page.locator(".connection")).to_have_attribute("data-state", "stale")
                expect(page.locator(".banner")).to_contain_text("ClickHouse")
            assert time.monotonic() - began_s < 45
        finally:
            server.process.send_signal(signal.SIGCONT)
            frozen.end()
