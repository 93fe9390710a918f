"""The tables, columns, constraints and views that the migrations create: pure.

This module reads the migrations themselves. So a user without the right to create can compare a
database with the schema. The migrations keep to a few forms of statements; another form raises
`UnknownStatement`. A test compares the result with a real database.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

FOLDER = resources.files("radar.store").joinpath("migrations")

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_COMMENT = re.compile(r"'(?:[^'\\]|\\.)*'|--[^\n]*")
_CREATE_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\s*\(", re.IGNORECASE)
_ALTER_TABLE = re.compile(r"ALTER TABLE (\w+)\s+(.*)", re.IGNORECASE | re.DOTALL)
_CREATE_VIEW = re.compile(r"CREATE OR REPLACE VIEW (\w+)\b", re.IGNORECASE)
_ADD_COLUMN = re.compile(r"ADD COLUMN IF NOT EXISTS (.*)", re.IGNORECASE | re.DOTALL)
_MODIFY_COLUMN = re.compile(r"MODIFY COLUMN (\w+)\s+(.*)", re.IGNORECASE | re.DOTALL)
_CONSTRAINT = re.compile(r"CONSTRAINT ((\w+) CHECK\b.*)", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"\{(\w+):\s*([^{}]+?)\s*\}")
_DEFAULTS = ("DEFAULT", "MATERIALIZED", "ALIAS")
_AFTER_TYPE = (*_DEFAULTS, "COMMENT", "CODEC", "TTL")


class UnknownStatement(ValueError):
    """A migration has a statement of a form that this module does not read."""


@dataclass(frozen=True)
class Migration:
    """One file of `radar/store/migrations`."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Identify the text of the migration."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]

    @property
    def statements(self) -> list[str]:
        """Split at semicolons that end a line."""
        parts = re.split(r";\s*$", self.sql, flags=re.MULTILINE)
        return [part.strip() for part in parts if part.strip()]


@dataclass
class ColumnDefinition:
    """A column as the newest migration leaves it.

    Attributes:
        type: Without spaces.
        default: DEFAULT, MATERIALIZED or ALIAS; empty without.
        statements: Add it to its table, and change it to its newest form.
    """

    type: str
    default: str
    statements: list[str]


@dataclass
class TableDefinition:
    """A table as the newest migration leaves it; `statements` create it."""

    statements: list[str] = field(default_factory=list)
    columns: dict[str, ColumnDefinition] = field(default_factory=dict)
    constraints: dict[str, str] = field(default_factory=dict)  # name -> statement that adds it


@dataclass
class Schema:
    """All tables, and the views with the statements that create them."""

    tables: dict[str, TableDefinition] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)


def migrations() -> list[Migration]:
    """Return all migrations in order."""
    files = FOLDER.iterdir()
    found = [
        Migration(int(match[1]), match[2], file.read_text("utf-8"))
        for file in files
        if (match := _FILE_NAME.fullmatch(file.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


def newest_version() -> int:
    """Return the number of the newest migration."""
    return migrations()[-1].version


@cache
def newest() -> Schema:
    """Return the schema after all migrations."""
    return read(statement for migration in migrations() for statement in migration.statements)


def read(statements: Iterable[str]) -> Schema:
    """Return the schema after some statements.

    Raises:
        UnknownStatement: One of them has an unknown form.
    """
    schema = Schema()
    for statement in statements:
        text = _COMMENT.sub(lambda match: match[0] if match[0][0] == "'" else "", statement).strip()
        if match := _CREATE_TABLE.match(text):
            schema.tables[match[1]] = _created(match[1], text)
        elif (match := _ALTER_TABLE.fullmatch(text)) and match[1] in schema.tables:
            table = schema.tables[match[1]]
            table.statements.append(text)
            for change in _items(match[2]):
                _change(table, match[1], change)
        elif match := _CREATE_VIEW.match(text):
            schema.views[match[1]] = text
        elif text:
            raise UnknownStatement(text[:80])
    return schema


def parameters(sql: str) -> dict[str, str]:
    """Return the `{name:Type}` placeholders of a statement: name to type, in their order."""
    return dict(_PARAMETER.findall(sql))


def _created(name: str, text: str) -> TableDefinition:
    table = TableDefinition([text])
    start = text.index("(") + 1
    for item in _items(text[start : _closing(text, start)]):
        if match := _CONSTRAINT.fullmatch(item):
            table.constraints[match[2]] = f"ALTER TABLE {name} ADD CONSTRAINT {match[1]}"
        # An index only makes queries faster: a database without it is complete.
        elif not item.upper().startswith("INDEX "):
            _add_column(table, name, item)
    return table


def _change(table: TableDefinition, name: str, change: str) -> None:
    if match := _ADD_COLUMN.fullmatch(change):
        _add_column(table, name, match[1])
    elif match := _MODIFY_COLUMN.fullmatch(change):
        column = table.columns[match[1]]
        column.statements.append(f"ALTER TABLE {name} {change}")
        type_, default = _type_and_default(match[2])
        column.type, column.default = type_ or column.type, default or column.default
    else:
        raise UnknownStatement(change[:80])


def _add_column(table: TableDefinition, name: str, definition: str) -> None:
    column, rest = definition.split(None, 1)
    type_, default = _type_and_default(rest)
    statement = f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {definition}"
    table.columns[column] = ColumnDefinition(type_, default, [statement])


def _type_and_default(definition: str) -> tuple[str, str]:
    words = re.split(r"\b(" + "|".join(_AFTER_TYPE) + r")\b", definition, maxsplit=1)
    found = words[1] if len(words) > 1 else ""
    return re.sub(r"\s", "", words[0]), found if found in _DEFAULTS else ""


def _closing(text: str, start: int) -> int:
    depth, quoted = 1, False
    for n, character in enumerate(text[start:], start):
        quoted ^= character == "'"
        if not quoted:
            depth += (character == "(") - (character == ")")
            if not depth:
                return n
    raise UnknownStatement(text[:80])


def _items(text: str) -> Iterator[str]:
    """Split at the commas outside parentheses and quotes."""
    depth, quoted, start = 0, False, 0
    for n, character in enumerate(text):
        quoted ^= character == "'"
        if quoted:
            continue
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            yield text[start:n].strip()
            start = n + 1
    if last := text[start:].strip():
        yield last
