"""Measure how smooth the pages are: `python -m browser.smoothness [--seconds 120] [--url URL]`.

Opens each page while the simulated exchange sends so many messages a second. Prints the longest
task of the page's main thread, and how the heap grew from one garbage collection to another. A
task's time on the clock counts what the browser waited for a processor; its CPU time does not, and
is what the page itself is to blame for on a machine that is busy with other things.
"""

import argparse
import json
import shutil
import sys
from contextlib import nullcontext

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from browser.stack import chromium_arguments, running
from dashboards import TOKEN

PAGES = {
    "markets": "#/",
    "market": "#/market/USDTTMN",
    "pipeline": "#/pipeline",
    "quality": "#/quality",
}
SETTLE_S = 8.0  # start of the page, which is reported apart
TRACE_S = 60.0
LIMIT_MS = 50
WATCH_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.longTasks.push([each.startTime, each.duration]);
}).observe({ type: "longtask", buffered: true });
"""


def main() -> None:
    """Measure every page, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rate", type=float, default=5000, help="messages a second")
    parser.add_argument("--url", default="", help="a dashboard that runs; else one is started")
    parser.add_argument("--token", default=TOKEN, help="the token of that dashboard")
    parser.add_argument("--pages", nargs="*", default=list(PAGES), choices=PAGES)
    options = parser.parse_args()
    rate = options.rate
    stack = nullcontext(options.url) if options.url else running(0.3 * rate, 0.7 * rate, 120)
    with stack as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[*chromium_arguments(), "--js-flags=--expose-gc"],
        )
        for name in options.pages:
            page = _page(browser, url, options.token)
            page.add_init_script(WATCH_TASKS)
            _say(_measure(browser, page, f"{url}/{PAGES[name]}", options.seconds, name))
            page.close()
        page = _page(browser, url, options.token)
        _say(_wander(page, url))
        browser.close()


def _page(browser: Browser, url: str, token: str) -> Page:
    """Open a page that knows the token by its cookie, as the shared worker of the pages needs."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.context.request.get(f"{url}/", params={"token": token})
    return page


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _heap_bytes(session: CDPSession) -> int:
    session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


def _measure(browser: Browser, page: Page, address: str, seconds: float, name: str) -> str:
    browser.start_tracing(page=page, categories=["toplevel"])
    page.goto(address)
    session = page.context.new_cdp_session(page)
    page.wait_for_timeout(SETTLE_S * 1000)
    start_cpu_ms = max(_task_cpu_ms(browser.stop_tracing()), default=0)
    before = _heap_bytes(session)
    session.send("Performance.enable")
    busy_s = _busy_s(session)
    from_ms = page.evaluate("performance.now()")
    cpu_ms: list[float] = []
    left_s = seconds
    while left_s > 0:
        # What is traced stays in memory until then.
        part_s = min(left_s, TRACE_S)
        browser.start_tracing(page=page, categories=["toplevel"])
        page.wait_for_timeout(part_s * 1000)
        cpu_ms += _task_cpu_ms(browser.stop_tracing())
        left_s -= part_s
    to_ms = page.evaluate("performance.now()")
    busy_s = _busy_s(session) - busy_s
    grown = _heap_bytes(session) - before
    tasks = page.evaluate("window.longTasks")
    start_ms = max((ms for at, ms in tasks if at < from_ms), default=0)
    found = [ms for at, ms in tasks if from_ms <= at < to_ms]
    return (
        f"{name:9} start: longest task {start_ms:.0f} ms, CPU {start_cpu_ms:.0f} ms;"
        f" then {seconds:.0f} s: longest task {max(found, default=0):.0f} ms, {len(found)} over"
        f" {LIMIT_MS} ms, CPU {max(cpu_ms, default=0):.0f} ms,"
        f" {sum(ms > LIMIT_MS for ms in cpu_ms)} over {LIMIT_MS} ms;"
        f" busy {busy_s / seconds:.1%}, heap {before / 1e6:.1f} MB {grown / 1e6:+.2f} MB"
    )


def _task_cpu_ms(trace: bytes) -> list[float]:
    """Return the CPU times of the tasks of pages' main threads."""
    events = json.loads(trace)["traceEvents"]
    main = {
        (each["pid"], each["tid"])
        for each in events
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    return [
        each["tdur"] / 1000
        for each in events
        if each["name"].endswith("RunTask")
        and "tdur" in each
        and (each["pid"], each["tid"]) in main
    ]


def _busy_s(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def _wander(page: Page, url: str) -> str:
    """Go from page to page again and again: what they leave behind stays in the heap."""
    page.goto(url)
    session = page.context.new_cdp_session(page)
    sizes: list[int] = []
    for _ in range(3):
        for _ in range(8):
            for place in PAGES.values():
                page.evaluate(f"location.hash = '{place}'")
                page.wait_for_timeout(700)
        page.wait_for_timeout(1500)
        sizes.append(_heap_bytes(session))
    shown = ", ".join(f"{size / 1e6:.1f}" for size in sizes)
    return f"wander    32 pages, three times: heap {shown} MB"


if __name__ == "__main__":
    main()
