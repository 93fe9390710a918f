"""Measure how smooth the pages are: `python -m browser.smoothness [--seconds 120] [--url URL]`.

Opens each page while the simulated exchange sends so many messages a second. Prints the longest
time for which the page's main thread was busy with one thing, and how the heap grew, both sides
after a garbage collection. What the browser waits for a processor counts too: run it on a machine
that has one to spare.
"""

import argparse
import shutil
import sys
from contextlib import nullcontext

from playwright.sync_api import CDPSession, Page, sync_playwright

from browser.stack import chromium_arguments, running

PAGES = {
    "markets": "#/",
    "market": "#/market/USDTTMN",
    "pipeline": "#/pipeline",
    "quality": "#/quality",
}
SETTLE_S = 8.0  # start of the page, which is reported apart
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
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.add_init_script(WATCH_TASKS)
            _say(_measure(page, f"{url}/{PAGES[name]}", options.seconds, name))
            page.close()
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        _say(_wander(page, url))
        browser.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _heap_bytes(session: CDPSession) -> int:
    session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


def _measure(page: Page, address: str, seconds: float, name: str) -> str:
    page.goto(address)
    session = page.context.new_cdp_session(page)
    page.wait_for_timeout(SETTLE_S * 1000)
    began_ms = page.evaluate("performance.now()")
    session.send("Performance.enable")
    before = _heap_bytes(session)
    busy_s = _busy_s(session)
    # Garbage collections of ours are no work of the page's.
    from_ms = page.evaluate("performance.now()")
    page.wait_for_timeout(seconds * 1000)
    to_ms = page.evaluate("performance.now()")
    busy_s = _busy_s(session) - busy_s
    grown = _heap_bytes(session) - before
    tasks = page.evaluate("window.longTasks")
    start = max((ms for at, ms in tasks if at < began_ms), default=0)
    found = [ms for at, ms in tasks if from_ms <= at < to_ms]
    return (
        f"{name:9} start {start:4.0f} ms; then {seconds:.0f} s: longest task"
        f" {max(found, default=0):4.0f} ms, {len(found)} over {LIMIT_MS} ms,"
        f" busy {busy_s / seconds:5.1%}, heap {before / 1e6:.1f} MB {grown / 1e6:+.2f} MB"
    )


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
