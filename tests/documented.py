"""The command lines of the documentation, and the faults that the real parsers find in them."""

import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import typer.main
import yaml

from radar.cli.main import app
from radar.errors import ConfigurationError
from radar.settings import load, variables

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for pattern in ("*.md", "docs/**/*.md")
    for path in sorted(ROOT.glob(pattern))
}
GROUP = typer.main.get_command(app)
RECIPES = (ROOT / "Makefile").read_text() + (ROOT / "deploy" / "compose.mk").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", RECIPES, re.MULTILINE))
# Variables of other programs: those of Amazon's library.
FOREIGN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
SHELL_BLOCK = re.compile(r"^ *```(?:sh|bash|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OPTIONS_BLOCK = re.compile(r"^ *```ini\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_SHELL_END = frozenset("|&;()<>")
# The errors of the parser, which typer brings.
_PARSER_ERROR: type = typer.BadParameter.__mro__[2]


class Line(NamedTuple):
    """A command line.

    Attributes:
        page: The page that shows it.
        text: The line without its comment; a line that goes on behind a backslash is one.
        before: The assignments above it in its block, which it may use.
    """

    page: str
    text: str
    before: tuple[str, ...] = ()


class Call(NamedTuple):
    """A call of a program in a line.

    Attributes:
        options: Variables that are set for this call.
        words: The program and its arguments; empty if the call only sets variables.
    """

    options: dict[str, str]
    words: list[str]

    @property
    def program(self) -> str:
        return Path(self.words[0]).name if self.words else ""


def copy_checkout(folder: Path) -> None:
    """Copy the files of make's targets: a dry run still writes the producers' compose file.

    They look old, so that make takes an environment beside them for up to date.
    """
    for name in ("deploy", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    copied = (*ROOT.glob("*.yml"), *ROOT.glob("*.txt"), ROOT / "Makefile", ROOT / "env.example")
    for path in (*copied, ROOT / "pyproject.toml"):
        shutil.copyfile(path, folder / path.name)
        os.utime(folder / path.name, (1, 1))


def lines() -> list[Line]:
    """Return each command line of the shell blocks once, in the order of the pages."""
    found: dict[tuple[str, tuple[str, ...]], Line] = {}
    for page, text in PAGES.items():
        for block in SHELL_BLOCK.findall(text):
            before: tuple[str, ...] = ()
            for raw in re.sub(r"\\\n *", "", block).splitlines():
                line = re.sub(r"(^|\s+)# .*", "", raw.strip())
                if line:
                    found.setdefault((line, before), Line(page, line, before))
                    if not any(call.words for call in calls(_SUBSTITUTION.sub("", line))):
                        before += (line,)
    return list(found.values())


def options() -> dict[str, list[str]]:
    """Return the lines of the blocks that belong into `.env`, by page."""
    return {
        page: [line.strip() for block in blocks for line in block.splitlines()]
        for page, text in PAGES.items()
        if (blocks := OPTIONS_BLOCK.findall(text))
    }


def calls(line: str) -> Iterator[Call]:
    """Yield the calls of a line, those inside `$(…)` first."""
    for inner in _SUBSTITUTION.findall(line):
        yield from calls(inner)
    lexer = shlex.shlex(_SUBSTITUTION.sub("SUBSTITUTED", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word and set(word) <= _SHELL_END:
            if words:
                yield _call(words)
            words = []
        else:
            words.append(word)


def _call(words: list[str]) -> Call:
    words = words[words[0] == "export" :]
    options = {}
    while words and (found := _ASSIGNMENT.fullmatch(words[0])):
        options[found[1]] = found[2]
        words = words[1:]
    return Call(options, words)


def fault(line: str) -> str:
    """Return why a line cannot work, as far as parsers know; empty: they accept it."""
    for call in calls(line):
        judge = JUDGES.get(call.program)
        found = judge(call.words[1:]) if judge else ""
        if not found and call.program in {"radar", "make"}:
            found = option_fault(call.options)
        if found:
            return found
    return ""


def radar_fault(words: list[str]) -> str:
    """Return what radar's command line says against arguments, without running the command.

    Words that the command takes apart itself, such as times and markets, are not judged here.
    """
    try:
        _parse(GROUP, words, None)
    except typer.Exit:  # --help
        return ""
    except Exception as error:
        if not isinstance(error, _PARSER_ERROR):
            raise
        return str(error.format_message())  # type: ignore[attr-defined]
    return ""


def _parse(command: Any, words: list[str], parent: Any) -> None:
    if any(each.callback and {*each.opts} & {*words} for each in command.params):
        return  # such an option acts while it is parsed: --install-completion changes the shell
    with command.make_context(command.name, list(words), parent=parent) as context:
        if hasattr(command, "commands") and (left := [*context._protected_args, *context.args]):
            _name, below, rest = command.resolve_command(context, left)
            _parse(below, rest, context)


def option_fault(chosen: dict[str, str]) -> str:
    """Return which of these variables is no option of radar, or has a value that it refuses."""
    chosen = {
        name: value
        for name, value in chosen.items()
        if name not in FOREIGN and "SUBSTITUTED" not in value
    }
    if unknown := chosen.keys() - set(variables()):
        return f"no option {min(unknown)}"
    try:
        load(**{name.lower(): value for name, value in chosen.items()})
    except ConfigurationError as error:
        return str(error)
    return ""


def make_fault(words: list[str]) -> str:
    """Return which target or variable the Makefile does not know."""
    for word in words:
        found = _ASSIGNMENT.fullmatch(word)
        if found is None and word not in TARGETS:
            return f"no target {word}"
        if found and not _is_used(found[1]):
            return f"no variable {found[1]}"
    return ""


def _is_used(variable: str) -> bool:
    """Whether a recipe or a compose file uses a variable of make's command line."""
    if re.search(rf"\$[({{]{variable}\b|call option,{variable}\b", RECIPES):
        return True
    files = [path.read_text() for path in ROOT.glob("docker-compose*.yml")]
    return any(re.search(rf"\b{variable}\b", text) for text in files)


@cache
def services() -> frozenset[str]:
    """Return the services of all compose files."""
    found: set[str] = set()
    for path in ROOT.glob("docker-compose*.yml"):
        # Tags that compose adds to YAML make no difference here.
        text = re.sub(r"!(?:override|reset)\b", "", path.read_text())
        found |= set(yaml.safe_load(text).get("services") or {})
    return frozenset(found)


COMPOSE_COMMANDS = {"build", "exec", "kill", "logs", "ps", "restart", "run", "stop", "up"}


def compose_fault(words: list[str]) -> str:
    """Return which file, profile or service a line of `docker compose` names and is not there."""
    if words[0] != "compose":
        return ""
    rest = iter(words[1:])
    command = ""
    for word in rest:
        if word in {"--file", "-f"}:
            if not (ROOT / (name := next(rest, ""))).is_file():
                return f"no file {name}"
        elif word == "--profile":
            if (name := next(rest, "")) not in _profiles():
                return f"no profile {name}"
        else:
            command = word
            break
    if command not in COMPOSE_COMMANDS:
        return f"no command {command} of docker compose"
    named = [word for word in rest if not word.startswith("-")]
    if command in {"exec", "run"}:
        if not named or named[0] not in services():
            return f"no service {' '.join(named[:1])}"
        return radar_fault(named[2:]) if named[1:2] == ["radar"] else ""
    return next((f"no service {each}" for each in named if each not in services()), "")


def _profiles() -> set[str]:
    text = (ROOT / "docker-compose.yml").read_text()
    return {
        name.strip(" \"'")
        for found in re.findall(r"profiles: \[(.*)\]", text)
        for name in found.split(",")
    }


def pytest_fault(words: list[str]) -> str:
    """Return which path of a line of pytest does not exist."""
    paths = [word for word in words if not word.startswith("-")]
    return next((f"no file {each}" for each in paths if not (ROOT / each).exists()), "")


def pip_fault(words: list[str]) -> str:
    """Return which extra of radar does not exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = [
        name
        for word in words
        if (found := re.fullmatch(r"(?:radar|\.)\[(.*)\]", word))
        for name in found[1].split(",")
    ]
    return next((f"no extra {each}" for each in named if each not in extras), "")


def git_fault(words: list[str]) -> str:
    """Return which path behind `--` does not exist."""
    paths = words[words.index("--") + 1 :] if "--" in words else []
    return next((f"no file {each}" for each in paths if not (ROOT / each).exists()), "")


JUDGES = {
    "docker": compose_fault,
    "git": git_fault,
    "make": make_fault,
    "pip": pip_fault,
    "pytest": pytest_fault,
    "radar": radar_fault,
}

# Lines by their beginnings. Every other line runs in tests/e2e/test_documented_commands.py.
# No test can run these, and why.
BY_HAND = {
    r"(pip install )?pre-commit": "installs a program, and a hook of git for the person",
    r"python3 -m venv /opt/radar|useradd ": "changes the machine as root",
    r"systemctl |radar doctor --cluster": "needs a cluster of ClickHouse servers",
    r"kubectl |helm ": "needs a cluster; `make test-kubernetes` gives the same objects to its API",
    r"docker compose exec kafka ": "needs Apache Kafka in a container",
}
# These need a Docker engine. The test of the stack calls their targets (`make test-stack`).
ON_DOCKER = (
    r"(\S+=\S+ )*make (?!demo|up|setup|lint|test\b)[a-z-]+|docker compose |export WITH=|"
    r"password=\$\(sed|curl -H 'X-ClickHouse"
)
STACK = "tests/deploy/stack.py"
# `make use` needs the files of a release.
RELEASE = "tests/deploy/test_release.py"
# The gate runs them before every change.
GATE = ".ci/run"
IN_GATE = r"make (setup|lint|test)\b|\.venv/bin/pytest "


def runs_elsewhere(line: Line) -> bool:
    """Whether the nightly test of documented commands leaves a line out."""
    return any(re.match(each, line.text) for each in (*BY_HAND, ON_DOCKER, IN_GATE))
