"""The pages for everybody: axe finds nothing serious, in both languages and themes."""

import hashlib
import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import TIMEOUT_MS, Dashboard, Look

expect.set_options(timeout=TIMEOUT_MS)

VENDOR = Path(__file__).parent / "vendor"
AXE = VENDOR / "axe-core" / "axe.min.js"
PLACES = {
    "markets": "#/",
    "market": "#/market/USDTTMN",
    "pipeline": "#/pipeline",
    "quality": "#/quality",
}
SERIOUS = ("serious", "critical")


def test_vendored_files_are_those_of_their_list() -> None:
    parts = json.loads((VENDOR / "vendor.json").read_text())
    listed = {VENDOR / name: sha256 for part in parts for name, sha256 in part["files"].items()}
    found = {path for path in VENDOR.rglob("*") if path.is_file()} - {VENDOR / "vendor.json"}
    assert set(listed) == found
    for path, sha256 in listed.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, path.name


@pytest.mark.parametrize(
    ("lang", "theme"),
    [
        ("en", "light"),
        ("fa", "dark"),
        pytest.param("en", "dark", marks=pytest.mark.slow("src/radar/ui/web")),
        pytest.param("fa", "light", marks=pytest.mark.slow("src/radar/ui/web")),
    ],
)
def test_axe_finds_nothing_serious(look: Look, dashboard: Dashboard, lang: str, theme: str) -> None:
    page = look(dashboard.url, "#/", lang=lang, theme=theme)
    page.evaluate(AXE.read_text())
    for name, place in PLACES.items():
        page.evaluate("place => { location.hash = place }", place)
        shown = page.locator(f"main[data-page={name}] :is(.card, table.markets)")
        expect(shown.first).to_be_visible()
        expect(page.locator("main .spinner")).to_have_count(0)
        found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        assert [
            (each["id"], each["nodes"][0]["html"][:200])
            for each in found["violations"]
            if each["impact"] in SERIOUS
        ] == [], name
