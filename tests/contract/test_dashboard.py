"""What the dashboard answers, against SQL and against the commands."""

import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from dashboards import KNOWS, TOKEN, looking, now_us, serving
from hostile_http import open_s, sent_bytes
from market_data import insert, side, trade
from ports import free_port
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES
from radar.records import BookSide, Gap, GapCause, SessionReport
from radar.settings import Settings, load
from radar.store.client import Store
from radar.store.migrate import migrate
from radar.store.proofs import ProofRow, save
from radar.ui.web.app import BOUNDS
from support import eventually, run_command

NOW_US = now_us()
MIB = 1 << 20


@pytest.fixture(scope="module")
def client(clickhouse_port: int) -> Iterator[httpx.Client]:
    """A client of a dashboard without data; its tests change nothing."""
    settings = load(clickhouse_port=clickhouse_port, clickhouse_db=f"empty_{time.monotonic_ns()}")
    store = Store(settings)
    migrate(store, settings.retention_days)
    with serving(settings) as client:
        yield client
    store.command(f"DROP DATABASE {store.database}")
    store.close()


@pytest.fixture
def own(store: Store, store_settings: Settings) -> Iterator[httpx.Client]:
    """A client of a dashboard whose database belongs to the test."""
    with serving(store_settings) as client:
        yield client


def get(client: httpx.Client, path: str, **parameters: Any) -> Any:
    return client.get(path, params=parameters).raise_for_status().json()


