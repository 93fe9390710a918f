"""The dashboard's page: whole, unchanged where it is not ours, and silent towards other hosts."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "src" / "radar" / "ui" / "web" / "static"
VENDOR = STATIC / "vendor"
OWN_TEXTS = [
    path
    for path in STATIC.rglob("*")
    if path.suffix in {".html", ".css", ".js", ".svg"} and VENDOR not in path.parents
]
# The namespace of SVG names no host, and the charts' licence asks for a link, which nothing follows
# by itself.
ALLOWED = {"http://www.w3.org/2000/svg", "https://www.tradingview.com/"}
# Where foreign code names a host outside its comments: the same.
ALLOWED_OF_OTHERS = {"http://www.w3.org/2000/svg", "https://www.tradingview.com/?utm_medium"}


def test_vendored_files_are_those_of_their_list() -> None:
    parts = json.loads((VENDOR / "vendor.json").read_text())
    listed = {VENDOR / name: sha256 for part in parts for name, sha256 in part["files"].items()}
    found = {path for path in VENDOR.rglob("*") if path.is_file()} - {VENDOR / "vendor.json"}
    assert set(listed) == found
    for path, sha256 in listed.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, path.name
    for part in parts:
        assert part["version"]
        assert part["licence"]
        assert any("LICENSE" in name for name in part["files"]), part["name"]


@pytest.mark.parametrize("path", OWN_TEXTS, ids=lambda path: str(path.relative_to(STATIC)))
def test_own_file_names_no_other_host(path: Path) -> None:
    found = set(
        re.findall(r"(?:https?:|wss?:|\"|')//[^\s\"'`)<]+|https?://[^\s\"'`)<]+", path.read_text())
    )
    assert found <= ALLOWED


@pytest.mark.parametrize("path", sorted(VENDOR.rglob("*.js")), ids=lambda path: path.name)
def test_vendored_code_names_no_other_host(path: Path) -> None:
    code = re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    found = set(re.findall(r"https?://[^\s\"'`)=]+", code))
    assert found <= ALLOWED_OF_OTHERS


class _Page(HTMLParser):
    """What a page refers to, and what stands in it itself."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style":
            self.inline.append(tag)
        self._script = tag == "script"
        if reference := given.get("src") or (given.get("href") if tag == "link" else None):
            self.references.append(reference)

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.html")), ids=lambda path: path.name)
def test_page_has_nothing_inline_and_what_it_names_is_there(path: Path) -> None:
    page = _Page()
    page.feed(path.read_text())
    assert page.inline == []
    for reference in page.references:
        assert (STATIC / reference.lstrip("/")).is_file(), reference


def test_modules_import_only_what_is_there() -> None:
    for path in (STATIC / "js").rglob("*.js"):
        for name in re.findall(r"(?:from |import\()\"([^\"]+)\"", path.read_text()):
            assert name.startswith("."), f"{path.name}: a browser does not find {name}"
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"
