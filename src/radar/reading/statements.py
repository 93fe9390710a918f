"""Statements that a person gives to `radar query` and `radar shell`: pure.

It reads values of placeholders, divides files into statements, and explains errors about views with
parameters, which ClickHouse words for its developers.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from chdb_server.errors import Rejected
from chdb_server.statement import Statement, StatementKind, classify, split
from radar.errors import ConfigurationError, QueryFailed
from radar.periods import parse_time
from radar.store import dictionary, schema

# Also bounds the rows of an INSERT in a file or a pipe.
MAX_STATEMENT_BYTES = 64 * 1024 * 1024

_NOT_SET = re.compile(r"Substitution `(\w+)` is not set")
_SOURCE = re.compile(r"\b(?:FROM|JOIN)\s+(?:\w+\.)?(\w+)\b(?!\s*[(.])", re.IGNORECASE)
_CALL = re.compile(r"\b(\w+)\s*\(")

# Formats that ClickHouse itself does not show in a terminal.
_BINARY = frozenset(
    [
        "PNG",
        "PostgreSQLWire",
        "ODBCDriver2",
        "Avro",
        "AvroConfluent",
        "Parquet",
        "Arrow",
        "ArrowStream",
        "BSONEachRow",
        "Protobuf",
        "ProtobufList",
        "ProtobufSingle",
        "Npy",
        "ORC",
        "RowBinary",
        "RowBinaryWithNames",
        "RowBinaryWithNamesAndTypes",
        "RowBinaryWithDefaults",
        "MsgPack",
        "Buffers",
        "Native",
        "MySQLWire",
        "CapnProto",
        "RawBLOB",
    ]
)


def statements(text: bytes) -> list[str]:
    """Return the statements of a file or pipe, which semicolons divide.

    An INSERT with rows in a format such as CSV is one statement and the only one.

    Raises:
        QueryFailed: The text is no UTF-8 or too long.
    """
    if len(text) > MAX_STATEMENT_BYTES:
        raise QueryFailed(
            f"the statements have more than {MAX_STATEMENT_BYTES // 2**20} MiB: divide them"
        )
    try:
        whole = text.decode()
    except UnicodeDecodeError as error:
        raise QueryFailed(f"the statements are not UTF-8: byte {error.start} is wrong") from None
    first = _classified(text)
    if first and first.kind is StatementKind.INSERT_DATA and first.format not in (None, "Values"):
        return [whole]
    complete, rest = split(text)
    found = [(each.strip(), _classified(each)) for each in (*complete, rest)]
    return [
        text.decode() for text, each in found if not each or each.kind is not StatementKind.EMPTY
    ]


def _classified(text: bytes) -> Statement | None:
    try:
        return classify(text)
    except Rejected:  # several statements, or the database refuses it as well
        return None


def values(given: Iterable[str], sql: str, now: datetime) -> dict[str, str]:
    """Return the values of placeholders, as ClickHouse reads them.

    A value of a placeholder of a time type may have each form of `radar.periods`.

    Args:
        given: Texts `name=value`.
        sql: The statements with the placeholders, such as `{symbol:String}`.
        now: The time that ages count from.

    Raises:
        ConfigurationError: A text has another form, or the statements have no such placeholder.
    """
    wanted = schema.parameters(sql)
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigurationError(f"--param {text!r} has no name (allowed: symbol=BTCUSDT)")
        if name not in wanted:
            raise ConfigurationError(f"--param {name}: {_no_placeholder(name, wanted)}")
        found[name] = _as_type(value, wanted[name], now)
    return found


def _no_placeholder(name: str, wanted: Mapping[str, str]) -> str:
    if not wanted:
        return f"the query has no placeholder: write {{{name}:String}} in it"
    near = difflib.get_close_matches(name, wanted, n=1) or list(wanted)
    return f"the query has no placeholder of this name: use {' or '.join(near)}"


def _as_type(value: str, kind: str, now: datetime) -> str:
    plain = re.sub(r"^Nullable\((.*)\)$", r"\1", kind)
    if not plain.startswith("Date"):
        return value
    moment = parse_time(value, now).astimezone(UTC)
    if plain.startswith("DateTime64"):
        return f"{moment:%Y-%m-%d %H:%M:%S.%f}"
    return f"{moment:%Y-%m-%d %H:%M:%S}" if plain.startswith("DateTime") else f"{moment:%Y-%m-%d}"


def binary_format(sql: str, output_format: str) -> str | None:
    """Return the format of an answer that no terminal can show; None: it can be shown."""
    found = _classified(sql.encode())
    if found is None or found.kind is StatementKind.INSERT_DATA:
        return None
    chosen = found.format or output_format
    return chosen if chosen in _BINARY else None


def explain(words: str, sql: str) -> str:
    """Return a clearer error about a view with parameters, or the words as they are.

    Args:
        words: The error of ClickHouse.
        sql: The statement.
    """
    views = {name for name in schema.newest().views if dictionary.parameters(name)}
    if not_set := _NOT_SET.search(words):
        missing = not_set[1]
        if missing in schema.parameters(sql):
            return (
                f"the query needs a value of {missing}: add --param {missing}=VALUE,"
                f" or {missing}=… in Python"
            )
        for name in _CALL.findall(sql):
            if name in views and missing in dictionary.parameters(name):
                return f"{name} needs {missing}: {dictionary.example(name)}"
    for name in _SOURCE.findall(sql):
        if name in views:
            return f"{name} needs parameters: {dictionary.example(name)}"
    return words