def put_trades(store: Store, ages_s: list[float], symbol: str = "USDTTMN", name: str = "") -> None:
    """Insert trades of so long ago; identities follow from the market and the age."""
    values = []
    for age_s in ages_s:
        at_us = NOW_US - int(age_s * 1_000_000)
        price = f"{90_000 + round(age_s) % 977}.25"
        made = trade(at_us // 1000, at_us + 500, price, symbol)
        values.append(message_format.encode_trade(made, _identity(symbol, age_s)))
    insert(store, TRADES, values, f"{symbol} {name or ages_s}")


def _identity(symbol: str, age_s: float) -> str:
    return f"{sum(symbol.encode()):08x}{round(age_s * 1000):024x}"


def put_book(store: Store, symbol: str = "USDTTMN", age_s: float = 5) -> None:
    at_us = NOW_US - int(age_s * 1_000_000)
    book = [
        side(BookSide.BID, [99.5, 99.0, 50.0], at_us, symbol),
        side(BookSide.ASK, [100.5, 101.0], at_us + 7, symbol),
    ]
    insert(
        store, DEPTH, [message_format.encode_depth(each) for each in book], f"{symbol} book {age_s}"
    )


def test_markets_equal_the_view_and_the_greatest_volume_is_first(
    own: httpx.Client, store: Store
) -> None:
    put_trades(store, [3600, 60, 5])
    put_trades(store, [1800, 30], "BTC_USDT")
    put_trades(store, [7], "ETH_TMN")
    put_book(store)
    put_book(store, "NOTRADES")
    answer = get(own, "/api/markets")
    assert abs(answer["at_s"] - time.time()) < 60
    # A trade in USDT counts as what its price is in Toman.
    symbols = [row["symbol"] for row in answer["markets"]]
    assert symbols == ["BTC_USDT", "USDTTMN", "ETH_TMN", "NOTRADES"]
    found = {row["symbol"]: row for row in answer["markets"]}
    for row in store.rows(
        "SELECT source, symbol, base, quote, last_price, toUnixTimestamp64Milli(last_trade_at),"
        " change_24h, high_24h, low_24h, volume_24h, quote_volume_24h, trades_24h, best_bid,"
        " best_ask, spread_bps, toUnixTimestamp64Micro(book_received_at) FROM markets"
    ):
        shown = found[row[1]]
        assert [shown[name] for name in ("source", "symbol", "base", "quote")] == list(row[:4])
        assert (shown["last_trade_at_s"] or 0) * 1000 == pytest.approx(row[5] or 0)
        assert (shown["book_at_s"] or 0) * 1e6 == pytest.approx(row[15] or 0)
        names = (
            *("last_price", "change_24h", "high_24h", "low_24h", "volume_24h"),
            *("quote_volume_24h", "trades_24h", "best_bid", "best_ask", "spread_bps"),
        )
        numbers = [row[n] for n in (4, 6, 7, 8, 9, 10, 11, 12, 13, 14)]
        assert [shown[name] for name in names] == [
            None if number is None else float(number) for number in numbers
        ]
    assert found["NOTRADES"]["last_price"] is None
    assert found["ETH_TMN"]["best_bid"] is None


@pytest.mark.parametrize("interval_s", [1, 60, 300, 900, 3600, 14400, 86400, 604800])
def test_candles_of_a_market_with_pauses_page_back_without_a_hole(
    own: httpx.Client, store: Store, interval_s: int
) -> None:
    chance = random.Random(interval_s)
    ages_s = [float(interval_s * n + 1) for n in range(40) if chance.random() < 0.4]
    ages_s += [interval_s * n + 2.5 for n in (200, 201, 390)]  # after long pauses
    ages_s = [age_s for age_s in ages_s if age_s < 80 * 86400] + [3.0]  # before it expires
    put_trades(store, ages_s)
    wanted = [
        [int(open_time.replace(tzinfo=UTC).timestamp()), *map(float, numbers), trades]
        for open_time, *numbers, trades in store.rows(
            "SELECT open_time, open, high, low, close, volume, quote_volume, vwap, trades FROM"
            f" candles(interval_s = {interval_s}, start = now() - 90 * 86400, end = now() + 60)"
            " WHERE symbol = 'USDTTMN' ORDER BY open_time"
        )
    ]
    names = ("time", "open", "high", "low", "close", "volume", "quote_volume", "vwap", "trades")
    found: list[list[Any]] = []
    asked: dict[str, Any] = {"symbol": "USDTTMN", "interval_s": interval_s, "count": 4}
    asked["time_zone"] = "UTC"  # the days of the view
    while page := get(own, "/api/candles", **asked)["candles"]:
        assert len(page) == 4 or len(page) + len(found) == len(wanted)
        found = [[candle[name] for name in names] for candle in page] + found
        asked["before_s"] = page[0]["time"]
    assert found == wanted


def test_daily_candles_begin_at_midnight_in_tehran_unless_utc_is_asked_for(
    own: httpx.Client, store: Store
) -> None:
    midnight_s = int(time.time() // 86400 - 3) * 86400  # of a day in UTC
    in_tehran_s = midnight_s - 12_600  # of the same date
    now_s = time.time()
    # 22:30 and 01:30 in Tehran: one day in UTC before midnight, two days there.
    put_trades(store, [now_s - in_tehran_s + 5400, now_s - in_tehran_s - 5400])
    asked = {"symbol": "USDTTMN", "interval_s": 86400}
    times = [each["time"] for each in get(own, "/api/candles", **asked)["candles"]]
    assert times == [in_tehran_s - 86400, in_tehran_s]
    utc = get(own, "/api/candles", **asked, time_zone="UTC")["candles"]
    assert [(each["time"], each["trades"]) for each in utc] == [(midnight_s - 86400, 2)]
    older = get(own, "/api/candles", **asked, before_s=times[1], count=1)["candles"]
    assert [each["time"] for each in older] == times[:1]
    rows = store.rows(
        "SELECT toUnixTimestamp(open_time), toString(day), trades FROM daily_candles("
        "time_zone = 'Asia/Tehran', start = now() - 5 * 86400, end = now()) ORDER BY open_time"
    )
    days = [datetime.fromtimestamp(at_s + 12_600, UTC).date().isoformat() for at_s in times]
    assert rows == [(at_s, day, 1) for at_s, day in zip(times, days, strict=True)]


def test_trades_are_the_newest_each_once_and_exact(own: httpx.Client, store: Store) -> None:
    store.command("SYSTEM STOP MERGES trades_master")
    ages_s = [float(n) for n in range(1, 40)]
    for delivery in range(30):  # as often as a page has trades
        put_trades(store, ages_s[:20], name=f"delivery {delivery}")
    put_trades(store, ages_s[20:])
    answer = get(own, "/api/trades", symbol="USDTTMN", count=25)
    rows = store.rows(
        "SELECT toString(trade_id), toUnixTimestamp64Milli(event_time) / 1000,"
        " toUnixTimestamp64Micro(received_at) / 1e6, toString(side), toString(price),"
        " toString(base_amount) FROM trades ORDER BY event_time DESC LIMIT 25"
    )
    assert [tuple(each.values()) for each in answer["trades"]] == rows
    assert list(answer["trades"][0]) == ["id", "at_s", "received_at_s", "side", "price", "amount"]
    assert answer["trades"][0]["price"] == "90001.25"
    assert len({each["id"] for each in answer["trades"]}) == 25
    assert len(get(own, "/api/trades", symbol="USDTTMN", count=100)["trades"]) == 39


def test_book_is_the_newest_or_that_of_a_time(own: httpx.Client, store: Store) -> None:
    put_book(store, age_s=60)
    lone = side(BookSide.BID, [98.0], NOW_US - 1_000_000, "LONETMN")
    newer = side(BookSide.BID, [99.75], NOW_US - 1_000_000)
    insert(store, DEPTH, [message_format.encode_depth(each) for each in (lone, newer)], "newer")
    book = get(own, "/api/book", symbol="USDTTMN")
    assert (book["bids"], book["asks"]) == ([[99.75, 1.0]], [[100.5, 1.0], [101.0, 2.0]])
    assert book["bid_at_s"] == pytest.approx(NOW_US / 1e6 - 1, abs=1e-5)
    before = get(own, "/api/book", symbol="USDTTMN", at_s=f"{NOW_US / 1e6 - 30:.6f}")
    assert before["bids"] == [[99.5, 1.0], [99.0, 2.0], [50.0, 3.0]]
    ((mid, spread_bps, imbalance),) = store.rows(
        "SELECT mid, spread_bps, imbalance FROM"
        f" book_depth_at(symbol = 'USDTTMN', at = fromUnixTimestamp({NOW_US // 1_000_000 - 30}),"
        " bps = 100)"
    )
    assert (before["mid"], before["spread_bps"]) == (mid, spread_bps)
    assert before["imbalance"] == pytest.approx(imbalance)
    assert before["spread"] == 1.0
    alone = get(own, "/api/book", symbol="LONETMN")
    assert alone["bids"] == [[98.0, 1.0]]
    assert [alone[name] for name in ("asks", "ask_at_s", "mid", "spread", "imbalance")] == [
        [], None, None, None, None,
    ]  # fmt: skip


def test_coverage_and_gaps_equal_the_command(own: httpx.Client, store: Store) -> None:
    noon = datetime.now(UTC).replace(hour=12) - timedelta(days=2)
    at_us = int(noon.timestamp() * 1e6)
    hour_us = 3_600_000_000
    watch = SessionReport(
        source="wallex", record_kind="trades", connection="0a", symbols=("A", "B"),
        began_at_us=at_us, ended_at_us=at_us + 3 * hour_us, end_reason="closed", interval_ms=0,
        received_at_us=at_us,
    )  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(watch)], "watch")
    gaps = [
        Gap(
            source="wallex", record_kind="trades", cause=GapCause.SILENT, symbols=symbols,
            began_at_us=at_us + hours * hour_us, ended_at_us=at_us + (hours + 1) * hour_us,
            repaired=symbols == ("A",), received_at_us=at_us,
        )
        for hours, symbols in ((3, ("A",)), (4, ("A", "B")))
    ]  # fmt: skip
    insert(store, GAPS, [message_format.encode_gap(each) for each in gaps], "gaps")
    hour_s = at_us // hour_us * 3_600
    ends_us = [(hour_s + seconds) * 1_000_000 for seconds in (0, 1_800, 2_700, 3_600)]
    states = ["verified", "repaired", "missing"]
    causes = ["", "silent", "not_recording"]
    numbers = ["numbers"] * 3
    proof = ProofRow(
        "wallex", "trades", "A", hour_s, ends_us[:-1], ends_us[1:], states, causes, numbers,
        [0, 0, 7],
    )  # fmt: skip
    save(store, [proof], at_us)
    answer = get(own, "/api/coverage", days=4)
    assert len(answer["days"]) == 4
    assert answer["days"][-1] == f"{datetime.now(UTC):%Y-%m-%d}"
    done = run_command("coverage", "--since", "3d", "--json", check=True)
    coverage = json.loads(done.stdout)
    told = {(row["symbol"], row["day"]): row for row in coverage["days"]}
    (proven,) = coverage["proofs"]
    assert [market["market"] for market in answer["markets"]] == ["A", "B"]
    for market in answer["markets"]:
        assert market["dataset"] == "trades"
        assert market["days"][0] is None  # nothing was watched before
        for day, shown in zip(answer["days"][1:-1], market["days"][1:-1], strict=True):
            for name, value in shown.items():
                if name.endswith("_level"):
                    continue  # the page's colour, which follows from a share
                if name in ("proof", "proven_share"):
                    assert (value is None) is ((market["market"], day) != ("A", proven["day"]))
                    continue
                assert told[market["market"], day][name] == value
    (shown,) = [day["proof"] for day in answer["markets"][0]["days"] if day and day["proof"]]
    assert shown == {name: proven[name] for name in shown}
    assert (shown["verified_s"], shown["own_s"], shown["missing"]) == (1_800, 900, 7)
    assert answer["summary"]["proof"] == shown
    assert answer["summary"]["proven_share"] == 0.75
    answer = get(own, "/api/gaps", days=4)
    assert answer["more"] is False
    downtime = [gap for gap in answer["gaps"] if gap["cause"] == "not_recording"]
    assert {symbol for gap in downtime for symbol in gap["markets"]} == {"A", "B"}
    recorded = [gap for gap in answer["gaps"] if gap not in downtime]
    assert [gap["markets"] for gap in recorded] == [["A", "B"], ["A"]]
    assert recorded[1] == {
        "dataset": "trades", "markets": ["A"], "cause": "silent", "repaired": True,
        "began_at_s": (at_us + 3 * hour_us) / 1e6, "ended_at_s": (at_us + 4 * hour_us) / 1e6,
    }  # fmt: skip
    of_b = get(own, "/api/gaps", days=4, symbol="B")["gaps"]
    assert {gap["cause"] for gap in of_b} == {"silent", "not_recording"}


