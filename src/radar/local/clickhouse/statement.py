"""What an SQL text asks for, as far as the HTTP interface has to know it.

ClickHouse's own parser runs inside the engine; this module only finds the few things that
decide how a request is carried out: whether it reads or writes, which format it names, and
where the data of an INSERT begins. It is pure: no engine, no I/O.

Facts from the ClickHouse documentation: "HTTP interface", "INSERT INTO statement", "FORMAT
clause", "INTO OUTFILE clause", "SQL syntax" (literals, comments, heredocs).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from radar.local.clickhouse.errors import Rejected

SYNTAX_ERROR = 62
INTO_OUTFILE_NOT_ALLOWED = 358
SUPPORT_IS_DISABLED = 344

_TOKEN = re.compile(
    rb"""
    (?P<space>\s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
  | (?P<quoted>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*`
             | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<word>[A-Za-z0-9_$\x80-\xff]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_READS = frozenset({"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN"})
_ANSWERS = frozenset({"KILL", "CHECK", "BACKUP", "RESTORE"})


class Kind(Enum):
    """How a statement is carried out."""

    EMPTY = "empty"
    READ = "read"
    """Streams a result, changes nothing."""
    ANSWER = "answer"
    """Does something and reports it as a small result."""
    INSERT_DATA = "insert data"
    """INSERT whose rows follow in the request."""
    INSERT_INPUT = "insert input"
    """INSERT ... SELECT ... FROM input(...) whose rows follow in the request."""
    SET = "set"
    USE = "use"
    OTHER = "other"
    """DDL, INSERT ... SELECT, SYSTEM: no result."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One classified SQL text.

    Attributes:
        kind: How to carry it out.
        text: The SQL without a trailing semicolon; of an INSERT with data only the part
            before VALUES or FORMAT.
        format: The named format: of the result, or of an INSERT's data. None if not named.
        tail: What follows the FORMAT clause of a read, a SETTINGS clause.
        data_start: Offset of the first data byte of an INSERT in the classified text.
        input_call: Offsets in `text` around `input(`, of an INSERT_INPUT.
        settings_start: Offset in `text` of an INSERT's own SETTINGS clause; None without one.
    """

    kind: Kind
    text: bytes
    format: str | None = None
    tail: bytes = b""
    data_start: int = 0
    input_call: tuple[int, int] = (0, 0)
    settings_start: int | None = None

    @property
    def allowed_by_get(self) -> bool:
        """Whether ClickHouse runs it in a GET request, which implies readonly."""
        return self.kind in (Kind.READ, Kind.SET, Kind.USE, Kind.EMPTY)

    @property
    def keeps_state(self) -> bool:
        """Whether it may leave something behind in the session that ran it."""
        return self.kind in (Kind.SET, Kind.USE) or b"temporary" in self.text[:256].lower()

    def from_file(self, source: str, clause: bytes) -> bytes:
        """Return the text of an INSERT that takes its data from the file `source`.

        Args:
            source: The file.
            clause: A SETTINGS clause for an INSERT that has none.
        """
        start = len(self.text) if self.settings_start is None else self.settings_start
        infile = f"\nFROM INFILE '{source}'\n".encode()
        text = self.text[:start] + infile + self.text[start:] + clause
        return text + f"\nFORMAT {self.format}".encode()

    def into(self, target: str, default_format: str) -> bytes:
        """Return the text of a read that writes its result to the file `target`."""
        name = self.format or default_format
        clause = f"\nINTO OUTFILE '{target}' APPEND\nFORMAT {name}"
        return self.text + clause.encode() + self.tail


@dataclass(frozen=True, slots=True)
class _Token:
    text: bytes
    start: int
    end: int
    depth: int
    word: str
    """In capitals; empty unless the token is a bare word."""


def _tokens(sql: bytes) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "space":
            continue
        text = match.group()
        word = text.decode("latin-1").upper() if match.lastgroup == "word" else ""
        if text in (b")", b"]", b"}"):
            depth -= 1
        yield _Token(text, match.start(), match.end(), depth, word)
        if text in (b"(", b"[", b"{"):
            depth += 1


def classify(sql: bytes) -> Statement:
    """Find out how to carry out `sql`, which may be followed by the data of an INSERT.

    Raises:
        Rejected: Several statements in one request, or a clause that only the command-line
            client may use (INTO OUTFILE, FROM INFILE).
    """
    tokens = _tokens(sql)
    first = next((token for token in tokens if token.text not in (b"(", b";")), None)
    if first is None:
        return Statement(Kind.EMPTY, sql)
    if first.word == "INSERT":
        return _classify_insert(sql, tokens)
    everything = _single_statement(list(_tokens(sql)))
    end = everything[-1].end
    top = [token for token in everything if token.depth == 0]
    _forbid_files(top)
    if first.word == "WITH" and any(token.word == "INSERT" for token in top):
        return Statement(Kind.OTHER, sql[:end])
    if first.word in ("SET", "USE"):
        return Statement(Kind[first.word], sql[:end])
    if first.word in _ANSWERS:
        return Statement(Kind.ANSWER, sql[:end], _find_format(top)[0])
    if first.word not in _READS:
        return Statement(Kind.OTHER, sql[:end])
    name, start, stop = _find_format(top)
    if name is None:
        return Statement(Kind.READ, sql[:end])
    return Statement(Kind.READ, sql[:start], name, sql[stop:end])


def split(sql: bytes) -> tuple[list[bytes], bytes]:
    """Divide at semicolons; those within quotes, comments and brackets do not count.

    Returns:
        The statements that a semicolon ends, without it, empty ones left out; and what follows,
        which may have just begun.
    """
    statements = []
    start = end = 0
    for token in _tokens(sql):
        end = token.end
        if token.text in (b"'", b'"', b"`") or sql.startswith(b"/*", token.start):
            # Opened and not closed.
            break
        if token.text == b";":
            statements.append(sql[start : token.start].strip())
            start = token.end
    # What follows may be a comment alone.
    return [each for each in statements if each], sql[start:] if end > start else b""


def _single_statement(tokens: list[_Token]) -> list[_Token]:
    while tokens and tokens[-1].text == b";":
        tokens.pop()
    for token in tokens:
        if token.text == b";":
            raise Rejected(
                SYNTAX_ERROR,
                "SYNTAX_ERROR",
                f"Syntax error (Multi-statements are not allowed): failed at position "
                f"{token.end} (end of query)",
            )
    return tokens


def _forbid_files(top: list[_Token]) -> None:
    for token, following in pairwise(top):
        if token.word == "INTO" and following.word == "OUTFILE":
            raise Rejected(
                INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed"
            )


def _find_format(top: list[_Token]) -> tuple[str | None, int, int]:
    """Return the name, start and end of the closing FORMAT clause, if there is one."""
    for index in range(len(top) - 2, -1, -1):
        token, name = top[index], top[index + 1]
        if token.word == "FORMAT" and name.word:
            rest = top[index + 2 :]
            if not rest or rest[0].word == "SETTINGS":
                return name.text.decode("latin-1"), token.start, name.end
    return None, 0, 0


def _classify_insert(sql: bytes, tokens: Iterator[_Token]) -> Statement:
    """Classify what follows INSERT; stops at the data, which is never looked at."""
    selects = False
    settings_start: int | None = None
    input_call = (0, 0)
    end = len(sql)
    previous = _Token(b"INSERT", 0, 0, 0, "INSERT")
    for token in tokens:
        if token.text == b";":
            _single_statement([token, *_tokens(sql[token.end :])])
            end = token.start
            break
        if selects and token.text == b"(" and previous.word == "INPUT":
            input_call = (previous.start, token.end)
        if token.depth == 0:
            _forbid_infile(previous, token)
            kind = Kind.INSERT_INPUT if input_call[1] else Kind.INSERT_DATA
            rows_follow = not selects or kind is Kind.INSERT_INPUT
            if token.word == "VALUES" and not selects:
                return Statement(
                    kind,
                    sql[: token.start],
                    "Values",
                    data_start=token.end,
                    settings_start=settings_start,
                )
            if rows_follow and previous.word == "FORMAT" and token.word:
                return Statement(
                    kind,
                    sql[: previous.start],
                    token.text.decode("latin-1"),
                    data_start=_skip_to_data(sql, token.end),
                    input_call=input_call,
                    settings_start=settings_start,
                )
        if token.word == "SETTINGS" and token.depth == 0:
            settings_start = token.start
        selects = selects or token.word in ("SELECT", "WITH")
        previous = token
    if selects:
        return Statement(Kind.OTHER, sql[:end])
    return Statement(Kind.INSERT_DATA, sql[:end], None, data_start=len(sql))


def _forbid_infile(previous: _Token, token: _Token) -> None:
    if token.word == "INFILE" and previous.word == "FROM":
        raise Rejected(SUPPORT_IS_DISABLED, "SUPPORT_IS_DISABLED", "FROM INFILE is not allowed")


def _skip_to_data(sql: bytes, position: int) -> int:
    """Skip blanks and one line break after the format's name, as ClickHouse's parser does."""
    while sql[position : position + 1] in (b" ", b"\t", b"\f"):
        position += 1
    if sql[position : position + 1] == b"\r":
        position += 1
    if sql[position : position + 1] == b"\n":
        position += 1
    return position
