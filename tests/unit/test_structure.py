"""The rules of the house: which module may import what, and what no file may say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_uses_what_would_take_the_environments_proxies() -> None:
    # `http.client` does not; a proxy must never see requests to radar's own addresses.
    users = {m for m, path in MODULES.items() if "urllib.request" in set(imports(path))}
    assert users == set()


def test_environment_is_read_only_by_the_settings() -> None:
    # Child processes inherit it, and the supervisor names itself in it.
    allowed = {
        *("radar.settings", "radar.process", "radar.local.supervisor"),
        "radar.local.forkserver",
        *("radar.local.broker", "radar.local.clickhouse", "chdb_server.__main__"),
    }
    readers = {
        module
        for module, path in MODULES.items()
        if re.search(r"os\.(environ|getenv)", path.read_text())
    }
    assert readers <= allowed


def test_lock_files_name_no_address() -> None:
    for path in (
        *SOURCE.parent.glob("requirements*.txt"),
        SOURCE.parent / "benchmarks" / "quix" / "requirements.txt",
    ):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index|--find-links|file:", text)
