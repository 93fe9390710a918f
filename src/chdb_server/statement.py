"""Classifies an SQL text, as far as the HTTP interface needs it.

ClickHouse's own parser runs inside the engine. This module only finds the few facts that decide how
a request is carried out: whether it reads or writes, which format it names, and where the data of
an INSERT begins. It is pure: no engine, no I/O.

It is no security boundary: it classifies some texts otherwise than the engine. So the engine's
parser rewrites each statement before it runs (`Engine.check`), and `check_canonical` refuses it if
that text is another kind of statement.

Facts from the ClickHouse documentation: "HTTP interface", "INSERT INTO statement", "FORMAT
clause", "INTO OUTFILE clause", "SQL syntax" (literals, comments, heredocs).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from chdb_server.errors import Rejected

SYNTAX_ERROR = 62
INTO_OUTFILE_NOT_ALLOWED = 358
SUPPORT_IS_DISABLED = 344
ACCESS_DENIED = 497
READONLY = 164
NOT_IMPLEMENTED = 48
MAX_TOKENS = 300_000
# Each of them costs a search through the whole text.
MAX_OPEN_HEREDOCS = 8

# Each token takes time in proportion to its length: quotes never backtrack, and what is opened and
# not closed is one token up to the end of the text.
_TOKEN = re.compile(
    rb"""
    (?P<space>\s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
  | (?P<quoted>'(?:[^'\\]|\\.|'')*+' | "(?:[^"\\]|\\.|"")*+" | `(?:[^`\\]|\\.|``)*+` )
  | (?P<open>['"`].* | /\*.* )
  | (?P<heredoc>\$\w*\$ )
  | (?P<word>[A-Za-z0-9_$\x80-\xff]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# The quotes around text in a statement that ClickHouse has formatted itself.
_LITERAL = re.compile(rb"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`""", re.DOTALL)
_FILE_CLAUSE = re.compile(rb"INTO\s+OUTFILE\s+''|FROM\s+INFILE\s+''")
_TEMPORARY = re.compile(rb"\s*(CREATE|REPLACE|CREATE\s+OR\s+REPLACE)\s+TEMPORARY\b")
_STRING = re.compile(rb"""'(?:[^'\\]|\\.)*'""", re.DOTALL)
_CALL = re.compile(rb"(?:`([^`]*)`|\b(\w+))\s*\(")
_APPLIED = re.compile(rb"\bAPPLY[\s(]+(?:`([^`]*)`|(\w+))")
# The only place of a backup; the engine refuses it if it is not configured.
_BACKUPS = re.compile(rb"\bDisk\('backups', '[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*'\)")
_ENGINE = re.compile(rb"\bENGINE = `?(\w+)")
# Table functions that read no more than the user's own tables; ClickHouse has about 90 others.
_OWN_TABLE_FUNCTIONS = frozenset(
    b"numbers numbers_mt zeros zeros_mt generateseries generate_series primes generaterandom null"
    b" values format view viewexplain merge mergetreeindex mergetreeprojection".split()
)
# No table functions, but they open files.
_OPENERS = frozenset({b"file", b"disk"})
_OWN_TABLE_ENGINES = re.compile(
    rb"\w*MergeTree|Memory|Null|Log|TinyLog|StripeLog|Set|Join|Buffer|Merge|GenerateRandom|Atomic"
)
_READS = frozenset({"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN"})
_HARMLESS = _READS | {"INSERT", "CREATE", "SET", "USE"}
_ANSWERS = frozenset({"KILL", "CHECK", "BACKUP", "RESTORE"})


class StatementKind(Enum):
    """How a statement is carried out."""

    EMPTY = "empty"
    READ = "read"
    """Streams a result, changes no data."""
    ANSWER = "answer"
    """Changes a state and reports it as a small result."""
    INSERT_DATA = "insert data"
    """INSERT whose rows follow in the request."""
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
        tail: The text behind the FORMAT clause of a read, a SETTINGS clause.
        data_start: Offset of the first data byte of an INSERT in the classified text.
        settings_start: Offset in `text` of an INSERT's own SETTINGS clause; None without one.
    """

    kind: StatementKind
    text: bytes
    format: str | None = None
    tail: bytes = b""
    data_start: int = 0
    settings_start: int | None = None

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


class _Token(NamedTuple):
    """One token.

    Attributes:
        text: As it stands in the statement.
        start: Where it begins in the text.
        end: Where it ends.
        depth: How many brackets are open around it.
        word: In capitals; empty unless the token is a bare word.
        is_open: It is a quote or a comment that the text does not close.
    """

    text: bytes
    start: int
    end: int
    depth: int
    word: str
    is_open: bool = False


def _tokens(sql: bytes) -> Iterator[_Token]:
    depth = 0
    for start, end, text, group in _pieces(sql):
        word = text.decode("latin-1").upper() if group == "word" else ""
        if text in (b")", b"]", b"}"):
            depth -= 1
        yield _Token(text, start, end, depth, word, group == "open")
        if text in (b"(", b"[", b"{"):
            depth += 1


def _pieces(sql: bytes) -> Iterator[tuple[int, int, bytes, str | None]]:
    """Yield start, end, text and group of each token but white space and comments."""
    number = position = open_heredocs = 0
    while position < len(sql):
        for match in _TOKEN.finditer(sql, position):
            group = match.lastgroup
            number += 1
            if number > MAX_TOKENS:
                raise Rejected(SYNTAX_ERROR, "SYNTAX_ERROR", "Max query size exceeded")
            if group == "space":
                continue
            start, end = match.span()
            if group == "heredoc" and (closing := sql.find(match[0], end)) >= 0:
                position = closing + end - start
                yield start, position, sql[start:position], group
                break  # and go on behind it
            if group == "heredoc":
                open_heredocs += 1
                if open_heredocs > MAX_OPEN_HEREDOCS:
                    raise Rejected(SYNTAX_ERROR, "SYNTAX_ERROR", "Too many heredocs are not closed")
            yield start, end, match[0], group
        else:
            return


def classify(sql: bytes) -> Statement:
    """Find out how to carry out `sql`, which may be followed by the data of an INSERT.

    Raises:
        Rejected: Several statements in one request, or a clause that only the command-line
            client may use (INTO OUTFILE, FROM INFILE).
    """
    tokens = _tokens(sql)
    first = next((token for token in tokens if token.text not in (b"(", b";")), None)
    if first is None:
        return Statement(StatementKind.EMPTY, sql)
    if first.word == "INSERT":
        return _classify_insert(sql, tokens)
    everything = _single_statement(list(_tokens(sql)))
    end = everything[-1].end
    top = [token for token in everything if token.depth == 0]
    _forbid_files(top)
    if first.word == "WITH" and any(token.word == "INSERT" for token in top):
        return Statement(StatementKind.OTHER, sql[:end])
    if first.word in ("SET", "USE"):
        return Statement(StatementKind[first.word], sql[:end])
    if first.word in _ANSWERS:
        return Statement(StatementKind.ANSWER, sql[:end], _find_format(top)[0])
    if first.word not in _READS:
        return Statement(StatementKind.OTHER, sql[:end])
    name, start, stop = _find_format(top)
    if name is None:
        return Statement(StatementKind.READ, sql[:end])
    return Statement(StatementKind.READ, sql[:start], name, sql[stop:end])


def begins_insert(sql: bytes) -> bool:
    """Return whether a text begins as an INSERT does; this only chooses its thread."""
    return _first_word(_tokens(sql)) == "INSERT"


def may_destroy(sql: bytes) -> bool:
    """Return whether a statement may delete data, so that the user should be asked first.

    Everything may that is not known to be harmless, and every text that ClickHouse may read
    otherwise than this module does.
    """
    tokens = list(_tokens(sql))
    begins = next((token.word for token in tokens if token.word), "")
    if begins not in _HARMLESS:
        return bool(tokens)
    return any(
        token.word == "REPLACE" or (not token.text.isascii() and not _is_quoted(token))
        for token in tokens
    )


def _first_word(tokens: Iterable[_Token]) -> str:
    return next((token.word for token in tokens if token.text != b"("), "")


def _is_quoted(token: _Token) -> bool:
    return token.text[:1] in b"'\"`$" and len(token.text) > 1 and token.text[-1:] == token.text[:1]


def check_canonical(
    canonical: bytes,
    kind: StatementKind,
    *,
    own_file_clauses: int,
    read_only: bool,
    table_functions: frozenset[bytes],
) -> None:
    """Refuse a statement that no user may run, however the text looked.

    Args:
        canonical: The statement as ClickHouse's formatQuery writes it: one statement, without
            comments and inserted data, with literals in plain quotes and keywords in capitals.
        kind: The kind that `classify` found, by which the statement will be run.
        own_file_clauses: How many INTO OUTFILE and FROM INFILE the caller has put into it. The
            client part of chDB carries them out, and no grant has any effect on it.
        read_only: It must change no state.
        table_functions: The names of the engine's table functions, in small letters.

    Raises:
        Rejected: It is another kind of statement, names another file, opens a file, an address or
            a program, or creates a temporary table.
    """
    first = _first_word(_tokens(canonical))
    text = _LITERAL.sub(b"''", canonical)
    if kind is not _kind(first, text):
        raise Rejected(
            SYNTAX_ERROR,
            "SYNTAX_ERROR",
            "Syntax error: the text can be read in two ways; write keywords in plain letters, with "
            "plain spaces and quotes between them",
        )
    if read_only and kind is not StatementKind.READ:
        raise Rejected(
            READONLY,
            "READONLY",
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
            "readonly. You should use method POST for modifying queries.",
        )
    if _TEMPORARY.match(canonical):
        # It would outlive its request in a session that others use.
        raise Rejected(
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED",
            "Temporary tables are not supported, because this server keeps no sessions; "
            "create a table and drop it",
        )
    _forbid_file_clauses(text, own_file_clauses)
    if first in ("BACKUP", "RESTORE"):
        canonical = _BACKUPS.sub(b"''", canonical)
    _forbid_sources(_STRING.sub(b"''", canonical), table_functions)


def _kind(first: str, canonical: bytes) -> StatementKind:
    """Return the kind of a statement as the engine's parser has read it."""
    if first == "INSERT":
        selects = re.search(rb"\b(SELECT|WITH)\b", canonical)
        return StatementKind.OTHER if selects else StatementKind.INSERT_DATA
    if first in ("SET", "USE"):
        return StatementKind[first]
    if first in _ANSWERS:
        return StatementKind.ANSWER
    return StatementKind.READ if first in _READS else StatementKind.OTHER


def _forbid_file_clauses(text: bytes, own: int) -> None:
    clauses = _FILE_CLAUSE.findall(text)
    if len(clauses) == own:
        return
    if any(b"INFILE" in clause for clause in clauses):
        raise Rejected(SUPPORT_IS_DISABLED, "SUPPORT_IS_DISABLED", "FROM INFILE is not allowed")
    raise Rejected(
        INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed"
    )


def _forbid_sources(text: bytes, table_functions: frozenset[bytes]) -> None:
    """Allow only the functions and engines that reach nothing but the user's own tables.

    Some open a file before the engine looks at the user's rights, or ask for no right. A table of
    such a name is refused as well.
    """
    calls = (*_CALL.findall(text), *_APPLIED.findall(text))
    names = {(quoted or bare).lower() for quoted, bare in calls}
    forbidden = names & ((table_functions - _OWN_TABLE_FUNCTIONS) | _OPENERS)
    engines = [name for name in _ENGINE.findall(text) if not _OWN_TABLE_ENGINES.fullmatch(name)]
    for name in (*sorted(forbidden), *engines):
        raise Rejected(
            ACCESS_DENIED,
            "ACCESS_DENIED",
            f"{name.decode(errors='replace')} could reach files or addresses, and is not allowed",
        )


def split(sql: bytes) -> tuple[list[bytes], bytes]:
    """Divide at semicolons; those within quotes, comments and brackets do not count.

    Returns:
        The statements that end with a semicolon, without it and without empty ones; and the rest of
        the text, which may have just begun.
    """
    statements = []
    start = end = 0
    for token in _tokens(sql):
        end = token.end
        if token.is_open:
            break
        if token.text == b";":
            statements.append(sql[start : token.start].strip())
            start = token.end
    # The rest may be a comment alone.
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
    """Classify the text after INSERT; it stops before the data and never reads them."""
    selects = False
    settings_start: int | None = None
    end = len(sql)
    previous = _Token(b"INSERT", 0, 0, 0, "INSERT")
    for token in tokens:
        if token.text == b";":
            _single_statement([token, *_tokens(sql[token.end :])])
            end = token.start
            break
        if selects and token.text == b"(" and previous.word == "INPUT":
            raise Rejected(
                SUPPORT_IS_DISABLED,
                "SUPPORT_IS_DISABLED",
                "input() is not supported by the embedded server; insert the rows as they are",
            )
        if token.depth == 0:
            _forbid_infile(previous, token)
            if token.word == "VALUES" and not selects:
                return Statement(
                    StatementKind.INSERT_DATA,
                    sql[: token.start],
                    "Values",
                    data_start=token.end,
                    settings_start=settings_start,
                )
            if not selects and previous.word == "FORMAT" and token.word:
                return Statement(
                    StatementKind.INSERT_DATA,
                    sql[: previous.start],
                    token.text.decode("latin-1"),
                    data_start=_skip_to_data(sql, token.end),
                    settings_start=settings_start,
                )
        if token.word == "SETTINGS" and token.depth == 0:
            settings_start = token.start
        selects = selects or token.word in ("SELECT", "WITH")
        previous = token
    if selects:
        return Statement(StatementKind.OTHER, sql[:end])
    return Statement(StatementKind.INSERT_DATA, sql[:end], None, data_start=len(sql))


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
