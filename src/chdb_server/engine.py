"""ClickHouse inside this process: the only module that imports chDB.

One engine serves one data folder in one process. A handle is a ClickHouse session: cheap to open
(about 0.2 ms), and runs one statement at a time. Every method here blocks, and chDB releases the
interpreter lock meanwhile; call them from worker threads.

Sources: chDB's docstrings of `connect`, `send_insert`; ClickHouse documentation "SET
statement", "KILL statement", "Server settings", "INTO OUTFILE clause".
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Literal, Protocol

import chdb

from chdb_server import config
from chdb_server.errors import DataUnavailable, Rejected, from_engine
from chdb_server.statement import StatementKind, check_canonical, classify

DEFAULT_DATABASE = "default"

# chDB opens its sessions with the conveniences of the command-line tool. A server does
# without them: `implicit_select` would turn any syntax error into an unknown column.
_SERVER_LIKE = {
    "implicit_select": "0",
    "allow_introspection_functions": "0",
    # Times without a zone are UTC, whatever the machine's zone is.
    "session_timezone": "UTC",
}
# With this the engine itself refuses every statement that writes, or that changes this setting.
_READ_ONLY = b"SET readonly = 2"
# ClickHouse reads values of these types as literals, and other values as escaped text.
_COMPOSITE = re.compile(r"\{\s*(\w+)\s*:\s*(?:Array|Tuple|Map)\b")
MAX_CHECKED = 256
MAX_CHECKED_BYTES = 16 * 1024
_FORMAT_QUERY = b"SELECT formatQuery(unhex({sql:String}))"


Purpose = Literal["read", "read only", "write", "parse"]
"""The purpose of a handle: a read by a user with or without the right to write, …"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """The amounts that a statement read and wrote: rows, bytes and nanoseconds."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0


