"""What traders read from a market's page: times in their zone, and figures beside the candles."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.compute
import pyarrow.parquet
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from browser.test_accessibility import AXE, SERIOUS
from dashboards import now_us
from market_data import insert, trade
from radar.codec import message_format
from radar.datasets import TRADES, WATCHES
from radar.records import SessionReport
from radar.store.client import Store

expect.set_options(timeout=TIMEOUT_MS)

MARKET = "#/market/USDTTMN"
SHOWN = "canvas => canvas.toDataURL()"


def newest_trade_at(store: Store, zone: str) -> str:
    ((at_s,),) = store.rows(
        "SELECT toUnixTimestamp(max(event_time)) FROM trades_master WHERE symbol = 'USDTTMN'"
    )
    return datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(zone)).strftime("%H:%M:%S")


def fits(page: Page) -> bool:
    return bool(
        page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    )


@pytest.mark.parametrize("width", [1440, 390])
def test_chosen_time_zone_is_that_of_all_pages_and_stays(
    look: Look, dashboard: Dashboard, recorded: Store, width: int
) -> None:
    page = look(dashboard.url, MARKET, lang="en", width=width, timezone_id="America/St_Johns")
    newest = page.locator(".tape tbody tr").first
    zone = page.get_by_label("Time zone")
    expect(zone).to_have_value("utc")
    expect(newest).to_contain_text(newest_trade_at(recorded, "UTC"))
    zone.select_option("browser")
    expect(newest).to_contain_text(newest_trade_at(recorded, "America/St_Johns"))
    expect(page.locator(".tape thead")).to_contain_text("Time (St Johns)")
    expect(page.locator(".chart-foot")).to_contain_text("St Johns")
    zone.select_option("tehran")
    expect(newest).to_contain_text(newest_trade_at(recorded, "Asia/Tehran"))
    assert fits(page)
    page.reload()
    expect(newest).to_contain_text(newest_trade_at(recorded, "Asia/Tehran"))
    # The field of the moment is read in the zone that it names.
    at_s = int(datetime.now(UTC).timestamp()) // 60 * 60 - 600
    local = datetime.fromtimestamp(at_s, ZoneInfo("Asia/Tehran"))
    page.get_by_label("Moment (Tehran time)").fill(local.strftime("%Y-%m-%dT%H:%M:%S"))
    page.get_by_role("button", name="Show").click()
    moment = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    expect(page).to_have_url(re.compile(re.escape(moment)))
    page.evaluate("location.hash = '#/quality'")
    expect(page.locator("main[data-page=quality]")).to_contain_text("From (Tehran time)")


def test_time_zone_follows_the_language_until_it_is_chosen(
    look: Look, dashboard: Dashboard
) -> None:
    page = look(dashboard.url, "#/pipeline", lang="fa")
    zone = page.get_by_label("منطقهٔ زمانی")
    expect(zone).to_have_value("tehran")
    page.keyboard.press("l")
    expect(page.get_by_label("Time zone")).to_have_value("utc")
    page.keyboard.press("z")  # as the others, by its key
    expect(page.get_by_label("Time zone")).to_have_value("tehran")
    page.keyboard.press("z")
    page.keyboard.press("l")
    expect(zone).to_have_value("browser")


def study(page: Page, name: str) -> str:
    """Return the figure of the newest candle, as the legend writes it; waits until it is there."""
    part = page.locator(f".legend [data-study={name}] .num")
    expect(part).not_to_have_text("–")
    return part.inner_text()


def ask(page: Page, path: str, **parameters: object) -> Any:
    """Ask the dashboard as the page does."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return page.evaluate(
        "url => fetch(url).then((answer) => answer.json())", f"/api/{path}?{query}"
    )


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_indicators_show_what_the_server_computes(
    look: Look, dashboard: Dashboard, width: int, theme: str
) -> None:
    page = look(dashboard.url, f"{MARKET}?interval=900", lang="en", width=width, theme=theme)
    heights = page.locator(".chart-place .fill tr:has(canvas)")
    expect(page.locator(".legend")).to_contain_text("Vol")
    panes = heights.count()
    for name in ("MA", "CVD"):
        page.get_by_role("button", name=name, exact=True).click()
    expect(heights).to_have_count(panes + 1)
    period = page.get_by_label("Candles of the fast average")
    period.fill("3")
    period.press("Enter")
    expect(page.locator(".legend")).to_contain_text("MA 3")
    found = ask(page, "flow", symbol="USDTTMN", interval_s=900, from_s=0, fast=3, slow=50)["flow"]
    for name in ("fast", "slow"):
        shown = float(study(page, name).replace(",", ""))
        assert shown == pytest.approx(found[-1][name], abs=0.51)
    delta = study(page, "delta").replace(",", "").replace("−", "-")
    assert float(delta) == pytest.approx(found[-1]["delta"], rel=0.01)
    # For keyboards and screen readers: the same in the table, also of earlier candles.
    page.get_by_role("button", name="Values").click()
    row = page.locator(".values tbody tr").nth(1)
    expect(row).to_contain_text(f"{found[-2]['fast']:,.1f}")
    assert fits(page)
    page.reload()  # the choice stays
    expect(page.locator(".legend")).to_contain_text("MA 3")
    page.get_by_role("button", name="CVD", exact=True).click()
    expect(heights).to_have_count(panes)