def test_pipeline_and_its_history_tell_what_the_observer_finds(
    own: httpx.Client, store: Store
) -> None:
    put_trades(store, [1, 2, 3])
    about = get(own, "/api/about")
    assert (about["exchanges"], about["simulated"]) == (["wallex"], False)

    def tables() -> dict[str, int]:
        return {each["dataset"]: each["rows"] for each in get(own, "/api/pipeline")["tables"]}

    eventually(lambda: tables().get("trades") == 3, "what is stored is told")
    eventually(lambda: get(own, "/api/pipeline")["kafka_error"], "that Kafka is away is told")
    assert get(own, "/api/letters") == {"letters": []}
    history = get(own, "/api/pipeline/history", minutes=5)
    samples = len(history["at_s"])
    assert samples >= 1
    assert history["period_s"] == 5
    assert all(len(curve) == samples for curve in history["datasets"]["trades"].values())


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/candles", 400, "symbol is missing"),
        ("/api/candles?symbol=USDTTMN&interval_s=7", 400, "interval_s must be one of 1, 5, 15, 60"),
        (
            "/api/candles?symbol=USDTTMN&time_zone=Mars",
            400,
            "time_zone must be one of Asia/Tehran, UTC",
        ),
        ("/api/candles?symbol=USDTTMN&count=0", 400, "count must be from 1 to 2000"),
        ("/api/candles?symbol=USDTTMN&before_s=soon", 400, "before_s must be a Unix time"),
        ("/api/trades?symbol=USDTTMN&count=501", 400, "count must be from 1 to 500"),
        ("/api/book?symbol=USDTTMN&at_s=-1", 400, "at_s must be a Unix time"),
        ("/api/coverage?days=1000", 400, "days must be from 1 to 90"),
        ("/api/pipeline/history?minutes=x", 400, "minutes must be a whole number"),
        ("/api/live?page=nothing", 400, "page must be markets, market, pipeline or pulse"),
        ("/api/live?page=market&symbol=USDTTMN&interval_s=61", 400, "interval_s must be one of"),
        ("/api/live?page=market&symbol=NOTHING", 404, "no market 'NOTHING' is recorded"),
        ("/api/candles?symbol=NOTHING", 404, "no market 'NOTHING' is recorded"),
        ("/api/trades?symbol=NOTHING", 404, "no market 'NOTHING' is recorded"),
        ("/api/book?symbol=%27+OR+1", 404, "no market"),
        ("/api/else", 404, "/api/else: not found"),
        ("/../app.py", 404, "not found"),
    ],
)
def test_wrong_question_is_answered_with_one_line(
    client: httpx.Client, path: str, status: int, words: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_database_that_does_not_answer_is_said_so(store_settings: Settings) -> None:
    changes = {"clickhouse_port": free_port(), "clickhouse_host": "127.0.0.1"}
    with serving(store_settings.model_copy(update=changes)) as client:
        answer = client.get("/api/markets")
        assert answer.status_code == 503
        assert f"ClickHouse at 127.0.0.1:{changes['clickhouse_port']}" in answer.json()["error"]
        eventually(lambda: get(client, "/api/pipeline")["clickhouse_error"], "it is told")


def test_only_reading_is_allowed_and_pages_may_load_nothing_from_elsewhere(
    client: httpx.Client,
) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = client.request(method, "/api/markets")
        assert answer.status_code == 405
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    for path in ("/", "/login.html", "/api/about", "/api/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] in ("no-store", "no-cache")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8080", 200), ("127.8.9.1", 200),
        ("LOCALHOST", 200), ("evil.example", 403), ("localhost.evil.example", 403),
        ("10.0.0.7:8080", 403), ("0.0.0.0", 403), ("127.1", 403), ("2130706433", 403), ("[", 403),
        ("[::1", 403), ("localhost.", 403), ("user@localhost", 403), ("localhost:x", 403),
        ("localhost, evil.example", 403), ("*", 403), ("127.0.0.1.evil.example", 403),
        ("evil.example:8080", 403), ("radar.example", 403), ("[::ffff:10.0.0.1]", 403),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_answered(
    client: httpx.Client, host: str, status: int
) -> None:
    answer = client.get("/api/about", headers={"host": host})
    assert answer.status_code == status


def test_token_is_needed_everywhere_and_opens_everything(store_settings: Settings) -> None:
    settings = store_settings.model_copy(update={"dashboard_hosts": ("Radar.example",)})
    with serving(settings, knows=False) as client:
        for path in ("/api/about", "/api/live?page=markets", "/index.html", "/js/app.js"):
            answer = client.get(path)
            assert answer.status_code == 401
            assert answer.json()["error"] == "the token is missing or wrong"
        login = client.get("/")
        assert login.status_code == 401
        assert b'name="token"' in login.content
        assert client.get("/login.css").status_code == 200
        refused = client.get("/", params={"token": "wrong"})
        assert (refused.status_code, refused.headers["location"]) == (303, "/#wrong")
        assert "set-cookie" not in refused.headers
        wrong = {"authorization": "Bearer wrong"}
        assert client.get("/api/about", headers=wrong).status_code == 401
        # A reverse proxy passes on its own name.
        right = KNOWS | {"host": "radar.example"}
        assert client.get("/api/about", headers=right).status_code == 200

        welcome = client.get("/", params={"token": TOKEN})
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
        cookie = welcome.headers["set-cookie"]
        assert "httponly; max-age=2592000; path=/; samesite=strict" in cookie.lower()
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        assert client.get("/api/about").status_code == 200  # with the cookie
        secure = client.get("/", params={"token": TOKEN}, headers={"x-forwarded-proto": "https"})
        assert secure.headers["set-cookie"].endswith("; Secure")


def test_login_takes_the_token_from_a_form_and_from_its_own_page_only(
    store_settings: Settings,
) -> None:
    with serving(store_settings, knows=False) as client:
        host = client.base_url.netloc.decode()
        for token in ("", "wrong", TOKEN[:-1], "\udcff", "x" * 5000):
            data = {"token": token.encode("utf-8", "surrogateescape")}
            refused = client.post("/login", data=data)
            assert (refused.status_code, refused.headers["location"]) == (303, "/#wrong")
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"},
                        {"sec-fetch-site": "same-site"}):  # fmt: skip
            refused = client.post("/login", data={"token": TOKEN}, headers=headers)
            assert refused.status_code == 403
            assert "set-cookie" not in refused.headers
        assert client.post("/login", content=b"x" * 9000).status_code == 413
        assert client.get("/api/about").status_code == 401
        for origin in ("null", f"http://{host}"):
            own = {"origin": origin, "sec-fetch-site": "same-origin"}
            welcome = client.post("/login", data={"token": TOKEN}, headers=own)
            assert welcome.headers["location"] == "/"
            client.cookies.clear()
        welcome = client.post("/login", data={"token": TOKEN}, headers=own)
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
        assert "; Secure" not in welcome.headers["set-cookie"]
        assert client.get("/api/about").status_code == 200
        assert client.get("/login.js").status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
