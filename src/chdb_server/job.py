"""One request's work on the engine, from its body to its result. It runs in a worker thread."""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

from chdb_server.config import MAX_QUERY_BYTES
from chdb_server.engine import Engine, Handle, Purpose, Statistics, quote
from chdb_server.errors import ClientGone, Rejected
from chdb_server.protocol import NOT_IMPLEMENTED, Request
from chdb_server.statement import SYNTAX_ERROR, Statement, StatementKind, classify

MAX_MEMORY_BYTES = 32 << 20
_BLOCK_NAME = "insert_deduplication_token"
# Replaces the file of a request when a statement is checked, so that equal statements match.
_ANY_FILE = "/dev/fd/0"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a request.

    Attributes:
        result: The result, unless it went through the pipe.
        statistics: Rows, bytes and time.
        format: Its format; None if the statement has no result.
    """

    result: bytes
    statistics: Statistics
    format: str | None


class OtherThread(Exception):
    """The job belongs to the other pool of threads: run it there."""


class Job:
    """Carries out one request. `run` blocks; all other methods are for the event loop."""

    def __init__(
        self,
        engine: Engine,
        request: Request,
        body: Iterable[bytes],
        announce: Callable[[int, str], None],
    ) -> None:
        """Prepare the work.

        Args:
            engine: The engine that does the work.
            request: The request.
            body: The decompressed body; read as the engine needs it, without waiting for the
                client.
            announce: Called from the worker thread when a result starts to flow, with the
                descriptor of a pipe to read it from and its format. The receiver closes it.
        """
        self._engine = engine
        self._request = request
        self._body = iter(body)
        self._announce = announce
        self._cancelled = False
        self._target = ""
        self._lock = threading.Lock()
        self._found: tuple[Statement, Iterator[bytes]] | None = None

    def run(self, *, inserts: bool) -> Outcome:
        """Do the work. Blocks for as long as the statement and the client take.

        Args:
            inserts: Whether this thread is one of those for rows to insert.

        Raises:
            Rejected: The error for the client.
            ClientGone: The client left in the middle of the body; no row was inserted.
            OtherThread: The work belongs to the other threads; nothing was done yet.
        """
        self._found = self._found or self._read_statement()
        statement, data = self._found
        if inserts != (statement.kind is StatementKind.INSERT_DATA):
            raise OtherThread
        with self._engine.handle(self._purpose(statement)) as handle:
            settings, clause = _split_settings(self._request.settings, statement)
            handle.prepare(settings, self._request.database)
            return self._execute(handle, statement, data, clause)

    def _purpose(self, statement: Statement) -> Purpose:
        if self._request.readonly:
            return "read only"
        return "read" if statement.kind is StatementKind.READ else "write"

    def cancel(self) -> None:
        """Stop a running read. Blocks briefly; has no effect on a statement that writes."""
        with self._lock:
            self._cancelled = True
            target = self._target
        if target:
            self._engine.cancel_writing_to(target)

    def _execute(
        self, handle: Handle, statement: Statement, data: Iterator[bytes], clause: bytes
    ) -> Outcome:
        params = self._request.params
        match statement.kind:
            case StatementKind.EMPTY:
                raise Rejected(SYNTAX_ERROR, "SYNTAX_ERROR", "Empty query")
            case StatementKind.READ:
                return self._read(handle, statement)
            case StatementKind.INSERT_DATA:
                if statement.format is None:
                    raise Rejected(
                        SYNTAX_ERROR,
                        "SYNTAX_ERROR",
                        f"Syntax error: failed at position {len(statement.text) + 1} (end of "
                        "query). Expected one of: VALUES, FORMAT, SELECT, WITH",
                    )
                self._check(statement, statement.from_file(_ANY_FILE, b""), 1)
                with self._spooled(data) as source:
                    sql = statement.from_file(source, clause)
                    return Outcome(b"", handle.query(sql, "TSV", params)[1], None)
            case StatementKind.SET | StatementKind.USE:
                raise Rejected(
                    NOT_IMPLEMENTED,
                    "NOT_IMPLEMENTED",
                    f"{statement.kind.name} would end with its request, because this server keeps "
                    "no sessions: send settings and database as parameters of each request",
                )
            case StatementKind.ANSWER | StatementKind.OTHER:
                self._check(statement, statement.text, 0)
                name = statement.format or self._request.default_format
                result, statistics = handle.query(statement.text, name, params)
                answers = bool(result) or statement.kind is StatementKind.ANSWER
                return Outcome(result, statistics, name if answers else None)

    def _check(self, statement: Statement, sql: bytes, own_file_clauses: int) -> None:
        self._engine.check(
            sql,
            statement.kind,
            own_file_clauses=own_file_clauses,
            read_only=self._request.readonly,
        )

    def _read(self, handle: Handle, statement: Statement) -> Outcome:
        """Let the engine write the result into a pipe, in the format's own true form.

        chDB's own streaming repeats a format's header in every chunk and gives no
        statistics, and its plain query holds the whole result in memory.
        """
        name = statement.format or self._request.default_format
        self._check(statement, statement.into(_ANY_FILE, name), 1)
        reader, writer = os.pipe()
        try:
            target = f"/dev/fd/{writer}"
            self._announce(reader, name)
            with self._lock:
                if self._cancelled:
                    raise ClientGone("the client left before its query began")
                self._target = target
            sql = statement.into(target, name)
            _, statistics = handle.query(sql, name, self._request.params)
            return Outcome(b"", statistics, name)
        finally:
            with self._lock:
                self._target = ""
            os.close(writer)

    @contextmanager
    def _spooled(self, data: Iterable[bytes]) -> Iterator[str]:
        """Provide the data of an INSERT as a file without a name, complete or not at all.

        chDB's streaming insert reports success for rows that the table then refuses (a violated
        constraint), and its plain query splits data wrongly at blank lines. Up to MAX_MEMORY_BYTES
        the file is in memory: ext4 takes milliseconds to find a file's place where many files were
        just deleted. (Only Linux has such files.)
        """
        with ExitStack() as opened:
            in_memory = sys.platform == "linux"
            file: IO[bytes] = opened.enter_context(self._new_file(in_memory=in_memory))
            for chunk in data:
                if in_memory and file.tell() > MAX_MEMORY_BYTES:
                    on_disk = opened.enter_context(self._new_file(in_memory=False))
                    file.seek(0)
                    shutil.copyfileobj(file, on_disk)
                    file.truncate(0)
                    file, in_memory = on_disk, False
                file.write(chunk)
            file.flush()
            file.seek(0)
            yield f"/dev/fd/{file.fileno()}"

    def _new_file(self, *, in_memory: bool) -> IO[bytes]:
        if in_memory and sys.platform == "linux":
            return os.fdopen(os.memfd_create("insert"), "w+b")
        return tempfile.TemporaryFile(dir=self._engine.path)

    def _read_statement(self) -> tuple[Statement, Iterator[bytes]]:
        """Return the statement, and the rows that follow it if it is an INSERT."""
        sql = self._request.query
        more = True
        while more and len(sql) <= MAX_QUERY_BYTES:
            sql, more = self._join(sql)
        statement = classify(sql)
        has_data = statement.kind is StatementKind.INSERT_DATA and statement.format is not None
        if len(sql) > MAX_QUERY_BYTES and not has_data:
            raise Rejected(SYNTAX_ERROR, "SYNTAX_ERROR", "Max query size exceeded")
        return statement, self._data(sql, statement)

    def _join(self, sql: bytes) -> tuple[bytes, bool]:
        """Append the next piece of the body; the query of the URL ends with a line break."""
        piece = next(self._body, None)
        if piece is None:
            return sql, False
        if piece and sql and sql is self._request.query:
            return sql + b"\n" + piece, True
        return sql + piece, True

    def _data(self, sql: bytes, statement: Statement) -> Iterator[bytes]:
        yield memoryview(sql)[statement.data_start :].tobytes()
        yield from self._body


def _split_settings(
    settings: Mapping[str, str], statement: Statement
) -> tuple[Mapping[str, str], bytes]:
    """Take the deduplication token out of the settings; it goes into the INSERT's own clause.

    It is new with every block, and a SET for it would cost a fifth of a small insert.
    """
    token = settings.get(_BLOCK_NAME)
    if (
        token is None
        or statement.kind is not StatementKind.INSERT_DATA
        or statement.settings_start is not None
    ):
        return settings, b""
    rest = {name: value for name, value in settings.items() if name != _BLOCK_NAME}
    return rest, f"\nSETTINGS {_BLOCK_NAME} = {quote(token)}".encode()