def quote(text: str) -> str:
    """Return `text` as an SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _assignments(values: Mapping[str, str]) -> str:
    return ", ".join(f"{quote_identifier(name)} = {quote(value)}" for name, value in values.items())


def quote_identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


class Handle:
    """One ClickHouse session. Use it in one thread at once.

    A request's settings must not reach the next request. To set and reset them each time would cost
    two statements. So a handle remembers its applied settings, and `prepare` sends only the
    difference: usually no statement, or one SET.
    """

    def __init__(self, connection: Any, base: Mapping[str, str], *, read_only: bool) -> None:
        """Prepare a session.

        Args:
            connection: The session of chDB.
            base: The settings of requests that do not set them.
            read_only: The engine refuses, from now on and for good, every statement that writes.
        """
        self._connection = connection
        self._base = dict(base)
        self._database = DEFAULT_DATABASE
        self._overrides: dict[str, str] = {}
        self._run(f"SET {_assignments(base)}".encode())
        if read_only:
            self._run(_READ_ONLY)

    def prepare(self, settings: Mapping[str, str], database: str | None) -> None:
        """Make exactly `settings` and `database` hold for the next statement.

        Raises:
            Rejected: An unknown setting, a value that does not parse or is out of bounds, an
                unknown database.
        """
        if settings != self._overrides:
            self._change_settings(settings)
        wanted = database or DEFAULT_DATABASE
        if wanted != self._database:
            self._run(f"USE {quote_identifier(wanted)}".encode())
            self._database = wanted

    def query(
        self, sql: bytes, output_format: str, params: Mapping[str, str] | None = None
    ) -> tuple[bytes, Statistics]:
        """Run a statement and return its whole result and its statistics.

        Raises:
            Rejected: The engine refuses the statement.
        """
        started = perf_counter_ns()
        result = self._run(sql, output_format, params)
        statistics = Statistics(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            result_bytes=result.bytes_read(),
            elapsed_ns=perf_counter_ns() - started,
        )
        return bytes(result.bytes() or b""), statistics

    def close(self) -> None:
        """Close the session with its temporary tables and settings; raises no error."""
        with suppress(Exception):
            self._connection.close()

    def _change_settings(self, settings: Mapping[str, str]) -> None:
        gone = self._overrides.keys() - settings.keys()
        changed = {k: v for k, v in settings.items() if self._overrides.get(k) != v}
        self._overrides = dict(settings)
        resets = [f"{quote_identifier(name)} = {self._reset_value(name)}" for name in sorted(gone)]
        assignments = [*resets, *([_assignments(changed)] if changed else [])]
        if assignments:
            self._run(f"SET {', '.join(assignments)}".encode())

    def _reset_value(self, name: str) -> str:
        return quote(self._base[name]) if name in self._base else "DEFAULT"

    def _run(
        self, sql: bytes, output_format: str = "TSV", params: Mapping[str, str] | None = None
    ) -> Any:
        try:
            return self._connection.query(sql, output_format, params=dict(params or {}))
        except Exception as error:
            raise from_engine(error) from error


class Engine:
    """The ClickHouse of one data folder, with a pool of clean handles of each sort."""

    def __init__(
        self,
        path: Path,
        config_file: Path,
        memory_limit_bytes: int = config.DEFAULT_MEMORY_LIMIT_BYTES,
    ) -> None:
        """Open a folder that `config.prepare` has prepared. Blocks for 50 ms, more if it is large.

        Args:
            path: The data folder; it must be on a local disk.
            config_file: The file that `config.prepare` returned.
            memory_limit_bytes: Upper bound for all queries and merges together.

        Raises:
            DataUnavailable: It cannot be opened.
        """
        self.path = path.resolve()
        self._address = f"{self.path}?config-file={config_file}"
        read_limits = {
            "max_execution_time": str(config.READ_TIME_LIMIT_S),
            "max_memory_usage": str(config.query_memory_bytes(memory_limit_bytes)),
        }
        self._bases: dict[Purpose, dict[str, str]] = {
            "read": _SERVER_LIKE | read_limits,
            "read only": _SERVER_LIKE | read_limits,
            "write": _SERVER_LIKE,
            "parse": _SERVER_LIKE | read_limits | {"max_query_size": str(config.MAX_QUERY_BYTES)},
        }
        self._idle: dict[Purpose, list[Handle]] = {purpose: [] for purpose in self._bases}
        self._passed: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = threading.Lock()
        # The engine lives as long as any session does; this one keeps it alive.
        self._anchor = _connect(self._address, self.path)
        with self.handle("parse") as handle:
            names, _ = handle.query(b"SELECT lower(name) FROM system.table_functions", "TSVRaw")
        self._table_functions = frozenset(names.split())

    @contextmanager
    def handle(self, purpose: Purpose = "write") -> Iterator[Handle]:
        """Lend a clean handle for one statement; after a failed statement it is closed.

        Args:
            purpose: For all but `write` the engine bounds time and memory. For `read only` and
                `parse` it refuses every statement that writes.
        """
        handle = self._acquire(purpose)
        clean = False
        try:
            yield handle
            clean = True
        finally:
            if clean:
                with self._lock:
                    self._idle[purpose].append(handle)
            else:
                handle.close()

    def _acquire(self, purpose: Purpose) -> Handle:
        with self._lock:
            if self._idle[purpose]:
                return self._idle[purpose].pop()
        connection = _connect(self._address, self.path)
        return Handle(connection, self._bases[purpose], read_only=purpose in ("read only", "parse"))

    def check(
        self,
        sql: bytes,
        kind: StatementKind,
        *,
        own_file_clauses: int = 0,
        read_only: bool = False,
    ) -> None:
        """Let the engine's own parser confirm that a text is what it was taken for.

        Blocks for about a millisecond; a text that was checked lately costs no time.

        Args:
            sql: The statement to run.
            kind: Its kind, as `classify` has found it.
            own_file_clauses: How many INTO OUTFILE and FROM INFILE the caller has put into it.
            read_only: It must be a read.

        Raises:
            Rejected: It is no statement, several, another kind of statement, or one that no user
                may run (`check_canonical`).
        """
        checked = (sql, kind, own_file_clauses, read_only)
        with self._lock:
            if checked in self._passed:
                self._passed.move_to_end(checked)
                return
        check_canonical(
            self._canonical(sql),
            kind,
            own_file_clauses=own_file_clauses,
            read_only=read_only,
            table_functions=self._table_functions,
        )
        if len(sql) <= MAX_CHECKED_BYTES:
            with self._lock:
                self._passed[checked] = None
                if len(self._passed) > MAX_CHECKED:
                    self._passed.popitem(last=False)

    def _canonical(self, sql: bytes) -> bytes:
        """Return a statement in the form of the engine's parser: no comments, plain quotes."""
        with self.handle("parse") as handle:
            try:
                return handle.query(_FORMAT_QUERY, "TSVRaw", {"sql": sql.hex()})[0]
            except Rejected as error:
                # The engine appends our own query, in which the statement stood.
                detail = error.detail.partition(": In scope SELECT formatQuery")[0]
                raise Rejected(error.code, error.name, detail) from error

    def cancel_writing_to(self, target: str) -> None:
        """Stop the statement that writes INTO OUTFILE `target`, if it runs."""
        # Split in two, so that the statement does not find itself.
        marker = f"concat('OUTFILE ''', {quote(target + chr(39))})"
        with suppress(Rejected), self.handle() as handle:
            handle.prepare({}, None)
            handle.query(f"KILL QUERY WHERE position(query, {marker}) > 0 ASYNC".encode(), "TSV")

    def cancel_all(self) -> None:
        """Stop every running statement but this one."""
        with suppress(Rejected), self.handle() as handle:
            handle.prepare({}, None)
            handle.query(b"KILL QUERY WHERE query_kind != 'KillQuery' ASYNC", "TSV")

    def close(self) -> None:
        """Close all sessions and with them the engine; waits for running merges to stop."""
        with self._lock:
            idle = [handle for handles in self._idle.values() for handle in handles]
            self._idle = {purpose: [] for purpose in self._bases}
        for handle in idle:
            handle.close()
        with suppress(Exception):
            self._anchor.close()