def test_other_pages_get_no_answer_but_may_link_here(client: httpx.Client, site: str) -> None:
    other = {"sec-fetch-site": site}
    for path in ("/api/markets", "/api/live?page=markets", "/js/main.js"):
        assert client.get(path, headers=other).status_code == 403
        frame = other | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
        assert client.get(path, headers=frame).status_code == 403
    link = other | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    for own in ("same-origin", "none"):
        assert client.get("/api/about", headers={"sec-fetch-site": own}).status_code == 200


def test_client_is_believed_to_be_another_only_of_a_proxy(client: httpx.Client) -> None:
    said = {"x-forwarded-proto": "https"}
    answer = client.get("/", params={"token": TOKEN}, headers=said)
    assert "; Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize("host", ["Host: a\r\nHost: localhost", "X: y"])
def test_request_without_exactly_one_host_is_refused(client: httpx.Client, host: str) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port), 10) as raw:
        raw.sendall(
            f"GET /api/about HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert raw.recv(4096).split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    "path",
    [
        "/api/candles?symbol=USDTTMN&interval_s=", "/api/candles?symbol=USDTTMN&count=",
        "/api/candles?symbol=USDTTMN&before_s=", "/api/book?symbol=USDTTMN&at_s=",
        "/api/trades?symbol=USDTTMN&count=", "/api/coverage?days=", "/api/gaps?days=",
        "/api/pipeline/history?minutes=", "/api/live?page=",
        "/api/live?page=market&symbol=USDTTMN&interval_s=",
    ],
)  # fmt: skip
def test_wrong_number_is_answered_with_one_line_and_never_with_sql(
    own: httpx.Client, store: Store, path: str
) -> None:
    put_trades(store, [5])
    put_book(store)
    for text in ("-1", "1e9", "0", "1", "4102444799", "4102444801", "999999999", "99999999999",
                 "9999999999", "%D9%A1", "nan", "inf", "1;2", "' OR 1", "9" * 5000, "0x10", "1.0",
                 "1.123456789", "%00", "+1", "1_0", "%EF%BC%91"):  # fmt: skip
        with own.stream("GET", path + text) as answer:
            assert answer.status_code in (200, 400), (text, answer.read())
            if answer.status_code == 400:
                error = json.loads(answer.read())["error"]
                assert len(error) < 200
                assert "SELECT" not in error


