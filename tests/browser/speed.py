"""Measure how soon the pages show something: `python -m browser.speed [--trades 10000000]`.

Fills a database with made-up trades of a month and books of hours, serves its dashboard, and opens
the pages in a new browser each time. Prints medians: first paint and content of each page, a
jump to a moment in the past until all of it is drawn, and the frames a second while the past plays.

A machine that is busy with other things delays all of it; the CPU time of browser, dashboard and
database together is then the better measure.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.cpu import cpu_seconds, with_children
from benchmarks.generated import insert_snapshots, insert_trades
from browser.stack import chromium_arguments
from dashboards import KNOWS, TOKEN
from ports import free_port
from radar.addresses import answers
from radar.settings import load
from radar.store.client import Store
from radar.store.migrate import migrate
from support import Process, eventually, radar

MARKET = "#/market/M0USDT"  # the busiest
PAGES = {  # and what its content is
    "markets": ("#/", "table.markets tbody tr[data-symbol]"),
    "market": (f"{MARKET}?interval=60", ".ladder tr.bid"),
    "market with the heat map": (f"{MARKET}?interval=60&show=heat", ".book-swatch"),
    "pipeline": ("#/pipeline", "main .card"),
    "quality": ("#/quality", ".tiles .tile"),
}
SNAPSHOT_EVERY_S = 7.0
HOURS_BACK = (0.5, 1.0, 2.0, 24.0, 100.0, 500.0)  # of the jumps
PLAY_S = 20
TIMEOUT_MS = 60_000
WATCH = """
window.contentAt = null;
const look = () => {
  if (document.querySelector(SELECTOR)) window.contentAt = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
# Until the book, the trades and the candles of a moment are there.
JUMP = """(hash) => new Promise((done, fail) => {
  const legend = () => document.querySelector('.legend bdi')?.textContent;
  const [before, began] = [legend(), performance.now()];
  location.hash = hash;
  const look = () => {
    const there = location.hash === hash && document.querySelector('.past-time')
      && document.querySelector('.ladder tr.bid, .ladder .state:not(:has(.spinner))')
      && document.querySelector('.tape tbody tr') && legend() && legend() !== before;
    if (there) requestAnimationFrame(() => done(performance.now() - began));
    else if (performance.now() - began > 30000) {
      fail(new Error(document.querySelector("main").innerText));
    }
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
FRAMES = """(ms) => new Promise((done) => {
  const times = [];
  const look = (now) => {
    times.push(now);
    if (now - times[0] < ms) requestAnimationFrame(look);
    else done(times);
  };
  requestAnimationFrame(look);
})"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--snapshots", type=int, default=400_000)
    parser.add_argument("--markets", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with _serving(options.trades, options.snapshots, options.markets) as url:
        _say(f"{options.trades:,} trades, {options.markets} markets; load {_load()}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=chromium_arguments()
            )
            for name, (place, content) in PAGES.items():
                rounds = [_open(browser, url, place, content) for _ in range(options.rounds)]
                paints, contents, cpu = zip(*rounds, strict=True)
                _say(
                    f"{name}: first paint {_median(paints)} ms, content {_median(contents)} ms,"
                    f" CPU {_median(cpu)} ms"
                )
            page = _page(browser, url)
            page.goto(f"{url}/{MARKET}?interval=60")
            page.locator(".ladder tr.bid").first.wait_for()
            for hours in HOURS_BACK:
                jumps, cpu = zip(
                    *(_jump(page, hours + n / 60) for n in range(options.rounds)), strict=True
                )
                _say(f"jump {hours:g} h back: {_median(jumps)} ms, CPU {_median(cpu)} ms")
            for show in ("", "&show=heat"):
                _say(_play(page, url, show))
            browser.close()
        _say(f"load {_load()}")


def _open(browser: Browser, url: str, place: str, content: str) -> tuple[float, float, float]:
    """Return when a page paints first and when its content is there, and the CPU time, in ms."""
    page = _page(browser, url)
    before_ms = _cpu_ms()
    page.add_init_script(WATCH.replace("SELECTOR", repr(content)))
    page.goto(f"{url}/{place}")
    page.wait_for_function("() => window.contentAt !== null")
    paint_ms = page.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? window.contentAt"
    )
    content_ms = page.evaluate("window.contentAt")
    cpu_ms = _cpu_ms() - before_ms
    page.context.close()
    return float(paint_ms), float(content_ms), cpu_ms


def _jump(page: Page, hours: float) -> tuple[float, float]:
    """Return the time and the CPU time until a moment is drawn, in ms."""
    before_ms = _cpu_ms()
    at = datetime.fromtimestamp(time.time() - hours * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown_ms = float(page.evaluate(JUMP, f"{MARKET}?interval=60&at={at}"))
    return shown_ms, _cpu_ms() - before_ms


def _cpu_ms() -> float:
    """Return the CPU time of this program's processes: browser, dashboard and database."""
    return sum(map(cpu_seconds, with_children(os.getpid()))) * 1000


def _play(page: Page, url: str, show: str) -> str:
    at = datetime.fromtimestamp(time.time() - 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    page.goto(f"{url}/{MARKET}?interval=60&at={at}{show}")
    page.get_by_label("Speed").select_option("10")
    page.locator(".ladder tr.bid").first.wait_for()
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(2000)
    begun = page.evaluate("location.hash")
    times = page.evaluate(FRAMES, PLAY_S * 1000)
    moved = page.evaluate("location.hash") != begun
    apart = sorted(after - before for before, after in pairwise(times))
    rate = len(apart) / (times[-1] - times[0]) * 1000
    return (
        f"play at 10x{show and ' with the heat map'}: {rate:.0f} frames a second, 99 % within"
        f" {apart[int(len(apart) * 0.99)]:.0f} ms, longest {apart[-1]:.0f} ms"
        f"{'' if moved else '; IT DID NOT MOVE'}"
    )


@contextmanager
def _serving(trades: int, snapshots: int, markets: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        port = free_port()
        clickhouse = Process(
            [
                *(sys.executable, "-m", "radar.local.clickhouse", "--no-password"),
                *("--path", str(directory / "clickhouse"), "--port", str(port)),
            ],
            directory / "clickhouse.log",
        )
        dashboard = None
        try:
            eventually(lambda: answers("127.0.0.1", port), "ClickHouse answers", 60)
            settings = load(clickhouse_port=port)
            store = Store(settings, timeout_s=3600)
            migrate(store, settings.retention_days)
            insert_trades(store, trades, markets)
            insert_snapshots(store, snapshots, markets, SNAPSHOT_EVERY_S)
            store.close()
            url = f"http://127.0.0.1:{free_port()}"
            dashboard = Process(
                radar("dashboard", "--port", str(urlsplit(url).port)),
                directory / "dashboard.log",
                RADAR_DATA_DIR=str(directory / "data"),
                DASHBOARD_TOKEN=TOKEN,
                CLICKHOUSE_PORT=str(port),
                KAFKA_BROKER=f"127.0.0.1:{free_port()}",
                METRICS_PORT="0",
            )
            eventually(lambda: _answers(url), "the dashboard answers", 60)
            yield url
        finally:
            if dashboard is not None:
                dashboard.end()
            clickhouse.end()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/about", headers=KNOWS, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _page(browser: Browser, url: str) -> Page:
    """Open a page of a new browser profile that knows the token."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    context.set_default_timeout(TIMEOUT_MS)
    context.request.get(f"{url}/", params={"token": TOKEN})
    return context.new_page()


def _median(values: tuple[float, ...] | list[float]) -> str:
    return f"{statistics.median(values):.0f}"


def _load() -> str:
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
