"""What the dashboard's streams tell, to how many, and how they end."""

import os
import pty
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from prometheus_client import REGISTRY

from dashboards import KNOWS, TOKEN, Viewer, looking, now_us, serving
from embedded_clickhouse import running
from market_data import insert, side, trade
from ports import free_port
from radar.codec import message_format
from radar.datasets import DEPTH, TRADES
from radar.records import BookSide
from radar.settings import Settings, load
from radar.store.client import Store
from radar.store.migrate import migrate
from radar.ui.web import live
from radar.ui.web.app import MAX_FOLLOWED
from radar.ui.web.page_subjects import TAPE
from support import Process, eventually, radar

NOW_US = now_us()
MARKET = "page=market&symbol=USDTTMN&interval_s=86400"


@pytest.fixture
def client(store: Store, store_settings: Settings) -> Iterator[httpx.Client]:
    with serving(store_settings) as client:
        yield client


def message(number: int, age_s: float = 0, symbol: str = "USDTTMN", late_us: int = 0) -> bytes:
    """Return a trade of a number, which was received `late_us` later than usual."""
    at_us = NOW_US - int(age_s * 1e6)
    made = trade(at_us // 1000, at_us + number + late_us, f"{1000 + number}", symbol)
    return message_format.encode_trade(made, f"{number:032x}")


def put(store: Store, *numbers: int, age_s: float = 0, symbol: str = "USDTTMN") -> None:
    values = [message(number, age_s, symbol) for number in numbers]
    insert(store, TRADES, values, f"{symbol} {numbers} {age_s}")


def book(store: Store, price: float, age_s: float = 0) -> None:
    made = side(BookSide.BID, [price], NOW_US - int(age_s * 1e6))
    insert(store, DEPTH, [message_format.encode_depth(made)], f"book {price}")


def shown(viewer: Viewer) -> list[str]:
    """Return the prices on a viewer's tape, the newest first; fails if a trade came twice."""
    tape: dict[str, Any] = {}
    for event in viewer.told("trades"):
        if event["full"]:
            tape = {}
        for each in event["trades"]:
            assert each["id"] not in tape
            tape[each["id"]] = each
    newest = sorted(
        tape.values(), key=lambda each: (each["at_s"], each["received_at_s"], each["id"])
    )
    return [each["price"] for each in reversed(newest)][:TAPE]


def asked(question: str) -> int:
    """Return how often ClickHouse was asked something by this process."""
    name = "radar_dashboard_question_seconds_count"
    return int(REGISTRY.get_sample_value(name, {"question": question}) or 0)


def test_market_page_is_told_everything_at_once_and_then_what_changes(
    client: httpx.Client, store: Store
) -> None:
    put(store, 1, 2, age_s=60)
    book(store, 99.5, age_s=60)
    with looking(client, MARKET) as viewer:
        assert [each["price"] for each in viewer.until("trades")[0]["trades"]] == ["1002", "1001"]
        assert viewer.until("book")[0]["bids"] == [[99.5, 1.0]]
        (candle,) = viewer.until("candles")[0]["candles"][-1:]
        assert candle["close"] == 1002
        assert viewer.until("market")[0]["last_price"] == 1002
        put(store, 3)
        book(store, 99.75)
        told = viewer.until("trades", 2)[1]
        assert (told["full"], [each["price"] for each in told["trades"]]) == (False, ["1003"])
        assert viewer.until("book", 2)[1]["bids"] == [[99.75, 1.0]]
        assert viewer.until("candles", 2)[1]["candles"][-1]["close"] == 1003
        assert viewer.until("market", 2)[1]["last_price"] == 1003
        viewer.until("alive")
        assert len(viewer.told("book")) == 2, "what does not change is not told again"


@pytest.mark.fault(
    "Trade that is stored late",
    report="the open page gets the candle of its time",
    place="page of the market, `/api/live` (`candles`)",
    within_s=10,
)
def test_late_trade_changes_its_candle_on_an_open_page_however_old_it_is(
    client: httpx.Client, store: Store, within_s: float
) -> None:
    # More trades than the tape holds came since; one candle exists already and the other does not.
    put(store, *range(10, 10 + 2 * TAPE), age_s=5)
    put(store, 1, age_s=600)
    ages_s = (600.0, 20 * 86400.0)
    with looking(client, "page=market&symbol=USDTTMN&interval_s=60") as viewer:
        viewer.until("candles")
        for number, age_s in enumerate(ages_s):
            put(store, 5000 + number, age_s=age_s)
        late = {int(NOW_US / 1e6 - age_s) // 60 * 60 for age_s in ages_s}

        def told() -> dict[int, Any]:
            candles = [each for event in viewer.told("candles") for each in event["candles"]]
            return {each["time"]: each for each in candles if each["time"] in late}

        eventually(lambda: set(told()) == late, "both candles come", within_s)
        assert sorted(each["trades"] for each in told().values()) == [1, 2]
        with looking(client, "page=market&symbol=USDTTMN&interval_s=60") as other:
            whole = other.until("candles")[0]["candles"]
            assert late < {each["time"] for each in whole}, "also who comes later is told"


def test_list_of_markets_is_told_what_changed_and_a_new_viewer_everything(
    client: httpx.Client, store: Store
) -> None:
    put(store, 1, age_s=60)
    put(store, 2, symbol="BTC_TMN", age_s=60)
    with looking(client, "page=markets") as viewer:
        first = viewer.until("markets")[0]
        assert first["full"]
        assert {row["symbol"] for row in first["markets"]} == {"USDTTMN", "BTC_TMN"}
        put(store, 3, symbol="BTC_TMN")
        second = viewer.until("markets", 2)[1]
        assert (second["full"], [row["symbol"] for row in second["markets"]]) == (
            False,
            ["BTC_TMN"],
        )
        with looking(client, "page=markets") as other:
            told = other.until("markets")[0]
            assert told["full"]
            assert {row["symbol"]: row["last_price"] for row in told["markets"]} == {
                "USDTTMN": 1001,
                "BTC_TMN": 1003,
            }
        assert len(viewer.told("markets")) == 2


def test_trades_that_become_visible_late_and_out_of_order_are_told_once(
    client: httpx.Client, store: Store
) -> None:
    store.command("SYSTEM STOP MERGES trades_master")
    put(store, 0, age_s=500)
    chance = random.Random(1)
    numbers = list(range(1, 121))
    # Workers insert what they have in any order, some of it again; times are those of the trades.
    chance.shuffle(numbers)
    with looking(client, MARKET) as viewer:
        viewer.until("trades")
        for n in range(0, len(numbers), 12):
            some = numbers[n : n + 12]
            again = chance.sample(numbers[: n + 1], min(n, 5))
            values = [message(number, 400 - number) for number in some]
            # The same trade that another connection brought, received before or after.
            values += [
                message(number, 400 - number, late_us=chance.choice((-90, 90))) for number in again
            ]
            insert(store, TRADES, values, f"block {n}")
            time.sleep(chance.random())
        wanted = [f"{1000 + number}" for number in range(120, -1, -1)]
        eventually(lambda: shown(viewer) == wanted, "all are told")
        # One that is older than everything.
        put(store, 500, age_s=3000)
        eventually(lambda: shown(viewer) == [*wanted, "1500"], "the late one is told")
        rows = store.rows(
            "SELECT toString(price) FROM trades ORDER BY event_time DESC, received_at DESC"
        )
        assert shown(viewer) == [price for (price,) in rows]


def test_more_trades_than_the_tape_holds_leave_the_newest(
    client: httpx.Client, store: Store
) -> None:
    put(store, 0, age_s=500)
    with looking(client, MARKET) as viewer:
        viewer.until("trades")
        put(store, *range(1, 3 * TAPE))
        wanted = [f"{1000 + number}" for number in range(3 * TAPE - 1, 2 * TAPE - 1, -1)]
        eventually(lambda: shown(viewer) == wanted, "the newest are told")
        put(store, 3 * TAPE)
        eventually(lambda: shown(viewer)[0] == f"{1000 + 3 * TAPE}", "and the next one")
        assert len(viewer.told("trades")[-1]["trades"]) == 1


def test_many_viewers_are_one_question_and_none_is_asked_when_nobody_looks(
    client: httpx.Client, store: Store
) -> None:
    put(store, 1)
    with ExitStack() as stack:
        first = stack.enter_context(looking(client, MARKET))
        first.until("trades")
        viewers = [stack.enter_context(looking(client, MARKET)) for _ in range(24)]
        for viewer in viewers:
            assert viewer.until("trades")[0]["full"]
        before = asked("trades")
        began_s = time.monotonic()
        eventually(lambda: asked("trades") >= before + 2, "it is asked again and again")
        again = asked("trades") - before
        assert again <= int(time.monotonic() - began_s) + 2
        put(store, 2)
        for viewer in viewers:
            viewer.until("trades", 2)
    eventually(lambda: viewers_seen() == 0, "nobody looks")
    before = asked("trades")
    with looking(client, "page=pipeline") as viewer:
        viewer.until("pipeline", 3)
    assert asked("trades") <= before + 1  # one may have been under way


def test_one_stream_follows_the_pages_of_several_tabs(client: httpx.Client, store: Store) -> None:
    put(store, 1)
    put(store, 2, symbol="BTC_TMN")
    pages = [MARKET, "page=market&symbol=BTC_TMN", "page=market&symbol=NOTTHERE", "page=nothing"]
    query = "&".join(f"follow={quote(each, safe='')}" for each in pages)
    with looking(client, query) as viewer:
        viewer.until("trades", 2)
        viewer.until("pulse")
        assert [refused["text"] for refused in viewer.until("refused", 2)] == [
            "no market 'NOTTHERE' is recorded: use one of BTC_TMN, USDTTMN",
            "page must be markets, market, pipeline or pulse",
        ]
        ids: dict[str, set[str]] = {}
        for name, event_id in viewer.ids.copy():
            ids.setdefault(name, set()).add(event_id)
        assert ids["trades"] == {"0", "1"}
        assert ids["refused"] == {"2", "3"}
        assert ids["pulse"] == {"0,1"}, "what several pages show is asked and told once"
    answer = client.get(f"/api/live?{'&'.join(['follow=page%3Dpulse'] * (MAX_FOLLOWED + 1))}")
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        f"one stream follows at most {MAX_FOLLOWED} pages",
    )


def viewers_seen() -> int:
    return int(REGISTRY.get_sample_value("radar_dashboard_viewers") or 0)


def test_viewer_that_reads_nothing_holds_up_nobody(client: httpx.Client, store: Store) -> None:
    put(store, 1)
    host, port = client.base_url.host, client.base_url.port
    with ExitStack() as stack:
        for _ in range(5):
            stuck = socket.socket()
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stack.callback(stuck.close)
            stuck.connect((host, port))
            stuck.sendall(
                f"GET /api/live?{MARKET} HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
        eventually(lambda: viewers_seen() == 5, "they look")
        with looking(client, MARKET) as viewer:
            viewer.until("trades")
            for number in range(2, 6):
                put(store, *range(number * 200, number * 200 + 200))
                viewer.until("trades", number)
    eventually(lambda: viewers_seen() == 0, "they are forgotten")


def test_database_that_goes_and_comes_is_told_and_the_whole_follows(tmp_path: Path) -> None:
    path = tmp_path / "clickhouse"
    port = free_port()
    settings = load(clickhouse_port=port)
    with ExitStack() as stack:
        first = stack.enter_context(running(path, "--port", str(port)))
        store = Store(settings)
        migrate(store, 90)
        put(store, 1)
        client = stack.enter_context(serving(settings))
        viewer = stack.enter_context(looking(client, "page=markets"))
        viewer.until("markets")
        first.end()
        (problem,) = viewer.until("problem")[:1]
        assert "ClickHouse at 127.0.0.1" in problem["text"]
        stack.enter_context(running(path, "--port", str(port)))
        assert viewer.until("markets", 2)[1]["full"]
        store.close()


def test_pipeline_page_is_told_every_second_what_the_observer_finds(client: httpx.Client) -> None:
    with looking(client, "page=pipeline") as viewer:
        told = viewer.until("pipeline", 3)
        assert told[0]["at_s"] < told[1]["at_s"] < told[2]["at_s"]
        assert told[0]["clickhouse"].endswith(client.get("/api/about").json()["clickhouse"])


def test_one_client_cannot_take_all_streams(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_VIEWERS", 4)
    monkeypatch.setattr(live, "MAX_VIEWERS_OF_A_CLIENT", 3)
    port = client.base_url.port

    def asked_from(address: str) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=address)
        return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=KNOWS, transport=transport)

    query = "page=pipeline"
    with ExitStack() as stack:
        viewers = [stack.enter_context(looking(client, query)) for _ in range(3)]
        eventually(lambda: all(viewer.status == 200 for viewer in viewers), "they look")
        refused = client.get(f"/api/live?{query}")
        assert refused.status_code == 429
        assert "has 3 pages open" in refused.json()["error"]
        # Nobody is another client by saying so.
        said = {"x-forwarded-for": "192.0.2.7"}
        assert client.get(f"/api/live?{query}", headers=said).status_code == 429
        other = stack.enter_context(asked_from("127.0.0.2"))
        looks = stack.enter_context(other.stream("GET", f"/api/live?{query}"))
        assert looks.status_code == 200
        with asked_from("127.0.0.3") as third:
            answer = third.get(f"/api/live?{query}")
            assert answer.status_code == 429
            assert "4 pages are open" in answer.json()["error"]
        viewers[0].leave()
        eventually(lambda: viewers_seen() == 3, "one has left")
        assert stack.enter_context(looking(client, query)).until("pipeline")
    eventually(lambda: viewers_seen() == 0, "nobody looks")


@pytest.fixture
def start(tmp_path: Path, store: Store) -> Iterator[Callable[..., Process]]:
    """Start `radar dashboard`; it is ended with the test."""
    processes: list[Process] = []

    def run(*arguments: str, **environment: str) -> Process:
        log = tmp_path / f"dashboard-{len(processes)}.log"
        environment = {"DASHBOARD_TOKEN": TOKEN} | environment
        processes.append(Process(radar("dashboard", *arguments), log, **environment))
        return processes[-1]

    yield run
    for process in processes:
        process.end()


def url_of(process: Process) -> str:
    def lines() -> list[str]:
        return [line for line in process.log.read_text().splitlines() if "http://" in line]

    eventually(lambda: bool(lines()), "it serves")
    return lines()[0].removeprefix("dashboard: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_health_and_ends_its_streams_when_it_is_ended(
    start: Callable[..., Process], store: Store, number: signal.Signals
) -> None:
    put(store, 1)
    port = free_port()
    process = start("--port", "0", METRICS_PORT=str(port), KAFKA_BROKER=f"127.0.0.1:{free_port()}")
    with httpx.Client(
        base_url=url_of(process), headers=KNOWS, trust_env=False, timeout=30
    ) as client:
        health = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{health}/readyz").status_code == 200, "it is ready")
        with looking(client, MARKET) as viewer, looking(client, "page=pipeline") as other:
            viewer.until("trades")
            other.until("pipeline")
            assert "radar_dashboard_viewers 2.0" in httpx.get(f"{health}/metrics").text
            process.send(number)
            assert process.wait() == 0
            assert viewer.ended.wait(30)
            assert other.ended.wait(30)
    assert process.log.read_text().splitlines() == [
        f"dashboard: {str(client.base_url).rstrip('/')}"
    ]


def test_command_creates_a_token_that_only_its_user_can_read(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    environment = {"RADAR_DATA_DIR": str(tmp_path / "data"), "DASHBOARD_TOKEN": ""}
    urls = [url_of(start("--port", "0", **environment)) for _ in range(2)]
    path = tmp_path / "data" / "dashboard.token"
    token = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 32
    for url in urls:
        assert httpx.get(f"{url}/api/about").status_code == 401
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/api/about", headers=headers).status_code == 200
    # What is no terminal may be a log.
    for log in tmp_path.glob("*.log"):
        assert token not in log.read_text()


def test_command_shows_the_token_to_a_terminal_only(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    environment = os.environ | {"RADAR_DATA_DIR": str(tmp_path), "DASHBOARD_TOKEN": ""}
    process = subprocess.Popen(
        radar("dashboard", "--port", "0"), stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    shown = b""
    try:
        while b"\n" not in shown:
            shown += os.read(master, 1000)
        token = (tmp_path / "dashboard.token").read_text().strip()
        found = re.fullmatch(rb"dashboard: (http://127.0.0.1:\d+)/#token=(.*)\r\n", shown)
        assert found is not None, shown
        assert found[2].decode() == token
        assert httpx.get(found[1].decode(), trust_env=False).status_code == 401
    finally:
        process.terminate()
        process.wait(20)
        os.close(master)


def test_command_refuses_a_token_that_others_may_read(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    (tmp_path / "dashboard.token").write_text("x" * 32)
    (tmp_path / "dashboard.token").chmod(0o644)
    process = start("--port", "0", RADAR_DATA_DIR=str(tmp_path), DASHBOARD_TOKEN="")
    assert process.wait() == 2
    (line,) = process.log.read_text().splitlines()
    assert "dashboard.token" in line
    assert "chmod 600" in line


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"DASHBOARD_HOST": "0.0.0.0", "DASHBOARD_TOKEN": ""},
            "DASHBOARD_HOST=0.0.0.0 is reached from other",
        ),
        ({"DASHBOARD_TOKEN": "short"}, "DASHBOARD_TOKEN is a secret: it is too short"),
        (
            {"DASHBOARD_HOST": "192.0.2.1", "DASHBOARD_TOKEN": "x" * 16},
            "cannot serve the dashboard",
        ),
    ],
)
def test_command_refuses_an_address_in_one_line(
    start: Callable[..., Process], environment: dict[str, str], words: str
) -> None:
    process = start(**environment)
    assert process.wait() == 2
    (line,) = process.log.read_text().splitlines()
    assert words in line


def test_command_whose_port_is_taken_says_so(start: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        assert process.wait() == 2
    assert f"DASHBOARD_PORT={port}: Address already in use" in process.log.read_text()
