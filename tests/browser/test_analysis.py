"""What traders read from a market's page: times in their zone, and figures beside the candles."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from radar.store.client import Store

expect.set_options(timeout=TIMEOUT_MS)

MARKET = "#/market/USDTTMN"


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
