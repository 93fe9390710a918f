"""The documentation site has every page, and links that work in a checkout work there as well."""

import importlib.util
import posixpath
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "scripts" / "site.py")
assert _spec is not None
assert _spec.loader is not None
site = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(site)


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without the objects that it names."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, suffix, _node: suffix)
CONFIG: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)


def pages(nav: list[Any]) -> list[str]:
    """Return the pages of a navigation, in order."""
    found: list[str] = []
    for each in nav:
        if isinstance(each, dict):
            (below,) = each.values()
            found += pages(below) if isinstance(below, list) else [below]
        else:
            found.append(each)
    return found


def test_every_page_is_in_the_navigation_once() -> None:
    listed = pages(CONFIG["nav"])
    written = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")}
    wanted = {site.place(name) for name in {*written, *site.ROOT_PAGES}} - {*site.decisions()}
    assert wanted - {*listed} == set(), "add these pages to nav in mkdocs.yml"
    assert {*listed} - wanted == set(), "these pages do not exist"
    assert len(listed) == len({*listed})


def test_every_page_of_the_root_is_on_the_site() -> None:
    assert {path.name for path in ROOT.glob("*.md")} == site.ROOT_PAGES.keys()


@pytest.mark.parametrize(
    ("page", "text", "wanted"),
    [
        ("index.md", "[a](docs/queries.md#x)", "[a](queries.md#x)"),
        ("index.md", "[![a](docs/b.svg)](DEPLOYMENT.md)", "[![a](b.svg)](deployment.md)"),
        ("queries.md", "[a](../DEPLOYMENT.md)", "[a](deployment.md)"),
        ("decisions/016-x.md", "[a](../../SECURITY.md)", "[a](../vulnerabilities.md)"),
        ("decisions/016-x.md", "[a](../security.md)", "[a](../security.md)"),
        ("design.md", "[a](decisions/)", "[a](decisions/index.md)"),
        ("deployment.md", "[a](deploy/examples/x.env)", "[a](files/deploy/examples/x.env)"),
        ("queries.md", "[a](#here) [b](https://c.example/d.md)", None),
        ("index.md", "`[a](docs/x.md)`\n```sh\n[b](docs/y.md)\n```\n", None),
    ],
)
def test_links_lead_to_the_same_files(page: str, text: str, wanted: str | None) -> None:
    assert site.links(text, page) == (wanted or text)


def test_linked_files_besides_pages_are_copied() -> None:
    assert "env.example" in site.copies()
    assert all((ROOT / name).is_file() for name in site.copies())


def test_names_of_pages_differ_on_every_file_system() -> None:
    names = [posixpath.splitext(each)[0].lower() for each in pages(CONFIG["nav"])]
    assert len(names) == len({*names})
