"""The views for analysis, against plain Python over the same trades and snapshots."""

import math
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from market_data import MONDAY, insert, side, trade, us
from radar.client import Radar
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES
from radar.errors import QueryFailed, UnknownMarket
from radar.records import BookSide, Gap, GapCause, SessionReport, Trade, TradeSide
from radar.store.client import Store

SECOND_US = 1_000_000
TEHRAN = ZoneInfo("Asia/Tehran")
START_US = us(MONDAY)


def text(at: datetime) -> str:
    return f"'{at:%Y-%m-%d %H:%M:%S.%f}'"


def period(seconds: float, begin: datetime = MONDAY) -> str:
    return f"start = {text(begin)}, end = {text(begin + timedelta(seconds=seconds))}"


def at(offset_s: float) -> datetime:
    return MONDAY + timedelta(seconds=offset_s)


def utc(moment: Any) -> datetime:
    found: datetime = moment
    return found.replace(tzinfo=UTC)


def some_trades(count: int = 200, symbols: tuple[str, ...] = ("USDTTMN", "BTC/TMN")) -> list[Trade]:
    """Return trades of about an hour and a half, in the order of trading."""
    chance = random.Random(5)
    found = []
    at_ms = START_US // 1000 - 1_800_000
    for _ in range(count):
        at_ms += chance.randrange(1, 60_000)
        made = trade(at_ms, at_ms * 1000 + 7, f"{chance.randrange(900, 1100)}.5")
        symbol = chance.choice(symbols)
        found.append(
            replace(
                made,
                symbol=symbol,
                side=chance.choice((TradeSide.BUY, TradeSide.SELL)),
                base_amount=f"{chance.randrange(1, 100)}.25",
            )
        )
    return found


def record(store: Store, trades: list[Trade]) -> None:
    values = [message_format.encode_trade(each, f"{n + 1:032x}") for n, each in enumerate(trades)]
    for delivery in ("once", "again"):
        insert(store, TRADES, values, delivery)


def snapshots(store: Store, *books: tuple[float, BookSide, list[float]]) -> None:
    """Record sides of the book of USDTTMN, so many seconds after MONDAY."""
    values = [
        message_format.encode_depth(side(which, prices, START_US + int(offset_s * SECOND_US)))
        for offset_s, which, prices in books
    ]
    insert(store, DEPTH, values, "books")


