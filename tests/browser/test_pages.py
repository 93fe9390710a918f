"""The pages in a real browser, beside what the database says."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from playwright.sync_api import Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from dashboards import TOKEN, now_us
from market_data import insert, trade
from radar.codec import message_format
from radar.datasets import TRADES
from radar.records import Trade, TradeSide
from radar.store.client import Store

expect.set_options(timeout=TIMEOUT_MS)

PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
STILL = re.compile("live|still|silent")  # connected; whether data moves depends on the test's rows
PAGES = ["#/", "#/market/USDTTMN", "#/pipeline", "#/quality"]


def row(page: Page, symbol: str) -> str:
    """Return what the list of markets shows of one."""
    found = page.locator(f"tr[data-symbol={symbol}]")
    expect(found).to_be_visible()
    return found.inner_text()


def content(page: Page, name: str) -> None:
    """Wait until a page shows what it is about."""
    expect(
        page.locator(f"main[data-page={name}] .card, main[data-page={name}] table").first
    ).to_be_visible()


def test_markets_show_the_numbers_of_the_view(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    page = look(dashboard.url)
    for symbol, price, change, spread_bps in recorded.rows(
        "SELECT symbol, toFloat64(last_price), change_24h, spread_bps FROM markets"
    ):
        shown = row(page, symbol)
        assert f"{price:,.5f}".rstrip("0").rstrip(".") in shown
        assert f"{abs(change) * 100:.2f}%" in shown
        assert f"{spread_bps / 100:.2f}%" in shown
        assert "ago" in shown or "now" in shown
    assert "Toman" in row(page, "USDTTMN")


def test_market_shows_candles_book_and_trades_of_the_database(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    page = look(dashboard.url, "#/market/USDTTMN")
    expect(page.locator(".chart-place canvas").first).to_be_visible()
    ((price, best_bid, best_ask),) = recorded.rows(
        "SELECT toFloat64(last_price), best_bid, best_ask FROM markets WHERE symbol = 'USDTTMN'"
    )
    expect(page.locator(".market-price .big")).to_contain_text(f"{price:,.0f}")
    expect(page.locator(".ladder tr.ask").last).to_contain_text(f"{best_ask:,.1f}")
    expect(page.locator(".ladder tr.bid").first).to_contain_text(f"{best_bid:,.1f}")
    ((trade_price, amount, at),) = recorded.rows(
        "SELECT toFloat64(price), toFloat64(base_amount), formatDateTime(event_time, '%H:%i:%S')"
        " FROM trades WHERE symbol = 'USDTTMN' ORDER BY event_time DESC LIMIT 1"
    )
    newest = page.locator(".tape tbody tr").first
    expect(newest).to_contain_text(f"{trade_price:,.0f}")
    expect(newest).to_contain_text(at)
    shown = f"{amount:,.1f}" if amount >= 1000 else f"{amount:.3f}"
    assert shown.rstrip("0").rstrip(".") in newest.inner_text()
    ((opened, closed),) = recorded.rows(
        "SELECT toFloat64(open), toFloat64(close) FROM candles(interval_s = 60,"
        " start = now() - 7200, end = now()) WHERE symbol = 'USDTTMN'"
        " ORDER BY open_time DESC LIMIT 1"
    )
    expect(page.locator(".legend")).to_contain_text(f"O {opened:,.1f}".removesuffix(".0"))
    expect(page.locator(".legend")).to_contain_text(f"C {closed:,.1f}".removesuffix(".0"))


def test_candles_page_back_when_scrolled_left(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, "#/market/USDTTMN")
    expect(page.locator(".legend")).to_be_visible()
    with page.expect_response(lambda response: "before_s=" in response.url) as older:
        page.locator(".chart-place .fill").hover()
        for _ in range(12):
            page.mouse.wheel(-1500, 0)
    candles = older.value.json()["candles"]
    before_s = float(re.findall(r"before_s=([0-9.]+)", older.value.url)[0])
    assert candles
    assert candles[-1]["time"] < before_s
    page.locator(".newest").click()
    expect(page.locator(".newest")).to_have_count(0)


def test_new_trade_appears_without_a_reload(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    page = look(dashboard.url)
    market = look(dashboard.url, "#/market/SHIBTMN")
    before = row(page, "SHIBTMN")
    expect(market.locator(".tape tbody tr").first).to_be_visible()
    now_us = time.time_ns() // 1000
    news = Trade(
        source="wallex", symbol="SHIBTMN", base="SHIB", quote="TMN", side=TradeSide.BUY,
        price="0.9813", base_amount="12.5", event_time_ms=now_us // 1000, received_at_us=now_us,
    )  # fmt: skip
    insert(
        recorded, TRADES, [message_format.encode_trade(news, f"{now_us:032x}")], f"news {now_us}"
    )
    expect(page.locator("tr[data-symbol=SHIBTMN]")).to_contain_text("0.9813")
    assert "0.9813" not in before
    expect(market.locator(".tape tbody tr").first).to_contain_text("0.9813")
    expect(market.locator(".market-price .big")).to_contain_text("0.9813")
    expect(market.locator(".legend")).to_contain_text("C 0.9813")


def test_quality_shows_coverage_and_gaps_of_the_views(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    page = look(dashboard.url, "#/quality")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    ((share,),) = recorded.rows(
        "SELECT watched_share FROM coverage WHERE symbol = 'USDTTMN' AND record_kind = 'trades'"
        f" AND day = '{yesterday}'"
    )
    line = page.locator(".heat-map tbody tr", has_text="USDTTMN")
    shown = "100%" if share >= 1 else f"{int(share * 1000) / 10:.1f}%"
    expect(line.locator("td").nth(-2)).to_have_text(shown)
    gaps = recorded.rows(
        "SELECT formatDateTime(toDateTime(began_at), '%H:%i:%S'), cause, repaired FROM gaps FINAL"
        " WHERE began_at > now() - 3 * 86400 ORDER BY began_at DESC, record_kind DESC"
    )
    page.locator(".more button").first.click()  # the newest few are shown at first
    table = page.locator("table.gaps tbody tr")
    assert table.count() >= len(gaps) > 0
    texts = [each.inner_text() for each in table.all()]
    for began, _, _ in gaps:
        assert any(began in text for text in texts), began
    repaired = sum(repaired for _, _, repaired in gaps)
    assert sum("Not repaired" not in text for text in texts) >= repaired > 0
    expect(page.locator(".tile").nth(2)).to_contain_text(str(table.count()))


def test_quality_shows_the_four_states_of_the_examined_time(
    look: Look, dashboard: Dashboard
) -> None:
    page = look(dashboard.url, "#/quality")
    tile = page.locator(".tile").last
    expect(tile).to_contain_text("50.0%")
    for words in (
        "verified 25.0%", "repaired 25.0%", "unverifiable 25.0%", "missing 25.0%",
        "5 records missing", "radar did not record for 15 min",
    ):  # fmt: skip
        expect(tile).to_contain_text(words)
    page.get_by_role("button", name="Proven").click()
    line = page.locator(".heat-map tbody tr", has_text="USDTTMN")
    expect(line.locator("td").nth(-2)).to_have_text("50.0%")
    assert "missing 25.0%" in str(line.locator("td").nth(-2).get_attribute("title"))
    # Today was not examined: no share is shown, and no colour.
    expect(line.locator("td").nth(-1)).to_have_text("–")


@pytest.mark.parametrize("place", PAGES)
def test_phone_shows_every_page_without_scrolling_sideways(
    look: Look, dashboard: Dashboard, place: str
) -> None:
    for lang in ("en", "fa"):
        page = look(
            dashboard.url, place, lang=lang, width=360, height=740, is_mobile=True, has_touch=True
        )
        name = place[2:].partition("/")[0] or "markets"
        content(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_persian_is_right_to_left_with_its_digits_dates_and_toman(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    page = look(dashboard.url, locale="fa-IR")
    assert page.evaluate("[document.dir, document.documentElement.lang]") == ["rtl", "fa"]
    ((price,),) = recorded.rows("SELECT toInt64(last_price) FROM markets WHERE symbol = 'USDTTMN'")
    shown = row(page, "USDTTMN")
    assert f"{price:,}".translate(PERSIAN).replace(",", "٬") in shown
    assert "تومان" in shown
    assert not re.search(r"[0-9]", shown)
    right, left = (
        page.locator(f".markets thead .col-{key}").bounding_box()
        for key in ("symbol", "spread_bps")
    )
    assert right
    assert left
    assert right["x"] > left["x"]
    page.goto(f"{dashboard.url}/#/quality")
    expect(page.locator("table.gaps tbody tr").first).to_be_visible()
    # Tehran is three and a half hours ahead, its year is Jalali.
    ((minute,),) = recorded.rows(
        "SELECT formatDateTime(max(began_at), '%H:%i', 'Asia/Tehran') FROM gaps FINAL"
    )
    # A row before it may say that radar has not been running since the rows were made.
    recorded_last = page.locator("table.gaps tbody tr", has_text=minute.translate(PERSIAN))
    expect(recorded_last.first).to_be_visible()
    jalali = "فروردین|اردیبهشت|خرداد|تیر|مرداد|شهریور|مهر|آبان|آذر|دی|بهمن|اسفند"
    assert re.search(jalali, page.locator("table.gaps tbody tr").first.inner_text())
    expect(page.locator(".heat-map thead th", has_text=re.compile(jalali))).to_have_count(7)


def test_language_and_theme_are_toggled_and_kept(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, "#/market/USDTTMN", theme="dark")
    expect(page.locator(".ladder tr.ask").first).to_be_visible()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light colours").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.get_by_role("button", name="فارسی").click()
    expect(page.locator(".ladder h2")).to_have_text("دفتر سفارش‌ها")
    expect(page.locator(".chart-place .fill canvas").first).to_be_visible()
    page.reload()
    expect(page.locator(".ladder h2")).to_have_text("دفتر سفارش‌ها")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.keyboard.press("l")
    page.keyboard.press("t")
    expect(page.locator(".ladder h2")).to_have_text("Order book")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_everything_is_reached_with_the_keyboard(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url)
    row(page, "DOGEUSDT")
    page.keyboard.press("j")
    first = page.locator("tbody tr.active")
    expect(first).to_have_count(1)
    symbol = first.get_attribute("data-symbol")
    page.keyboard.press("ArrowDown")
    expect(page.locator(f"tbody tr.active:not([data-symbol={symbol}])")).to_have_count(1)
    page.keyboard.press("k")
    expect(page.locator(f"tbody tr.active[data-symbol={symbol}]")).to_have_count(1)
    page.keyboard.press("f")
    expect(page.locator(f"tr[data-symbol={symbol}] .star button")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("/")
    page.keyboard.type("دوج")
    expect(page.locator("tr[data-symbol]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("main[data-page=market] h1")).to_contain_text("Dogecoin")
    page.keyboard.press("]")
    expect(page.get_by_role("group", name="Interval").locator("[aria-pressed=true]")).to_have_text(
        "5m"
    )
    page.keyboard.press("Escape")
    content(page, "markets")
    for key, name in (("3", "pipeline"), ("4", "quality"), ("2", "market"), ("1", "markets")):
        page.keyboard.press(key)
        content(page, name)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Search markets")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('radar.favourites')") == symbol


def test_lost_connection_shows_and_comes_back(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, may_complain=True)
    expect(page.locator(".connection")).to_have_attribute("data-state", STILL)
    dashboard.end()
    try:
        expect(page.locator(".connection")).to_have_attribute("data-state", "lost")
        expect(page.locator(".banner")).to_contain_text("The connection is lost")
        row(page, "USDTTMN")
    finally:
        dashboard.start()
    expect(page.locator(".connection")).to_have_attribute("data-state", STILL)
    expect(page.locator(".banner")).not_to_contain_text("connection")


def test_market_that_is_not_there_says_so(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, "#/market/NOTTHERE", may_complain=True)
    expect(page.locator("main")).to_contain_text("No market NOTTHERE is recorded.")


def test_pipeline_without_one_says_what_does_not_answer(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url, "#/pipeline")
    expect(page.locator(".verdict").first).to_be_visible()
    expect(page.locator(".flow")).to_contain_text("Kafka")


def test_login_says_that_a_token_is_wrong_and_opens_with_the_right_one(
    look: Look, tmp_path: Path
) -> None:
    guarded = Dashboard(tmp_path, KAFKA_BROKER="127.0.0.1:1")
    try:
        guarded.start()
        page = look(guarded.url, "", may_complain=True, knows=False)
        wrong = page.get_by_text("This is not the token.")
        expect(wrong).to_be_hidden()
        page.get_by_label("Token").fill("what nobody knows")
        page.keyboard.press("Enter")
        expect(wrong).to_be_visible()
        assert "nobody" not in page.url
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("main[data-page=markets]")).to_be_visible()
        assert TOKEN not in page.url
    finally:
        guarded.end()


def test_address_with_the_token_opens_the_pages_and_leaves_it_nowhere(
    look: Look, dashboard: Dashboard
) -> None:
    page = look(dashboard.url, f"#token={TOKEN}", may_complain=True, knows=False)
    expect(page.locator("main[data-page=markets]")).to_be_visible()
    assert TOKEN not in page.url
    # Once more, now that the browser is known; and a wrong one where it is not.
    page.goto(f"{dashboard.url}/#token={TOKEN}")
    page.reload()
    expect(page.locator("main[data-page=markets]")).to_be_visible()
    assert "token" not in page.url
    wrong = look(dashboard.url, "#token=guessed", may_complain=True, knows=False)
    expect(wrong.get_by_text("This is not the token.")).to_be_visible()
    assert "guessed" not in wrong.url


@pytest.mark.parametrize(
    "place", ["#/constructor", "#/__proto__", "#/toString", "#/market/%", "#/market/%E2%80%AEx"]
)
def test_address_that_is_none_of_a_page_does_not_break_it(
    look: Look, dashboard: Dashboard, place: str
) -> None:
    page = look(dashboard.url, place, may_complain=True)
    expect(page.locator("main[data-page]")).to_contain_text(
        re.compile(r"No page is shown|recorded")
    )


def test_pages_leave_nothing_behind(look: Look, dashboard: Dashboard) -> None:
    page = look(dashboard.url)
    for _ in range(3):
        for key, name in (("2", "market"), ("3", "pipeline"), ("1", "markets")):
            page.keyboard.press(key)
            content(page, name)
    # Charts are canvases in the page, and a stream is one connection.
    assert page.locator("canvas").count() == 0
    expect(page.locator(".connection")).to_have_attribute("data-state", STILL)


def test_pipeline_shows_the_flow_and_its_numbers_move(look: Look, pipeline: str) -> None:
    page = look(pipeline, "#/pipeline")
    for stage in ("exchange", "connections", "partitions", "workers", "tables"):
        expect(page.locator(f".stage[data-stage={stage}]")).to_have_count(2)
    stored = page.locator(".stage[data-stage=tables] .main dd bdi").first
    expect(stored).to_have_attribute("title", re.compile(r"^[\d,]+$"))
    before = stored.get_attribute("title")
    expect(stored).not_to_have_attribute("title", before or "")
    rows = int((stored.get_attribute("title") or "0").replace(",", ""))
    answer = page.evaluate("fetch('api/pipeline').then((answer) => answer.json())")
    counted = {each["dataset"]: each["rows"] for each in answer["tables"]}
    assert 0 < rows <= counted["trades"] + 500
    partitions = page.locator("section[aria-label=Partitions] tbody tr")
    expect(partitions).to_have_count(len(answer["partitions"]))
    for producer in answer["producers"]:
        expect(page.locator("section[aria-label=Processes]")).to_contain_text(producer["name"])
    expect(page.locator(".series-place canvas")).to_have_count(3)
    expect(page.locator(".connection")).to_have_attribute("data-state", "live")


def test_markets_of_a_running_pipeline_move(look: Look, pipeline: str) -> None:
    page = look(pipeline)
    first = page.locator("tbody tr[data-symbol]").first
    expect(first).to_be_visible()
    symbol = first.get_attribute("data-symbol")
    price = page.locator(f"tr[data-symbol={symbol}] .price")
    before = price.inner_text()
    expect(price).not_to_have_text(before)


def test_markets_that_are_named_like_what_objects_inherit_are_listed_like_any_other(
    look: Look, dashboard: Dashboard, recorded: Store
) -> None:
    names = ("constructor", "hasOwnProperty", "toString", "valueOf", "all")
    at_us = now_us()
    for n, name in enumerate(names):
        made = replace(trade(at_us // 1000, at_us, "5", name), base=name, quote=name)
        insert(recorded, TRADES, [message_format.encode_trade(made, f"{n:032x}")], name)
    page = look(dashboard.url)
    for name in names:
        listed = page.locator(f"tbody tr[data-symbol={name}]")
        expect(listed).to_be_visible()
        expect(listed.locator(".name")).to_contain_text(f"{name} / {name}")
    row(page, "USDTTMN")  # the list is not frozen
    page.get_by_role("button", name="constructor", exact=True).click()
    expect(page.locator("tbody tr[data-symbol]")).to_have_count(1)
    page.locator("tbody tr[data-symbol] .name a").click()
    expect(page.locator(".market-name h1")).to_contain_text("constructor / constructor")
