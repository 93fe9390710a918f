"""Classify an error of ClickHouse from its code and its text: pure.

The rule: a message becomes a dead letter only if the error is provably about a value of that
message. There are three such cases: radar's own column cannot take the value, radar's own
constraint refuses it, or radar's own computed column overflows.

Every other error is about the server: a view, constraint or column that radar did not create, the
schema, rights, memory, the disk. Unknown errors count as the server's as well, because they cost a
pause and an alert, but no good row.

Codes and names: ClickHouse's src/Common/ErrorCodes.cpp.
"""

import re
from http import HTTPStatus
from typing import NamedTuple

from radar.errors import (
    BlockTooLarge,
    RadarError,
    StoreNeedsRepair,
    StoreRejected,
    StoreUnavailable,
)
from radar.store import schema
from radar.text import printable

MEMORY_LIMIT_EXCEEDED = 241
VIOLATED_CONSTRAINT = 469
DECIMAL_OVERFLOW = 407
# A single block is over a limit of rows or bytes.
_TOO_LARGE = {158, 307, 396, MEMORY_LIMIT_EXCEEDED}
# Values of a column's type are converted only if they were sent as another type.
_VALUE_CODES = {6, 26, 27, 38, 41, 69, 72, 117, 190, 321, 376, DECIMAL_OVERFLOW, 691}
_DISK_FULL = {243}
_SCHEMA = {8, 10, 16, 36, 47, 60, 81}
_NO_ENTRY = {192, 193, 194, 516}
_NO_RIGHT = {164, 291, 497}
_REMEDIES = {
    115: "the server does not know a setting of radar: update ClickHouse",
    201: "the user's quota is used up: raise it, or wait until its interval is over",
    242: "the table is read-only: see the log of ClickHouse, and SYSTEM RESTART REPLICA",
    252: "merges do not keep up: see system.merges and the disk, or raise BATCH_SIZE and"
    " INSERT_INTERVAL_SECONDS",
}
# Another server may answer where one has these: its network, its Keeper, or its tables fail.
OF_ONE_SERVER = {198, 209, 210, 225, 236, 242, 243, 279, 289, 425, 999}
# An operator has to act on these; the others may pass.
_PERMANENT = {*_SCHEMA, *_NO_ENTRY, *_NO_RIGHT, 53, 115, 242, VIOLATED_CONSTRAINT}

_PREFIX = re.compile(r"^.*?DB::Exception:\s*", re.DOTALL)
_URL = re.compile(r"\s*\(for url [^)]*\)\s*$")
_TRAILER = re.compile(r"\.?\s*\(([A-Z][A-Z0-9_]+)\)(?:\s*\(version .*\))?\.?\s*$", re.DOTALL)
_STATUS = re.compile(r"received HTTP status (\d{3})")
_VIEW = re.compile(r"while pushing to view (\S+?)[.,:)]*(?=\s|$)", re.IGNORECASE)
_TARGET = re.compile(r"Target table '([^']+)' of view", re.IGNORECASE)
_CONSTRAINT = re.compile(r"Constraint `?([^`\s]+)`? for table (\S+)")
_CONVERTING = re.compile(r'while converting column "?`?(\w+)`?"? from type .*? to type (.+?): ')
_NO_SPACE = re.compile(r"No space left|not enough (?:free )?space|Cannot reserve", re.IGNORECASE)
# Of the column quote_amount of trades.
_OWN_OVERFLOW = re.compile(r"toDecimal128\(multiply\(toDecimal256\(price, 18\w*\), toDecimal256\(")
_WORDS_CHARACTERS = 300


class Refusal(NamedTuple):
    """An error answer of ClickHouse, or of a proxy before it.

    Attributes:
        code: ClickHouse's; None if a proxy answered.
        name: Its name, such as UNKNOWN_TABLE; empty if a proxy answered.
        words: One line, without the text that client and server put around it.
        status: Of HTTP, if the answer has no code.
    """

    code: int | None
    name: str
    words: str
    status: int | None

    @property
    def text(self) -> str:
        """The error text with the name."""
        return f"{self.words} ({self.name})" if self.name else self.words


class Sent(NamedTuple):
    """A block that was sent to a table of radar.

    Attributes:
        server: Host and port.
        table: Its name.
        rows: How many.
        size_bytes: Of the request's body.
        disk: Where the server keeps its data, if known.
    """

    server: str
    table: str
    rows: int
    size_bytes: int
    disk: str