@pytest.mark.parametrize("symbol", ["\0", "\n", "\x1b[2J", "\u202e", "\x9b", "x" * 101, "\u200b"])
def test_symbol_that_cannot_be_seen_is_refused(client: httpx.Client, symbol: str) -> None:
    for path in ("/api/trades", "/api/book", "/api/candles", "/api/gaps", "/api/live?page=market"):
        answer = client.get(path, params={"page": "market", "symbol": symbol})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("symbol must be at most 100 characters")


def test_question_that_clickhouse_refuses_is_told_without_sql(
    own: httpx.Client, store: Store
) -> None:
    store.command("DROP VIEW markets")
    answer = own.get("/api/markets")
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error.startswith("ClickHouse refuses the query about markets: the dashboard's log")
    with looking(own, "page=markets") as viewer:
        assert viewer.until("problem")[0]["text"] == error


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /?a=",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_endless_head_of_an_unadmitted_client_is_cut_at_once(
    client: httpx.Client, begin: bytes
) -> None:
    assert sent_bytes(_address(client), begin, b"a" * MIB, 64) < 16 * MIB
    began_s = time.monotonic()
    assert client.get("/login.html").is_success
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    ("request_", "most_s"),
    [
        (b"", BOUNDS.head_timeout_s),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a", BOUNDS.head_timeout_s),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nab", 1),
        (b"GET / HTTP/1.1\r\nHost: evil\r\nContent-Length: 100\r\n\r\nab", 1),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nab", 10),
    ],
)
def test_unfinished_request_of_an_unadmitted_client_ends(
    client: httpx.Client, request_: bytes, most_s: float
) -> None:
    assert open_s(_address(client), request_, after=b"c", timeout_s=20) < most_s + 4


def test_unadmitted_connections_keep_no_viewer_away(client: httpx.Client) -> None:
    with looking(client, "page=pipeline") as viewer, ExitStack() as opened:
        viewer.until("pipeline")
        for _ in range(2 * BOUNDS.unadmitted):
            idle = opened.enter_context(socket.create_connection(_address(client), 10))
            idle.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert client.get("/api/about").is_success
        assert not viewer.ended.is_set()


def _address(client: httpx.Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port or 0
