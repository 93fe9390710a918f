"""The commands of `radar shell` that are no SQL: help, and the tables with their columns."""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence

from radar.errors import InvalidRequest
from radar.store import dictionary
from radar.store.queries import reading as queries

Ask = Callable[[str], Sequence[Sequence[str]]]
"""Runs a query and returns its rows."""

HELP = (
    r"\d              list tables and views",
    r"\d NAME         show the columns, parameters and an example of a table or view",
    r"help, \?        show this text",
    r"\q, exit        leave; Ctrl-D does as well",
    "",
    "A statement ends with a semicolon, and may take several lines. Tab completes words, arrows",
    "find earlier statements. Ctrl-C cancels. Times are UTC; exact decimals are kept.",
    f"Start with: {queries.EXAMPLE};",
    "docs/queries.md explains the views, docs/recipes.md has longer examples.",
)
_COMMAND = re.compile(r"\s*(\\d|\\\?|\\h|help)(?:\s+(\S+?))?\s*;?\s*", re.IGNORECASE)
_NAME = re.compile(r"\w{1,64}")


def is_command(text: str) -> bool:
    """Return whether a text is a command and no statement."""
    return _COMMAND.fullmatch(text) is not None


def divide(text: str) -> Iterator[str]:
    """Yield the parts of a piped text: each command, and the statements between commands."""
    pending = ""
    for line in text.splitlines(keepends=True):
        if is_command(line) and not pending.rpartition(";")[2].strip():
            if pending.strip():
                yield pending
            yield line.strip()
            pending = ""
        else:
            pending += line
    if pending.strip():
        yield pending


def answer_to(text: str, ask: Ask) -> Iterator[str]:
    """Yield the lines of the answer to a command; blocks.

    Args:
        text: The command; see `is_command`.
        ask: Runs a query.

    Raises:
        InvalidRequest: There is no such table or view; the message names similar ones.
        StoreUnavailable: The database does not answer.
        QueryFailed: It refuses a query.
    """
    match = _COMMAND.fullmatch(text)
    if match is None or match[1].lower() != r"\d":
        yield from HELP
        return
    kinds = {row[0]: row[1] for row in ask(queries.RELATIONS)}
    if match[2]:
        yield from _describe(_known(match[2], list(kinds)), kinds, ask)
    else:
        yield from _list(kinds)


def _known(name: str, names: Sequence[str]) -> str:
    for each in names:
        if each.lower() == name.lower() and _NAME.fullmatch(each):
            return each
    near = difflib.get_close_matches(name, names, n=3)
    raise InvalidRequest(
        f"there is no table or view {name!r}: use {' or '.join(near)}"
        if near
        else rf"there is no table or view {name!r}: \d lists them"
    )


def _list(kinds: dict[str, str]) -> Iterator[str]:
    for group in dictionary.GROUPS:
        names = [
            name
            for name, each in dictionary.RELATIONS.items()
            if each.group == group and name in kinds
        ]
        yield f"{group}:"
        for name in names:
            given = ", ".join(dictionary.parameters(name))
            shown = f"{name}({given})" if given else name
            yield f"  {kinds[name]:5}  {shown:58}  {dictionary.RELATIONS[name].row}"
    others = sorted(kinds.keys() - dictionary.RELATIONS.keys())
    if others:
        yield "Others:"
        yield from (f"  {kinds[name]:5}  {name}" for name in others)
    yield r"\d NAME shows the columns of one."


def _describe(name: str, kinds: dict[str, str], ask: Ask) -> Iterator[str]:
    relation = dictionary.RELATIONS.get(name)
    yield f"{kinds[name]} {name}" + (f": one row is {relation.row}" if relation else "")
    given = dictionary.parameters(name)
    if given:
        yield "parameters, all by name:"
        yield from (f"  {each:16}  {kind}" for each, kind in given.items())
    is_table = kinds[name] == "table"
    sql = queries.table_columns(name) if is_table else queries.columns(dictionary.call(name))
    rows = [(row[0], row[1]) for row in ask(sql)]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    yield "columns:"
    for column, kind in rows:
        found = dictionary.column(name, column)
        unit = f" [{found.unit}]" if found and found.unit else ""
        meaning = f"{found.meaning}{unit}" if found else ""
        yield f"  {column:{widths[0]}}  {kind:{min(widths[1], 40)}}  {meaning}".rstrip()
    yield f"example: {dictionary.example(name)} LIMIT 10;"