def status(text: str) -> int | None:
    """Return the HTTP status of an answer that has no code of ClickHouse."""
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def refusal(code: int | None, text: str) -> Refusal:
    """Parse an error text of the client library."""
    if code is None:
        answered = status(text)
        phrases = {each.value: each.phrase for each in HTTPStatus}
        phrase = phrases.get(answered or 0, "unknown")
        words = f"a server before ClickHouse answers HTTP {answered} ({phrase})"
        return Refusal(None, "", words, answered)
    text, name = _URL.sub("", text), ""
    while match := _PREFIX.match(text):
        text = text[match.end() :]
    while match := _TRAILER.search(text):
        text, name = text[: match.start()], match[1]
    return Refusal(code, name, printable(" ".join(text.split()), _WORDS_CHARACTERS), None)


def of_insert(code: int | None, text: str, block: Sent) -> RadarError:
    """Return the error to raise for a refused insert into a table of radar."""
    found, table = refusal(code, text), block.table
    size = f"a block of {block.rows:,} rows and {block.size_bytes:,} bytes"
    server = f"ClickHouse at {block.server}"
    # A failing view does not undo the row, whatever the view's error is.
    if cause := _foreign_cause(text, table):
        return StoreNeedsRepair(f"{server}: {cause}: {found.text}")
    if found.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return BlockTooLarge(
            f"{server}: {found.words} to {size}: raise its limit of a request's size"
            " (client_max_body_size of nginx)",
            is_stored_in_part=False,
        )
    if code in _TOO_LARGE:
        return BlockTooLarge(
            f"{server}: {size} is too large: raise the limit: {found.text}",
            is_stored_in_part=True,
        )
    if _is_about_a_value(code, text, table):
        return StoreRejected(f"{found.name}: {found.words}")
    return _of_server(found, text, block)


def _foreign_cause(text: str, table: str) -> str:
    """Name the object that radar did not create and that fails; empty if there is none."""
    if view := _VIEW.search(text):
        name = view[1].replace("`", "")
        return (
            f"the materialized view {name} fails and holds up all rows of {table}: repair it,"
            f" or remove it with DROP VIEW {name}"
        )
    if target := _TARGET.search(text):
        return (
            f"a materialized view of {table} writes into {target[1]}, which is missing: create"
            f" that table, or remove the view with DROP VIEW"
        )
    if (constraint := _CONSTRAINT.search(text)) and not _is_own(constraint, table):
        name, where = constraint[1], constraint[2]
        return (
            f"the constraint {name} of {where}, which radar has not made, refuses rows:"
            f" ALTER TABLE {where} DROP CONSTRAINT {name}"
        )
    return ""


def _is_own(constraint: re.Match[str], table: str) -> bool:
    own = schema.newest().tables.get(table)
    where = constraint[2].replace("`", "").rsplit(".", 1)[-1]
    return own is not None and where == table and constraint[1] in own.constraints


def _is_about_a_value(code: int | None, text: str, table: str) -> bool:
    if code == VIOLATED_CONSTRAINT:
        return _CONSTRAINT.search(text) is not None  # radar's own: `_foreign_cause` found no other
    if code not in _VALUE_CODES or (own := schema.newest().tables.get(table)) is None:
        return False
    if converting := _CONVERTING.search(text):
        column = own.columns.get(converting[1])
        return column is not None and re.sub(r"\s", "", converting[2]) == column.type
    return code == DECIMAL_OVERFLOW and _OWN_OVERFLOW.search(text) is not None


def _of_server(found: Refusal, text: str, block: Sent) -> StoreUnavailable:
    remedy = _REMEDIES.get(found.code or 0, "")
    if found.code in _DISK_FULL or _NO_SPACE.search(text):
        remedy = f"disk full: free space at {block.disk}"
    elif found.code in _NO_ENTRY:
        remedy = "the user is refused: set CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"
    elif found.code in _NO_RIGHT:
        remedy = f"the user may not insert into {block.table}: grant the right"
    elif found.code in _SCHEMA:
        remedy = (
            f"{block.table} is missing or lacks a column: `radar doctor` names it, and"
            " `radar migrate` makes it again"
        )
    elif found.code in _VALUE_CODES:
        remedy = (
            f"rows are refused because {block.table} was changed by something other than radar"
            " (a column, an index or a type): undo the change"
        )
    words = f"ClickHouse at {block.server}: {remedy and remedy + ': '}{found.text}"
    permanent = found.code in _PERMANENT | _VALUE_CODES or remedy.startswith("disk full")
    return StoreNeedsRepair(words) if permanent else StoreUnavailable(words)