def test_book_panes_and_volume_profile_are_drawn(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, f"{MARKET}?interval=900", lang="fa")
    for name in ("اسپرد", "عدم توازن", "نمای حجم"):
        page.get_by_role("button", name=name, exact=True).click()
    assert study(page, "spread_bps").endswith("٪")
    assert study(page, "imbalance").endswith("٪")
    expect(page.locator(".busiest")).to_contain_text("بیشترین معامله از ")
    drawn = page.locator(".chart-place canvas").first.evaluate(SHOWN)
    page.get_by_role("button", name="نمای حجم", exact=True).click()
    expect(page.locator(".busiest")).to_have_count(0)
    page.wait_for_function(
        f"before => ({SHOWN})(document.querySelector('.chart-place canvas')) !== before",
        arg=drawn,
    )
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    assert [each["id"] for each in found["violations"] if each["impact"] in SERIOUS] == []


def test_large_trades_are_marked_on_the_tape(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, MARKET, lang="en")
    large = ask(page, "trade-sizes", symbol="USDTTMN")["large_amount"]
    trades = ask(page, "trades", symbol="USDTTMN", count=50)["trades"]
    expected = sum(float(each["amount"]) >= large for each in trades)
    expect(page.locator(".tape tr.is-large")).to_have_count(expected)
    # A moment whose newest trade is the largest of its day.
    largest = max(
        ask(page, "trades", symbol="USDTTMN", count=500)["trades"][:400],
        key=lambda each: float(each["amount"]),
    )
    at = datetime.fromtimestamp(largest["at_s"] + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    page.evaluate("place => { location.hash = place }", f"{MARKET}?interval=60&at={at}")
    first = page.locator(".tape tbody tr.is-large").first
    expect(first).to_have_attribute("title", re.compile("one trade of a hundred"))
    expect(first.get_by_role("img")).to_be_visible()


def test_what_is_seen_is_saved_as_parquet(look: Look, dashboard: Dashboard, tmp_path: Path) -> None:
    page = look(dashboard.url, f"{MARKET}?interval=300", lang="en", width=390, theme="dark")
    expect(page.locator(".legend")).to_contain_text("Vol")
    rows = {}
    page.get_by_role("button", name="Parquet", exact=True).click()
    for dataset in ("Candles", "Trades", "Order books"):
        with page.expect_download() as begun:
            page.get_by_role("dialog").get_by_role("link", name=dataset, exact=True).click()
        begun.value.save_as(tmp_path / dataset)
        rows[dataset] = pyarrow.parquet.read_table(tmp_path / dataset)
    # All trades of these candles, and no others.
    counts = pyarrow.compute.sum(rows["Candles"]["trades"]).as_py()
    assert counts == rows["Trades"].num_rows > 0
    assert rows["Order books"].num_rows == 2
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    assert [each["id"] for each in found["violations"] if each["impact"] in SERIOUS] == []


def put_trade(store: Store, symbol: str, price: str) -> None:
    at_us = now_us()
    made = trade(at_us // 1000, at_us, price, symbol)
    insert(store, TRADES, [message_format.encode_trade(made, f"{at_us:032x}")], f"{symbol} {at_us}")


@pytest.mark.parametrize(("granted", "width"), [(True, 1440), (False, 390)])
def test_price_alert_is_shown_on_every_page_when_the_price_is_reached(
    look: Look, dashboard: Dashboard, recorded: Store, granted: bool, width: int
) -> None:
    symbol = f"ALR{width % 9}TMN"
    put_trade(recorded, symbol, "500.5")
    page = look(
        dashboard.url,
        f"#/market/wallex%3A{symbol}",
        lang="en",
        width=width,
        permissions=["notifications"] if granted else [],
    )
    page.evaluate(
        """() => {
          window.notified = [];
          window.Notification = class {
            static permission = GRANTED;
            static requestPermission() {}
            constructor(title, { body }) { window.notified.push(body); }
          };
        }""".replace("GRANTED", "'granted'" if granted else "'denied'")
    )
    page.get_by_role("button", name="Price alerts").click()
    dialog = page.get_by_role("dialog")
    for price in ("510", "490", "0"):
        dialog.get_by_label("Price", exact=True).fill(price)
        dialog.get_by_label("Price", exact=True).press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("above 0")
    expect(dialog.get_by_role("listitem")).to_contain_text(["rises to", "falls to"])
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    assert [each["id"] for each in found["violations"] if each["impact"] in SERIOUS] == []
    page.keyboard.press("Escape")
    page.evaluate("location.hash = '#/quality'")
    # Prices of the second in which the alert was made do not count.
    page.wait_for_function("before_ms => Date.now() > before_ms", arg=(time.time() + 1.1) * 1000)
    # The price is there for one trade only.
    put_trade(recorded, symbol, "511.5")
    put_trade(recorded, symbol, "501.5")
    shown = page.locator(".alert")
    expect(shown).to_contain_text(f"wallex:{symbol} rose to 510")
    assert fits(page)
    said = page.evaluate("window.notified")
    assert [f"wallex:{symbol} rose to 510" in each for each in said] == ([True] if granted else [])
    page.reload()  # it stays until it is dismissed
    shown.get_by_role("button").click()
    expect(shown).to_have_count(0)
    kept = page.evaluate(
        "JSON.parse(localStorage.getItem('radar.alerts')).map((each) => each.price)"
    )
    assert kept == [490]


def test_second_market_is_compared_on_a_percent_scale(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, f"{MARKET}?interval=900", lang="en")
    page.get_by_label("Compare with").select_option("wallex:SHIBTMN")
    candles = ask(page, "candles", symbol="SHIBTMN", interval_s=900)["candles"]
    compared = page.locator(".legend [data-study=compared]")
    expect(compared).to_contain_text(f"wallex:SHIBTMN {candles[-1]['close']:.4f}".rstrip("0"))
    scale = page.get_by_role("group", name="Price scale")
    expect(scale.get_by_role("button", name="%")).to_have_attribute("aria-pressed", "true")
    line = page.locator(".chart-place canvas").first
    with_line = line.evaluate(SHOWN)
    page.get_by_label("Compare with").select_option("")
    expect(compared).to_have_count(0)
    expect(scale.get_by_role("button", name="Linear")).to_have_attribute("aria-pressed", "true")
    assert line.evaluate(SHOWN) != with_line


@pytest.mark.parametrize("width", [1440, 390])
def test_list_of_markets_says_since_when_its_figures_count(
    look: Look, dashboard: Dashboard, recorded: Store, width: int
) -> None:
    symbol = f"YNG{width % 9}TMN"
    put_trade(recorded, symbol, "5.5")
    began_us = now_us() - 600_000_000
    session = SessionReport(
        source="wallex", record_kind="trades", connection=f"{width}", symbols=(symbol,),
        began_at_us=began_us, ended_at_us=now_us(), end_reason="closed", interval_ms=0,
        received_at_us=now_us(),
    )  # fmt: skip
    insert(recorded, WATCHES, [message_format.encode_session(session)], symbol)
    page = look(dashboard.url, "#/", lang="en", width=width)
    began = datetime.fromtimestamp(began_us // 1_000_000, UTC).strftime("%H:%M")
    row = page.locator(f"tr[data-symbol={symbol}]")
    expect(row.locator(".since-mark")).to_have_text(f"since {began}")
    assert fits(page)
    expect(page.locator("tr[data-symbol=USDTTMN] .since-mark")).to_have_count(0)


@pytest.mark.parametrize("lang", ["en", "fa"])
def test_head_of_the_page_fits_a_phone_also_when_the_connection_is_lost(
    look: Look, dashboard: Dashboard, lang: str
) -> None:
    page = look(dashboard.url, "#/pipeline", lang=lang, width=360)
    expect(page.locator("main .card").first).to_be_visible()
    page.locator(".connection .short").evaluate(
        "(mark) => { mark.textContent = 'Connection is lost and comes again' }"
    )
    assert fits(page)