class AskDirectly(Protocol):
    """Runs one statement and returns its result; blocks.

    Args:
        sql: Any ClickHouse SQL; a FORMAT clause in it wins over `output_format`.
        output_format: Name of a ClickHouse output format.
        parameters: Values of `{name:Type}` placeholders; of an array, tuple or map its literal.
        settings: Settings of ClickHouse for this statement.

    Raises:
        Rejected: ClickHouse refuses the statement.
    """

    def __call__(
        self,
        sql: str,
        output_format: str,
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return the result in the format."""


@contextmanager
def open_directly(
    path: Path, database: str = DEFAULT_DATABASE, *, read_only: bool = True, wait_s: float = 0
) -> Iterator[AskDirectly]:
    """Open a data folder that no other process has open, for the time of a block. Blocks.

    Args:
        path: The data folder of an embedded ClickHouse.
        database: Current database of the statements.
        read_only: The engine refuses every statement that writes.
        wait_s: How long to wait for another process that has the folder open.

    Raises:
        PathInUse: A running server has the folder open; query that one over HTTP.
        DataUnavailable: There is no data folder, or it cannot be opened.
    """
    if not path.is_dir():
        raise DataUnavailable(f"no data folder at {path}")
    engine = Engine(path, config.prepare(path, wait_s=wait_s))

    def ask(
        sql: str,
        output_format: str,
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> bytes:
        engine.check(sql.encode(), classify(sql.encode()).kind, read_only=read_only)
        with engine.handle("read only" if read_only else "write") as handle:
            handle.prepare(settings or {}, database)
            literals = set(_COMPOSITE.findall(sql))
            escaped = {
                name: value if name in literals else _escape(value)
                for name, value in (parameters or {}).items()
            }
            return handle.query(sql.encode(), output_format, escaped)[0]

    try:
        yield ask
    finally:
        engine.close()


def _escape(value: str) -> str:
    """Write the value of a placeholder in the form that ClickHouse reads."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _connect(address: str, path: Path) -> Any:
    try:
        return chdb.connect(address)
    except Exception as error:
        raise DataUnavailable(f"cannot open the data folder {path}: {error}") from error
