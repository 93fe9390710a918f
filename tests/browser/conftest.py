"""A real browser, and real dashboards to look at."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from browser.recorded import insert_days
from dashboards import KNOWS, TOKEN
from ports import free_port
from radar.settings import load
from radar.store.client import Store
from radar.store.migrate import migrate
from support import Process, eventually, radar

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
TIMEOUT_MS = 40_000  # the machine may be busy

Look = Callable[..., Page]


class Dashboard:
    """A dashboard as a process of its own, which can be ended and started at the same address."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = directory / "dashboard.log"
        self._environment = {
            "RADAR_DATA_DIR": str(directory / "data"),
            "DASHBOARD_TOKEN": TOKEN,
            **environment,
        }
        self._process: Process | None = None

    def start(self) -> None:
        port = str(urlsplit(self.url).port)
        self._process = Process(
            radar("dashboard", "--port", port), self._log, **self._environment, METRICS_PORT="0"
        )
        eventually(self.answers, "the dashboard answers", 60, 0.1)

    def answers(self) -> bool:
        try:
            httpx.get(f"{self.url}/api/about", trust_env=False)
        except httpx.TransportError:
            return False
        return True

    def end(self) -> None:
        if self._process is not None:
            self._process.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Debian's Chromium for this module: its library runs a loop in this thread meanwhile."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def recorded(
    browser: Browser, clickhouse_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Provide a database with some days of three markets. Tests may add to it."""
    store = Store(load(clickhouse_port=clickhouse_port, clickhouse_db="t_browser"))
    migrate(store, 90)
    insert_days(store)
    yield store
    store.command(f"DROP DATABASE IF EXISTS {store.database}")
    store.close()


@pytest.fixture(scope="module")
def dashboard(
    recorded: Store, clickhouse_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    """Serve that database; there is no pipeline."""
    found = Dashboard(
        tmp_path_factory.mktemp("dashboard"),
        CLICKHOUSE_PORT=str(clickhouse_port),
        CLICKHOUSE_DB=recorded.database,
        KAFKA_BROKER=f"127.0.0.1:{free_port()}",
    )
    try:
        found.start()
        yield found
    finally:
        found.end()


@pytest.fixture(scope="module")
def pipeline(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a whole pipeline against the simulated exchange; provide its dashboard's address."""
    directory = tmp_path_factory.mktemp("pipeline")
    dashboard_port = free_port()
    process = Process(
        radar("up", "--simulate", "--markets", "6"),
        directory / "up.log",
        RADAR_DATA_DIR=str(directory / "data"),
        KAFKA_BROKER=f"127.0.0.1:{free_port()}",
        CLICKHOUSE_PORT=str(free_port()),
        DASHBOARD_PORT=str(dashboard_port),
        DASHBOARD_TOKEN=TOKEN,
        DEPTH_INTERVAL_SECONDS="1",
    )
    url = f"http://127.0.0.1:{dashboard_port}"

    def stores() -> bool:
        try:
            overview = httpx.get(
                f"{url}/api/pipeline", headers=KNOWS, trust_env=False, timeout=10
            ).json()
        except (httpx.TransportError, json.JSONDecodeError):
            return False
        rows = {each["dataset"]: each["rows"] for each in overview.get("tables", [])}
        return bool(rows.get("trades") and rows.get("depth"))

    try:
        eventually(stores, "the pipeline stores", 120, 0.3)
        yield url
    finally:
        process.end()


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Return what opens a page; none may complain, or ask anything of another host.

    The browser knows the token, unless `knows` is false. `may_complain` is for a test that takes
    away what the page talks to.
    """
    contexts = []
    complaints: list[str] = []
    elsewhere: list[str] = []

    def open_page(
        url: str,
        place: str = "#/",
        *,
        lang: str = "",
        theme: str = "light",
        width: int = 1440,
        height: int = 900,
        locale: str = "en-US",
        may_complain: bool = False,
        knows: bool = True,
        **options: object,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            locale=locale,
            color_scheme="dark" if theme == "dark" else "light",
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        if knows:
            # A cookie: the shared worker of the pages sends no other header.
            context.request.get(f"{url}/", params={"token": TOKEN})
        if lang:
            context.add_init_script(
                "if (!localStorage.getItem('radar.lang'))"
                f" localStorage.setItem('radar.lang', '{lang}')"
            )
        page = context.new_page()
        origin = urlsplit(url).netloc
        page.on(
            "request",
            lambda request: (
                elsewhere.append(request.url) if urlsplit(request.url).netloc != origin else None
            ),
        )
        if not may_complain:
            page.on(
                "console",
                lambda message: (
                    complaints.append(message.text)
                    if message.type in {"error", "warning"}
                    else None
                ),
            )
        page.on("pageerror", lambda error: complaints.append(error.stack or str(error)))
        page.goto(f"{url}/{place}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert elsewhere == []
