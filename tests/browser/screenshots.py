"""Take a picture of every page: `python -m browser.screenshots FOLDER [--url URL]`.

In English and Persian, light and dark, on a desktop and a phone.
"""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from browser.stack import chromium_arguments, running
from dashboards import TOKEN

PAGES = {
    "markets": "#/",
    "market": "#/market/USDTTMN",
    "pipeline": "#/pipeline",
    "quality": "#/quality",
}
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
TIMEOUT_MS = 120_000  # right after a start everything is asked at once
SETTLE_MS = 2500  # the first events, and charts that are drawn


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", default="", help="a dashboard that runs; else one is started")
    parser.add_argument("--token", default=TOKEN, help="the token of that dashboard")
    parser.add_argument(
        "--warm-up", type=float, default=60, help="seconds before the first picture"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    stack = nullcontext(options.url) if options.url else running(100, 400, 60)
    with stack as url, _browser() as browser:
        if not options.url:
            page = browser.new_page()
            page.wait_for_timeout(options.warm_up * 1000)
            page.close()
        for lang, theme, size in product(("en", "fa"), ("light", "dark"), SIZES):
            _take(browser, url, options.token, options.folder, lang, theme, size)


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=chromium_arguments()
        )
        yield browser
        browser.close()


def _take(
    browser: Browser, url: str, token: str, folder: Path, lang: str, theme: str, size: str
) -> None:
    width, height = SIZES[size]
    phone = size == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        is_mobile=phone,
        has_touch=phone,
        device_scale_factor=2 if phone else 1,
    )
    context.add_init_script(
        f"localStorage.setItem('radar.lang', '{lang}');"
        f"localStorage.setItem('radar.theme', '{theme}');"
        "localStorage.setItem('radar.interval', '900')"
    )
    context.set_default_timeout(TIMEOUT_MS)
    context.request.get(f"{url}/", params={"token": token})
    for name, place in PAGES.items():
        page = context.new_page()
        page.goto(f"{url}/{place}")
        page.locator(f"main[data-page={name}] :is(.card, table.markets)").first.wait_for()
        expect(page.locator("main .spinner")).to_have_count(0, timeout=TIMEOUT_MS)
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=folder / f"{name}-{lang}-{theme}-{size}.png")
        page.close()
    context.close()


if __name__ == "__main__":
    main()
