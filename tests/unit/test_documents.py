"""The documents name commands, options, files, modules and links that exist."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from documented import GROUP, PAGES, ROOT, SHELL_BLOCK, TARGETS, radar_fault

DESIGN = [
    *("docs/design.md", "docs/delivery.md", "docs/upgrading.md"),
    *("docs/adding-an-exchange.md", "docs/adding-a-dataset.md"),
    *(name for name in PAGES if name.startswith("docs/decisions/")),
]
# Where a path of a document may begin.
FOLDERS = ("", "docs", "src", "src/radar", "src/radar/store/migrations")
ARGUMENT = re.compile("Missing|requires an argument")
_ANY_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:py|md|sql|toml|yml|xml|txt|mk|ndjson|example)")
_SHELL_END = {"|", "||", "&&", ";", "&", ">", ">>", "<"}
_PLACEHOLDER = re.compile(r"\b[A-Z]+\b")


def commands(text: str) -> Iterator[str]:
    """Yield the command lines of a page: lines of its shell blocks, and inline code."""
    for block in SHELL_BLOCK.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from _CODE.findall(_ANY_BLOCK.sub("", text))


def words_of(program: str, line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program in a command line."""
    for found in re.finditer(rf"(?:^|[|;&(] *|\.venv/bin/){program} +([a-z-][^)]*)", line):
        try:
            words = shlex.split(found[1], comments=True)
        except ValueError:  # a quotation mark that the pattern has cut off
            words = found[1].split()
        end = next((n for n, word in enumerate(words) if word in _SHELL_END), len(words))
        yield words[:end]


def radar_problem(words: list[str]) -> str | None:
    """Return which command or option the command line does not know."""
    command: Any = GROUP
    known: set[str] = set()
    for word in words:
        if word.startswith("-"):
            option = word.partition("=")[0].strip("[]….,")
            known |= {
                name for each in command.params for name in (*each.opts, *each.secondary_opts)
            }
            if option not in {*known, "--help", "-h", "--", "-"}:
                return f"no option {option} of {command.name}"
        elif commands_here := getattr(command, "commands", None):
            if word not in commands_here:
                return f"no command {word}"
            command = commands_here[word]
    return None


def is_whole(words: list[str]) -> bool:
    """Whether inline code is a call as it can be made, without names in place of values."""
    return not any(re.search(r"[…\[\]|]|\b[A-Z]{2,}\b|^\.\.\.$", word) for word in words)


def test_readme_lists_every_command() -> None:
    rows = re.findall(r"^\| (`.*) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = {each.split()[0] for row in rows for each in _CODE.findall(row.partition(" | ")[0])}
    hidden = {name for name, each in GROUP.commands.items() if each.hidden}  # type: ignore[attr-defined]
    assert GROUP.commands.keys() - hidden <= listed  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PAGES)
def test_documented_commands_of_radar_exist(name: str) -> None:
    found = {
        " ".join(words): problem
        for line in commands(PAGES[name])
        for words in words_of("radar", line)
        if (problem := radar_problem(words)) is not None
        # A command may be named without its arguments.
        or (is_whole(words) and not ARGUMENT.search(problem := radar_fault(words)) and problem)
    }
    assert found == {}


@pytest.mark.parametrize("name", PAGES)
def test_documented_targets_of_make_exist(name: str) -> None:
    targets = {
        words[0]
        for line in commands(PAGES[name])
        for words in words_of("make", line)
        if words and re.fullmatch(r"[a-z][a-z-]*", words[0])
    }
    assert targets - TARGETS == set()


@pytest.mark.parametrize("name", DESIGN)
def test_documented_files_exist(name: str) -> None:
    text = _LINK.sub("]", PAGES[name])
    shown = {
        path
        for line in commands(text)
        for path in _FILE.findall(line)
        if not _PLACEHOLDER.match(Path(path).stem)
    }
    here = (ROOT / name).parent
    missing = {
        path
        for path in shown
        if not any((ROOT / folder / path).exists() for folder in FOLDERS)
        and not (here / path).exists()
        and not any(ROOT.glob(f"src/**/{path}"))
        and not any(ROOT.glob(f"deploy/**/{path}"))
    }
    assert missing == set()


@pytest.mark.parametrize("name", DESIGN)
def test_documented_modules_exist(name: str) -> None:
    modules = {
        code for code in _CODE.findall(PAGES[name]) if re.fullmatch(r"radar(\.[a-z_]+)+", code)
    }
    packages = {
        code.rstrip("/") for code in _CODE.findall(PAGES[name]) if re.fullmatch(r"[a-z/_]+/", code)
    }
    for module in modules:
        parent, _, last = module.rpartition(".")
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # its parent is a module, so it may be a name in there
            found = False
        assert found or hasattr(importlib.import_module(parent), last), module
    missing = {
        package
        for package in packages
        if not any(
            (ROOT / folder / package).is_dir() for folder in (*FOLDERS, "src/radar/consumer")
        )
    }
    assert missing == set()


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ +(.+?)\s*$", _ANY_BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_between_documents_lead_somewhere(name: str) -> None:
    broken = set()
    for link in _LINK.findall(PAGES[name]):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())
        ):
            broken.add(link)
    assert broken == set()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["up", "--simulate", "--duration", "15"], None),
        (["dlq", "replay", "--help"], None),
        (["fly"], "no command fly"),
        (["dlq", "fly"], "no command fly"),
        (["up", "--fly"], "no option --fly of up"),
    ],
)
def test_unknown_command_or_option_is_found(words: list[str], problem: str | None) -> None:
    assert radar_problem(words) == problem


def test_calls_are_found_in_shell_blocks_and_in_inline_code() -> None:
    page = "Run `radar status --json`.\n\n```sh\n.venv/bin/radar up --simulate # try\n```\n"
    found = [words for line in commands(page) for words in words_of("radar", line)]
    assert found == [["up", "--simulate"], ["status", "--json"]]
