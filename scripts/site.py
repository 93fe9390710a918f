"""Hooks of the documentation site (mkdocs.yml): pages beside README.md, decisions, links.

The pages of a checkout link to each other by their places in the repository. On the site they have
other places, so each link is written anew; a link to another file of the repository gets a copy.
Pages with a diagram load mermaid.js from the site: the theme would load it from another host.
"""

import importlib.util
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Pages of the repository's root, and their places on the site. docs/security.md is another page
# than SECURITY.md, and not every file system tells them apart.
ROOT_PAGES = {
    "README.md": "index.md",
    "QUICKSTART.md": "quickstart.md",
    "DEPLOYMENT.md": "deployment.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",
    "CHANGELOG.md": "changelog.md",
}
MERMAID = "assets/javascripts/mermaid.js"
STYLE = "assets/stylesheets/site.css"
_PLACES = {site: repository for repository, site in ROOT_PAGES.items()}
_CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def place(repository: str) -> str:
    """Return where a file of the repository is on the site."""
    if repository in ROOT_PAGES:
        return ROOT_PAGES[repository]
    if repository.startswith("docs/"):
        return repository.removeprefix("docs/")
    return f"files/{repository}"


def origin(site: str) -> str:
    """Return which file of the repository a page of the site is."""
    return _PLACES.get(site, f"docs/{site}")


def links(text: str, site: str) -> str:
    """Return the text of a page with links that lead to the same files on the site."""
    here, there = posixpath.dirname(origin(site)), posixpath.dirname(site)

    def rewritten(found: re.Match[str]) -> str:
        target = place(posixpath.normpath(posixpath.join(here, found[1])))
        if found[1].endswith("/"):
            target += "/index.md"
        return f"]({posixpath.relpath(target, there or '.')}{found[2] or ''})"

    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(rewritten, part) for part in parts[::2]]
    return "".join(parts)


def copies() -> set[str]:
    """Return the files besides pages and docs/ to which the pages link."""
    found = set()
    for path in (*(ROOT / name for name in ROOT_PAGES), *ROOT.glob("docs/**/*.md")):
        here = path.relative_to(ROOT).parent.as_posix()
        for target, _ in _LINK.findall("".join(_CODE.split(path.read_text())[::2])):
            linked = posixpath.normpath(posixpath.join(here, target))
            if place(linked).startswith("files/") and (ROOT / linked).is_file():
                found.add(linked)
    return found


def decisions() -> list[str]:
    """Return the pages of the decision records, in order."""
    return [f"decisions/{path.name}" for path in sorted(ROOT.glob("docs/decisions/*.md"))]


def mermaid() -> Path:
    """Return the file of mermaid.js, which a package of the site's environment brings."""
    spec = importlib.util.find_spec("mermaidx")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("no mermaid.js: build the site with `make site`")
    return Path(spec.origin).parent / "assets" / "mermaid.js"


def on_config(config: Any) -> Any:
    """Append the decision records to the navigation, and the site's own style."""
    config.extra_css.append(STYLE)
    config.nav.append({"Decisions": ["decisions/index.md", *decisions()]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages beside README.md, the list of decisions and the linked files."""
    from mkdocs.structure.files import File

    for name in (*ROOT_PAGES, *sorted(copies())):
        files.append(File.generated(config, place(name), abs_src_path=str(ROOT / name)))
    for added, source in ((MERMAID, mermaid()), (STYLE, ROOT / "scripts" / "site.css")):
        files.append(File.generated(config, added, abs_src_path=str(source)))
    titles = {each: (ROOT / "docs" / each).read_text().splitlines()[0] for each in decisions()}
    rows = [f"- [{title[2:]}]({posixpath.basename(each)})\n" for each, title in titles.items()]
    text = "# Decision records\n\n" + "".join(rows)
    files.append(File.generated(config, "decisions/index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Write the links of a page anew."""
    return links(markdown, page.file.src_uri)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Load mermaid.js where a page has a diagram, before the theme looks for it."""
    if 'class="mermaid"' not in html:
        return html
    from mkdocs.utils import get_relative_url

    return f'{html}\n<script src="{get_relative_url(MERMAID, page.url)}"></script>'
