"""The rules of the house: which module may import what, and what no file may say."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from radar import errors

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
        *("radar.settings", "radar.settings_reference", "radar.process", "radar.local.supervisor"),
        "radar.local.forkserver",
        *("radar.local.broker", "radar.local.clickhouse", "radar.local.clickhouse_alone"),
        *("chdb_server.__main__", "chdb_server.child"),
    }
    readers = {
        module
        for module, path in MODULES.items()
        if re.search(r"os\.(environ|getenv)", path.read_text())
    }
    assert readers <= allowed


def test_every_consumer_has_the_options_of_a_consumer() -> None:
    """Without them an open transaction of another client would hide messages."""
    named = {m: set(imports(path)) for m, path in MODULES.items()}
    consumers = {m for m, names in named.items() if "confluent_kafka.Consumer" in names}
    configured = {m for m, names in named.items() if "radar.kafka.client.consumer_config" in names}
    assert consumers - {"radar.kafka.client"} == configured  # it only names the type


def literals(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    for node in constants:
        if isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_committed_offsets_are_asked_by_a_consumer() -> None:
    # An AdminClient crashes the process if the asked broker is not the group's coordinator.
    crashing = "list_consumer_group_offsets"
    assert [name for name, path in MODULES.items() if crashing in path.read_text()] == []


def test_queries_of_radar_are_written_in_its_package_store() -> None:
    # The help of a command shows an example.
    allowed = {"radar.cli.query"}
    authors = {
        module
        for module, path in MODULES.items()
        if module.startswith("radar.") and not module.startswith("radar.store.")
        if any(re.search(r"\bSELECT\s|\bINSERT INTO\b", text) for text in literals(path))
    }
    assert authors == allowed


def test_lock_files_name_no_address() -> None:
    for path in (
        *SOURCE.parent.glob("requirements*.txt"),
        SOURCE.parent / "benchmarks" / "quix" / "requirements.txt",
    ):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index|--find-links|file:", text)


def documented(class_: ast.ClassDef) -> set[str]:
    """Return the names in the section Attributes of a docstring, empty if there is none."""
    _, found, text = (ast.get_docstring(class_) or "").partition("Attributes:\n")
    names = re.findall(r"^    (\w[\w, ]*):", text.split("\n\n", 1)[0], re.MULTILINE)
    return set(", ".join(names).split(", ")) if found else set()


def attributes(class_: ast.ClassDef) -> Iterator[tuple[str, int]]:
    """Yield the fields of a class, and the attributes that its methods set, with their lines."""
    for node in class_.body:
        if isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target), node.lineno
    for each in (node for node in ast.walk(class_) if isinstance(node, ast.Attribute)):
        if isinstance(each.ctx, ast.Store) and ast.unparse(each.value) == "self":
            yield each.attr, each.lineno


def test_lists_of_attributes_are_complete() -> None:
    for module, path in MODULES.items():
        lines = [*path.read_text().splitlines(), ""]
        for class_ in ast.walk(ast.parse(path.read_text())):
            if not isinstance(class_, ast.ClassDef) or not (names := documented(class_)):
                continue
            found = [(name, line) for name, line in attributes(class_) if name[0] != "_"]
            # A comment beside an attribute, or a string below it, also documents it.
            names_here = {
                name for name, line in found if "  # " in lines[line - 1] or '"""' in lines[line]
            }
            properties = {each.name for each in class_.body if isinstance(each, ast.FunctionDef)}
            missing = {name for name, _ in found} - names - names_here
            unknown = names - {name for name, _ in found} - properties
            assert (module, class_.name, missing, unknown) == (module, class_.name, set(), set())


def test_tree_of_errors_at_the_top_of_their_module_is_that_of_the_classes() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for depth, name in re.findall(r"^    ( *)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE):
        above[len(depth) // 2 :] = [name]
        drawn[name] = above[-2] if len(above) > 1 else "Exception"
    classes = {
        name: each.mro()[1].__name__
        for name, each in vars(errors).items()
        if isinstance(each, type) and each.__module__ == errors.__name__
    }
    assert drawn == classes


def test_modules_of_tests_have_different_names() -> None:
    # pytest imports them by name, and skips the second one of two.
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
