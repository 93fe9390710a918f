"""The past of a market in a real browser: moments, playing, gaps, and the way back."""

import re
import time
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look
from market_data import insert, side, trade
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES
from radar.records import BookSide, Gap, GapCause, SessionReport
from radar.store.client import Store

expect.set_options(timeout=TIMEOUT_MS)

SYMBOL = "PASTTMN"
LENGTH_S = 900  # a trade and both sides of a book every second
OUTAGE_S = (400, 520)  # from when to when nothing was recorded


class Past(NamedTuple):
    """A recording with an outage; times are Unix times in seconds."""

    begin_s: int

    def at(self, second: float) -> str:
        return datetime.fromtimestamp(self.begin_s + second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def address(self, second: float, interval_s: int = 60) -> str:
        return f"#/market/wallex%3A{SYMBOL}?interval={interval_s}&at={self.at(second)}"


@pytest.fixture(scope="module")
def past(recorded: Store) -> Past:
    begin_s = int(time.time()) // 60 * 60 - 3600
    trades, sides = [], []
    for n in range(LENGTH_S):
        if OUTAGE_S[0] <= n < OUTAGE_S[1]:
            continue
        at_us = (begin_s + n) * 1_000_000 + 200_000
        middle = 1000 + n % 97
        made = trade(at_us // 1000, at_us, f"{middle}.25", SYMBOL)
        trades.append(message_format.encode_trade(made, f"{77:08x}{n:024x}"))
        for which, sign in ((BookSide.BID, -1), (BookSide.ASK, 1)):
            levels = [middle + sign * (level + 0.5) for level in range(12)]
            sides.append(message_format.encode_depth(side(which, levels, at_us + sign, SYMBOL)))
    insert(recorded, TRADES, trades, f"{SYMBOL} trades")
    insert(recorded, DEPTH, sides, f"{SYMBOL} books")
    begin_us = begin_s * 1_000_000
    edges = [(0, OUTAGE_S[0]), (OUTAGE_S[1], LENGTH_S)]
    watches = [
        SessionReport(
            source="wallex", record_kind=dataset, connection=f"9{n}", symbols=(SYMBOL,),
            began_at_us=begin_us + begins * 1_000_000, ended_at_us=begin_us + ends * 1_000_000,
            end_reason="closed", interval_ms=0, received_at_us=begin_us,
        )
        for dataset in ("trades", "depth")
        for n, (begins, ends) in enumerate(edges)
    ]  # fmt: skip
    insert(recorded, WATCHES, [message_format.encode_session(each) for each in watches], "past")
    gaps = [
        Gap(
            source="wallex", record_kind=dataset, cause=GapCause.DISCONNECTED, symbols=(SYMBOL,),
            began_at_us=begin_us + OUTAGE_S[0] * 1_000_000,
            ended_at_us=begin_us + OUTAGE_S[1] * 1_000_000, repaired=False,
            received_at_us=begin_us,
        )
        for dataset in ("trades", "depth")
    ]  # fmt: skip
    insert(recorded, GAPS, [message_format.encode_gap(each) for each in gaps], "past gaps")
    return Past(begin_s)


def best(store: Store, at_s: float) -> tuple[str, str]:
    """Return the best bid and ask that `order_book_at` returns for a moment, as the page writes."""
    ((bid, ask),) = store.rows(
        f"SELECT best_bid, best_ask FROM order_book_at(symbol = '{SYMBOL}',"
        " at = fromUnixTimestamp64Micro({at:Int64}, 'UTC'))",
        {"at": round(at_s * 1_000_000)},
    )
    return f"{bid:,.2f}", f"{ask:,.2f}"


def shown_at_s(page: Page) -> float:
    """Return the moment in the address."""
    (text,) = parse_qs(page.url.partition("?")[2])["at"]
    return datetime.fromisoformat(text).timestamp()


def expect_book(page: Page, store: Store, at_s: float) -> None:
    bid, ask = best(store, at_s)
    expect(page.locator(".ladder tr.bid td").first).to_have_text(bid)
    expect(page.locator(".ladder tr.ask").last.locator("td").first).to_have_text(ask)


def point_at(page: Page, minute: str) -> None:
    """Move the pointer over the chart until the legend names a candle."""
    expect(page.locator(".chart-place .cover")).to_have_count(0)
    expect(page.locator(".legend")).to_be_visible()
    box = page.locator(".chart-place .fill").bounding_box()
    assert box
    for x in range(int(box["width"]) - 80, 0, -3):
        page.mouse.move(box["x"] + x, box["y"] + 150)
        said = page.evaluate(
            """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
              () => done(document.querySelector('.legend').textContent))))"""
        )
        if minute in said:
            return
    raise AssertionError(f"no candle of {minute} is on the chart")


def test_link_with_a_moment_shows_the_book_and_the_trades_of_that_moment(
    look: Look, dashboard: Dashboard, recorded: Store, past: Past
) -> None:
    page = look(dashboard.url, past.address(131))
    expect_book(page, recorded, past.begin_s + 131)
    expect(page.locator(".past-mark")).to_have_text("The past")
    clock = datetime.fromtimestamp(past.begin_s + 130, UTC).strftime("%H:%M:%S")
    expect(page.locator(".tape tbody tr").first).to_contain_text(clock)
    expect(page.locator(".market-price .big")).to_have_text("1,033.25")
    # The last candle is as it was: of the 11 trades of that minute until then.
    expect(page.locator(".legend")).to_contain_text("Vol 3.3")
    expect(page.locator(".legend")).to_contain_text("C 1,033.25")
    page.get_by_role("button", name="Back to now").click()
    expect(page.locator(".past-mark")).to_have_count(0)
    assert "at=" not in page.url


def test_moment_is_chosen_by_a_field_and_by_a_click_and_back_returns(
    look: Look, dashboard: Dashboard, recorded: Store, past: Past
) -> None:
    page = look(dashboard.url, past.address(300))
    expect_book(page, recorded, past.begin_s + 300)
    page.get_by_label("Moment (UTC)").fill(past.at(77).removesuffix("Z"))
    page.get_by_role("button", name="Show", exact=True).click()
    expect_book(page, recorded, past.begin_s + 77)
    assert shown_at_s(page) == past.begin_s + 77
    page.go_back()
    expect_book(page, recorded, past.begin_s + 300)
    point_at(page, datetime.fromtimestamp(past.begin_s + 120, UTC).strftime("%H:%M"))
    page.mouse.down()
    page.mouse.up()
    expect_book(page, recorded, past.begin_s + 180)
    assert shown_at_s(page) == past.begin_s + 180, "the end of the candle"
    page.go_back()
    expect_book(page, recorded, past.begin_s + 300)


def test_steps_move_the_moment_by_a_second_and_by_a_candle(
    look: Look, dashboard: Dashboard, recorded: Store, past: Past
) -> None:
    page = look(dashboard.url, past.address(200))
    expect_book(page, recorded, past.begin_s + 200)
    for key, seconds in (("One second on", 1), ("One candle on", 60), ("One second back", -1)):
        before_s = shown_at_s(page)
        page.get_by_role("button", name=key).click()
        expect(page.locator(".past-mark")).to_be_visible()
        assert shown_at_s(page) == before_s + seconds
        expect_book(page, recorded, before_s + seconds)


def test_playing_grows_the_candles_and_ends_with_the_book_of_the_end(
    look: Look, dashboard: Dashboard, recorded: Store, past: Past
) -> None:
    page = look(dashboard.url, past.address(60.0))
    expect_book(page, recorded, past.begin_s + 60)
    page.get_by_label("Speed").select_option("20")
    closes = page.locator(".legend")
    before = closes.inner_text()
    count = page.locator(".facts .fact", has_text="24 h trades").locator("dd")
    expect(count).to_have_text("60")
    page.get_by_role("button", name="Play").click()
    expect(closes).not_to_have_text(before)
    page.wait_for_function(
        "from_s => Date.parse(new URLSearchParams(location.hash.split('?')[1]).get('at')) / 1000"
        " > from_s + 150",
        arg=past.begin_s + 60,
    )
    # The figures of 24 hours grow while it plays, not only at a pause.
    expect(count).not_to_have_text("60")
    # The head, the tape and the chart show the same price while it plays.
    page.get_by_role("button", name="Pause").click()
    at_s = shown_at_s(page)
    assert at_s > past.begin_s + 200
    expect_book(page, recorded, at_s)
    ((price,),) = recorded.rows(
        f"SELECT toFloat64(argMax(price, event_time)) FROM trades WHERE symbol = '{SYMBOL}'"
        " AND event_time <= fromUnixTimestamp64Micro({at:Int64}, 'UTC')",
        {"at": round(at_s * 1_000_000)},
    )
    text = f"{price:,.2f}"
    expect(page.locator(".market-price .big")).to_have_text(text)
    expect(page.locator(".tape tbody tr:not(.tape-gap)").first).to_contain_text(text)
    expect(closes).to_contain_text(f"C {text}")


def test_gap_is_in_the_list_of_trades_and_on_the_chart_with_its_cause(
    look: Look, dashboard: Dashboard, past: Past
) -> None:
    page = look(dashboard.url, past.address(540))
    times = [
        datetime.fromtimestamp(past.begin_s + second, UTC).strftime("%H:%M:%S")
        for second in OUTAGE_S
    ]
    row = page.locator(".tape-gap")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(f"{times[0]}–{times[1]}")
    expect(row).to_contain_text("Connection ended")
    expect(row).to_contain_text("not fetched")
    # Between the trades before and behind it.
    order = page.locator(".tape tbody tr").evaluate_all(
        "rows => rows.map((row) => row.classList.contains('tape-gap') ? 'gap'"
        " : row.lastElementChild.textContent)"
    )
    at = order.index("gap")
    assert order[at - 1] >= times[1] > times[0] > order[at + 1]
    # On the chart: the whole minutes without a candle are shaded and keep their room.
    shaded = page.evaluate(
        """async () => {
          const canvas = document.querySelector('.chart-place canvas');
          const context = canvas.getContext('2d');
          const { data } = context.getImageData(0, 40, canvas.width, 1);
          const at = [];
          for (let x = 0; x < canvas.width; x += 1) {
            const [r, g, b, a] = data.slice(4 * x, 4 * x + 4);
            if (a > 0 && r > 200 && r > b + 12 && g > b) at.push(x); // no candle is so light
          }
          return at.length ? [at[0], at.at(-1), canvas.width] : [];
        }"""
    )
    assert shaded, "no band is drawn"
    # 120 s are two bars of 60 s; a bar is at least 1.5 px and the chart shows at least 60 of them.
    width = shaded[1] - shaded[0] + 1
    assert 2 <= width <= 2 * shaded[2] / 20


def test_market_and_its_data_quality_lead_to_each_other(
    look: Look, dashboard: Dashboard, past: Past
) -> None:
    page = look(dashboard.url, past.address(540))
    page.locator(".facts a.link").click()
    expect(page.locator("main[data-page=quality] .asked")).to_contain_text(SYMBOL)
    expect(page.locator(".heat-map tbody tr")).to_have_count(1)
    began = datetime.fromtimestamp(past.begin_s + OUTAGE_S[0], UTC).strftime("%H:%M:%S")
    gap = page.locator("table.gaps tbody tr", has_text=began).first
    gap.locator("a.chip").first.click()
    expect(page.locator(".past-mark")).to_be_visible()
    assert shown_at_s(page) == past.begin_s + OUTAGE_S[0]


def test_values_of_the_chart_are_a_table(look: Look, dashboard: Dashboard, past: Past) -> None:
    page = look(dashboard.url, past.address(131))
    expect(page.locator(".legend")).to_contain_text("C 1,033.25")
    page.get_by_role("button", name="Values").click()
    row = page.locator(".values tbody tr").first
    expect(row).to_contain_text("1,033.25")
    assert re.search(r"Open.*High.*Low.*Close.*Volume", page.locator(".values thead").inner_text())