def test_order_flow_is_the_volume_of_each_side(store: Store) -> None:
    trades = some_trades()
    record(store, trades)
    wanted: dict[tuple[str, int], list[Trade]] = defaultdict(list)
    for each in trades:
        if each.event_time_ms >= START_US // 1000:
            wanted[each.symbol, each.event_time_ms // 600_000].append(each)
    rows = store.rows(
        "SELECT symbol, open_time, buy_volume, sell_volume, delta, buy_quote_volume,"
        " sell_quote_volume, buys, sells, imbalance"
        f" FROM order_flow(interval_s = 600, {period(7200)}) ORDER BY symbol, open_time"
    )
    assert len(rows) == len(wanted) > 5
    for row, ((symbol, slot), some) in zip(rows, sorted(wanted.items()), strict=True):
        volumes = []
        for which in (TradeSide.BUY, TradeSide.SELL):
            sided = [each for each in some if each.side == which]
            amounts = [Decimal(each.base_amount) for each in sided]
            quotes = [Decimal(each.price) * Decimal(each.base_amount) for each in sided]
            volumes.append((sum(amounts), sum(quotes), len(sided)))
        (bought, bought_quote, buys), (sold, sold_quote, sells) = volumes
        assert (row[0], utc(row[1])) == (symbol, datetime.fromtimestamp(slot * 600, UTC))
        assert row[2:9] == (bought, sold, bought - sold, bought_quote, sold_quote, buys, sells)
        assert row[9] == pytest.approx(float(bought - sold) / float(bought + sold))


def test_volume_profile_is_exact_at_the_edges_of_steps(store: Store) -> None:
    # In doubles 0.3 / 0.1 is below 3.
    prices = ["0.3", "0.299999999999999999", "0.35", "0.4"]
    trades = [trade(START_US // 1000 + n, START_US, price) for n, price in enumerate(prices)]
    record(store, trades)
    rows = store.rows(
        "SELECT price, buy_volume, sell_volume, volume, trades"
        f" FROM volume_profile(price_step = 0.1, {period(60)}) ORDER BY price"
    )
    tenths = [(Decimal("0.2"), 1), (Decimal("0.3"), 2), (Decimal("0.4"), 1)]
    assert rows == [
        (price, Decimal("0.3") * count, 0, Decimal("0.3") * count, count) for price, count in tenths
    ]


def test_volatility_is_of_the_returns_between_samples(store: Store) -> None:
    trades = some_trades(symbols=("USDTTMN",))
    record(store, trades)
    closes: dict[int, float] = {}
    for each in trades:
        closes[each.event_time_ms // 300_000] = math.log(float(each.price))
    variances: dict[int, list[float]] = defaultdict(list)
    for (before, earlier), (slot, later) in pairwise(sorted(closes.items())):
        if (slot - before) * 300 <= 1800 and slot * 300 >= START_US // SECOND_US:
            variances[slot // 6].append((later - earlier) ** 2)
    rows = store.rows(
        "SELECT open_time, returns, realised_variance, volatility, annualised_volatility"
        f" FROM realised_volatility(sample_s = 300, interval_s = 1800, {period(7200)})"
        " ORDER BY open_time"
    )
    assert [(utc(row[0]), row[1]) for row in rows] == [
        (datetime.fromtimestamp(number * 1800, UTC), len(squares))
        for number, squares in sorted(variances.items())
    ]
    for row, (_, squares) in zip(rows, sorted(variances.items()), strict=True):
        assert row[2] == pytest.approx(sum(squares))
        assert row[3] == pytest.approx(math.sqrt(sum(squares)))
        assert row[4] == pytest.approx(math.sqrt(sum(squares) * 365 * 48))


MIDS = (
    "SELECT dateDiff('second', {monday:DateTime64(6, 'UTC')}, time), best_bid, best_ask, mid,"
    " age_s FROM mid_prices(source = 'wallex', symbol = 'USDTTMN', interval_s = 10,"
    " max_age_s = 25, "
)


def mids(store: Store, begin_s: float, seconds: float) -> list[tuple[Any, ...]]:
    return store.rows(
        f"{MIDS} {period(seconds, at(begin_s))}) ORDER BY time", {"monday": f"{MONDAY:%F %T}"}
    )


@pytest.fixture
def quotes(store: Store) -> Store:
    """Provide a book whose sides come at different times, and pause for a minute."""
    snapshots(
        store,
        (-3, BookSide.BID, [99.0]),
        (2, BookSide.ASK, [101.0]),
        (10, BookSide.BID, [100.0]),  # exactly at a time of the grid
        (12, BookSide.ASK, []),
        (75, BookSide.BID, [98.0]),
        (75, BookSide.ASK, [99.0]),
    )
    return store


def test_mid_prices_carry_forward_what_was_known_and_no_more(quotes: Store) -> None:
    assert mids(quotes, 0, 100) == [
        (0, 99.0, None, None, 3),
        (10, 100.0, 101.0, 100.5, 8),
        (20, 100.0, None, None, 10),  # the side is empty, not unknown
        (30, 100.0, None, None, 20),
        # Older than 25 s: no row.
        (80, 98.0, 99.0, 98.5, 5),
        (90, 98.0, 99.0, 98.5, 15),
    ]


def test_mid_prices_of_parts_are_those_of_the_whole(quotes: Store) -> None:
    whole = mids(quotes, 0, 120)
    for cut_s in (5, 10, 15, 20, 35, 80):
        assert mids(quotes, 0, cut_s) + mids(quotes, cut_s, 120 - cut_s) == whole


def test_trades_have_the_book_before_them_with_its_age(quotes: Store) -> None:
    offsets_s = (-4, -3, 11, 13, 36, 80)
    trades = [
        replace(
            trade(START_US // 1000 + offset_s * 1000, START_US, "100.6"),
            side=TradeSide.SELL if offset_s == 80 else TradeSide.BUY,
        )
        for offset_s in offsets_s
    ]
    record(quotes, trades)
    rows = quotes.rows(
        "SELECT side, price, best_bid, best_ask, mid, quoted_spread_bps, effective_spread_bps,"
        " book_age_s FROM trades_with_book(source = 'wallex', symbol = 'USDTTMN',"
        f" max_age_s = 25, {period(200, at(-100))}) ORDER BY event_time_us"
    )
    nothing = (None,) * 3
    price = Decimal("100.6")
    assert rows[0] == ("buy", price, None, None, *nothing, None)
    assert rows[1] == ("buy", price, 99.0, None, *nothing, 0)
    assert rows[2][:5] == ("buy", price, 100.0, 101.0, 100.5)
    assert rows[2][5:] == pytest.approx((1 / 100.5 * 1e4, 2 * 0.1 / 100.5 * 1e4, 9))
    assert rows[3] == ("buy", price, 100.0, None, *nothing, 3)
    assert rows[4] == ("buy", price, None, None, *nothing, None)
    # The seller got more than the middle.
    assert rows[5][6:] == pytest.approx((-2 * (100.6 - 98.5) / 98.5 * 1e4, 5))


def test_effective_spreads_are_by_volume_over_trades_with_a_book(quotes: Store) -> None:
    trades = [
        replace(trade(START_US // 1000 + offset_ms, START_US, price), base_amount=amount)
        for offset_ms, price, amount in (
            (11_000, "101", "1"),
            (11_500, "100.5", "3"),
            (50_000, "100", "9"),
        )
    ]
    record(quotes, trades)
    ((average, quoted, age_s, count, with_book),) = quotes.rows(
        "SELECT effective_spread_bps_avg, quoted_spread_bps_avg, book_age_s_avg, trades,"
        " trades_with_book FROM effective_spreads(source = 'wallex', symbol = 'USDTTMN',"
        f" interval_s = 60, max_age_s = 25, {period(60)})"
    )
    paid = 2 * 0.5 / 100.5 * 1e4
    assert average == pytest.approx(paid * 101 / (101 + 3 * 100.5))
    assert (quoted, age_s) == pytest.approx((1 / 100.5 * 1e4, 9.25))
    assert (count, with_book) == (3, 2)


@pytest.mark.parametrize("interval_s", [900, 3600, 4 * 3600, 86400, 3 * 86400, 604800])
def test_local_candles_begin_at_the_times_of_the_zone(store: Store, interval_s: int) -> None:
    chance = random.Random(interval_s)
    times_ms = sorted(START_US // 1000 + chance.randrange(20 * 86400) * 1000 for _ in range(300))
    trades = [trade(at_ms, at_ms * 1000, f"{n + 1}") for n, at_ms in enumerate(times_ms)]
    record(store, trades)

    def open_time(at_ms: int) -> datetime:
        local = datetime.fromtimestamp(at_ms / 1000, TEHRAN)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if interval_s < 86400:
            return midnight + (local - midnight) // timedelta(seconds=interval_s) * timedelta(
                seconds=interval_s
            )
        days = (midnight.date() - datetime(1970, 1, 5).date()).days  # noqa: DTZ001
        return midnight - timedelta(days=days % (interval_s // 86400))

    wanted: dict[datetime, list[Trade]] = defaultdict(list)
    for each in trades:
        wanted[open_time(each.event_time_ms)].append(each)
    begin, seconds = MONDAY + timedelta(days=3, hours=5), 9 * 86400 + 4567
    chosen = {
        opened: some
        for opened, some in wanted.items()
        if opened < begin + timedelta(seconds=seconds)
        and opened + timedelta(seconds=interval_s) > begin
    }
    rows = store.rows(
        "SELECT open_time, day, open, close, trades FROM local_candles("
        f"time_zone = 'Asia/Tehran', interval_s = {interval_s}, {period(seconds, begin)})"
        " ORDER BY open_time"
    )
    assert [(utc(row[0]), row[1], *map(int, row[2:])) for row in rows] == [
        (opened, opened.date(), int(some[0].price), int(some[-1].price), len(some))
        for opened, some in sorted(chosen.items())
    ]
    assert len(rows) >= 2


def test_local_candles_refuse_an_interval_that_fits_no_day(store: Store) -> None:
    record(store, some_trades())
    with pytest.raises(QueryFailed, match="divide a day"):
        Radar().query(
            f"SELECT * FROM local_candles(time_zone = 'UTC', interval_s = 7000, {period(7200)})"
        )


def session(begin_s: float, end_s: float, connection: str) -> bytes:
    return message_format.encode_session(
        SessionReport(
            source="wallex", record_kind="trades", connection=connection, symbols=("USDTTMN",),
            began_at_us=START_US + int(begin_s * SECOND_US),
            ended_at_us=START_US + int(end_s * SECOND_US), end_reason="closed", interval_ms=0,
            received_at_us=START_US + int(end_s * SECOND_US),
        )
    )  # fmt: skip


def missed(begin_s: float, end_s: float, cause: GapCause, *, repaired: bool) -> bytes:
    return message_format.encode_gap(
        Gap(
            source="wallex", record_kind="trades", cause=cause, symbols=("USDTTMN",),
            began_at_us=START_US + int(begin_s * SECOND_US),
            ended_at_us=START_US + int(end_s * SECOND_US), repaired=repaired,
            received_at_us=START_US + int(end_s * SECOND_US),
        )
    )  # fmt: skip


# Coverage never reaches past now, and rows expire after 90 days.
PAST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)


@pytest.fixture
def covered(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Provide a market that was recorded from 00:00:30 on, with gaps, in the past."""
    monkeypatch.setattr(f"{__name__}.START_US", us(PAST))
    insert(
        store,
        WATCHES,
        [session(30, 120, "a"), session(130, 300, "b"), session(320, 600, "c")],
        "sessions",
    )
    gaps = [
        missed(120, 130, GapCause.DISCONNECTED, repaired=True),
        missed(300, 320, GapCause.DISCONNECTED, repaired=False),
        missed(400, 412, GapCause.MUTE, repaired=False),  # within a session
    ]
    insert(store, GAPS, gaps, "gaps")
    record(store, [trade(us(PAST) // 1000 + s * 1000, us(PAST), "5") for s in range(-60, 420, 60)])
    return store


def test_interval_coverage_is_of_whole_intervals(covered: Store) -> None:
    rows = covered.rows(
        "SELECT toUnixTimestamp(open_time), watched_share, covered_share, gaps"
        f" FROM interval_coverage(interval_s = 60, {period(480, PAST)})"
        " WHERE dataset = 'trades' ORDER BY open_time"
    )
    begin_s = us(PAST) // SECOND_US
    assert [(row[0] - begin_s, *row[1:]) for row in rows] == [
        (0, 0.5, 0.5, 0),  # the recording began
        (60, 1, 1, 0),
        (120, pytest.approx(50 / 60), 1, 1),
        (180, 1, 1, 0),
        (240, 1, 1, 0),
        (300, pytest.approx(40 / 60), pytest.approx(40 / 60), 1),
        (360, pytest.approx(48 / 60), pytest.approx(48 / 60), 1),
        (420, 1, 1, 0),
    ]


def test_covered_candles_say_unknown_before_the_first_session(covered: Store) -> None:
    rows = covered.rows(
        "SELECT toUnixTimestamp(open_time), close, covered_share, watched_share, gaps"
        f" FROM covered_candles(interval_s = 60, {period(360, PAST - timedelta(seconds=60))})"
        " WHERE source = 'wallex' AND symbol = 'USDTTMN' ORDER BY open_time"
    )
    begin_s = us(PAST) // SECOND_US
    assert [(row[0] - begin_s, *row[1:]) for row in rows] == [
        (-60, 5, None, None, None),
        (0, 5, 0.5, 0.5, 0),
        (60, 5, 1, 1, 0),
        (120, 5, 1, pytest.approx(50 / 60), 1),
        (180, 5, 1, 1, 0),
        (240, 5, 1, 1, 0),
    ]


@pytest.mark.parametrize(
    "view",
    [
        "candles(interval_s = 0, {})",
        "candles(start = now() - 60, end = now(), interval_s = 0)",
        "spreads(interval_s = 0, {})",
        "order_flow(interval_s = '0', {})",
        "realised_volatility(sample_s = 0, interval_s = 60, {})",
        "volume_profile(price_step = 0.0, {})",
        "market_candles(source = 'wallex', symbol = 'USDTTMN', interval_s = {{none:UInt32}}, {})",
    ],
)
def test_step_of_zero_is_an_error_that_names_it(store: Store, view: str) -> None:
    with pytest.raises(QueryFailed, match=r"^(interval_s|sample_s|price_step) is 0: give a number"):
        Radar().query(
            f"SELECT * FROM {view.format(period(60))}", **({"none": 0} if "none" in view else {})
        )


def test_column_of_a_table_may_be_compared_with_zero(store: Store) -> None:
    found = Radar().query("SELECT count() AS n FROM exchange_candles WHERE (interval_s = 0)")
    assert found["n"].to_pylist() == [0]


def test_depth_within_no_basis_points_is_no_number_that_looks_real(quotes: Store) -> None:
    ((bids, asks, imbalance),) = quotes.rows(
        "SELECT bid_volume, ask_volume, imbalance"
        f" FROM book_depth_at(symbol = 'USDTTMN', at = {text(at(80))}, bps = 0)"
    )
    assert (bids, asks, imbalance) == (0, 0, None)


@pytest.mark.parametrize(
    "view",
    [
        "mid_prices(source = 'wallex', symbol = 'USDTMN', interval_s = 1, max_age_s = 1, {})",
        "trades_with_book(source = 'wallex', symbol = 'USDTMN', max_age_s = 1, {})",
    ],
)
def test_view_of_one_market_refuses_a_misspelt_one(quotes: Store, view: str) -> None:
    with pytest.raises(UnknownMarket, match="use USDTTMN"):
        Radar().query(f"SELECT * FROM {view.format(period(60))}")


def test_large_decimals_do_not_overflow(store: Store) -> None:
    huge = replace(
        trade(START_US // 1000, START_US, "99999999.999999999999999999"),
        base_amount="999999999.999999999999999999",
    )
    record(store, [huge])
    (row,) = store.rows(
        f"SELECT buy_quote_volume, delta, imbalance FROM order_flow(interval_s = 60, {period(60)})"
    )
    assert row[0] == pytest.approx(Decimal("99999999999999999.9"), abs=1)
    assert row[1:] == (Decimal("999999999.999999999999999999"), 1)
    ((price, volume),) = store.rows(
        f"SELECT price, quote_volume FROM volume_profile(price_step = 0.01, {period(60)})"
    )
    assert price == Decimal("99999999.99")
    assert volume == row[0]
