"""ClickHouse inside this process: the only module that imports chDB.

One engine serves one data folder in one process. Work goes through handles: a handle is a
ClickHouse session, cheap to open (about 0.2 ms), and runs one statement at a time. Every
method here blocks, and chDB releases the interpreter lock while it does; call them from
worker threads.

Sources: chDB's docstrings of `connect`, `send_insert`; ClickHouse documentation "SET
statement", "KILL statement", "Server settings", "INTO OUTFILE clause".
"""

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Protocol
from xml.sax.saxutils import escape

import chdb

from radar.errors import QueryFailed, StoreUnavailable
from radar.local.clickhouse.errors import PathInUse, Rejected, from_engine

DEFAULT_DATABASE = "default"

# chDB opens its sessions with the conveniences of the command-line tool. A server does
# without them: `implicit_select` would turn any syntax error into an unknown column.
_SERVER_LIKE = {"implicit_select": "0", "allow_introspection_functions": "0"}
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a statement read and wrote: rows, bytes and nanoseconds."""

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


def quote_identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


class Handle:
    """One ClickHouse session. Not safe for use by two threads at once.

    A request's settings must not reach the next request, yet setting and unsetting them
    each time would cost two statements. So a handle remembers what it has applied, and
    `prepare` sends only the difference, usually nothing or one SET.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._own_database = DEFAULT_DATABASE
        self._database = DEFAULT_DATABASE
        self._own_settings = False
        self._overrides: dict[str, str] = {}
        self._saved: dict[str, str] = {}
        self._run(self._set_statement(_SERVER_LIKE))

    def prepare(self, settings: Mapping[str, str], database: str | None) -> None:
        """Make exactly `settings` and `database` hold for the next statement.

        Raises:
            Rejected: An unknown setting, a value that does not parse, an unknown database.
        """
        if settings != self._overrides:
            self._change_settings(settings)
        wanted = database or self._own_database
        if wanted != self._database:
            self._run(f"USE {quote_identifier(wanted)}".encode())
            self._database = wanted

    def query(
        self, sql: bytes, output_format: str, params: Mapping[str, str] | None = None
    ) -> tuple[bytes, Statistics]:
        """Run a statement and return its whole result and its statistics.

        Raises:
            Rejected: Whatever the engine refuses.
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

    def change_own_settings(self, sql: bytes, params: Mapping[str, str]) -> None:
        """Run the client's own SET, which outlives the request in its session."""
        self._change_settings({})
        self._run(sql, params=params)
        self._own_settings = True

    def change_own_database(self, sql: bytes, params: Mapping[str, str]) -> None:
        """Run the client's own USE, which outlives the request in its session."""
        self._run(sql, params=params)
        name = self._run(b"SELECT currentDatabase()", "TSVRaw").bytes().decode()
        self._own_database = self._database = name.rstrip("\n")

    def close(self) -> None:
        """Close the session; its temporary tables and settings are gone. Raises nothing."""
        with suppress(Exception):
            self._connection.close()

    def _change_settings(self, settings: Mapping[str, str]) -> None:
        gone = self._overrides.keys() - settings.keys()
        changed = {k: v for k, v in settings.items() if self._overrides.get(k) != v}
        self._save(changed.keys() - self._overrides.keys())
        assignments = [f"{name} = {self._saved.get(name, 'DEFAULT')}" for name in sorted(gone)]
        assignments += [f"{quote_identifier(k)} = {quote(v)}" for k, v in changed.items()]
        if assignments:
            try:
                self._run(f"SET {', '.join(assignments)}".encode())
            except Rejected:
                self._forget_settings(changed.keys() | gone)
                raise
        self._overrides = dict(settings)

    def _save(self, names: Iterable[str]) -> None:
        """Remember what `names` must go back to, if it is not their default."""
        names = list(names)
        for name in names:
            self._saved.pop(name, None)
            if name in _SERVER_LIKE:
                self._saved[name] = quote(_SERVER_LIKE[name])
        if not self._own_settings or not names:
            return
        listed = ", ".join(quote(name) for name in names)
        changed = f"SELECT name, value FROM system.settings WHERE changed AND name IN ({listed})"
        rows = self._run(changed.encode(), "TSVRaw").bytes()
        for line in rows.decode().splitlines():
            name, _, value = line.partition("\t")
            self._saved[name] = quote(value)

    def _forget_settings(self, names: Iterable[str]) -> None:
        """Undo a SET that failed half way: put back every name that exists."""
        for name in names:
            with suppress(Rejected):
                value = self._saved.get(name, "DEFAULT")
                self._run(f"SET {quote_identifier(name)} = {value}".encode())
            self._overrides.pop(name, None)

    @staticmethod
    def _set_statement(values: Mapping[str, str]) -> bytes:
        pairs = ", ".join(f"{quote_identifier(k)} = {quote(v)}" for k, v in values.items())
        return f"SET {pairs}".encode()

    def _run(
        self, sql: bytes, output_format: str = "TSV", params: Mapping[str, str] | None = None
    ) -> Any:
        try:
            return self._connection.query(sql, output_format, params=dict(params or {}))
        except Exception as error:
            raise from_engine(error) from error


class Engine:
    """The ClickHouse of one data folder, with a pool of clean handles."""

    def __init__(self, path: Path, memory_limit_bytes: int = 4096 * _MIB) -> None:
        """Open the folder, creating it if need be. Blocks for about 50 ms and more if large.

        Args:
            path: The data folder; it must be on a local disk.
            memory_limit_bytes: Upper bound for all queries and merges together.

        Raises:
            PathInUse: Another process has it open.
            StoreUnavailable: It cannot be opened.
        """
        self.path = path.resolve()
        self._address = _prepare_folder(self.path, memory_limit_bytes)
        self._idle: list[Handle] = []
        self._lock = threading.Lock()
        # The engine lives as long as any session does; this one keeps it alive.
        self._anchor = _connect(self._address, self.path)

    def open_handle(self) -> Handle:
        """Return a new session."""
        return Handle(_connect(self._address, self.path))

    def acquire(self) -> Handle:
        """Return a clean handle, a used one if there is one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self.open_handle()

    def release(self, handle: Handle, *, clean: bool) -> None:
        """Take a handle back; one that may carry a request's state is closed."""
        if clean:
            with self._lock:
                self._idle.append(handle)
        else:
            handle.close()

    @contextmanager
    def handle(self) -> Iterator[Handle]:
        """Lend a clean handle for a statement that leaves no state behind."""
        handle = self.acquire()
        clean = False
        try:
            yield handle
            clean = True
        finally:
            self.release(handle, clean=clean)

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
            idle, self._idle = self._idle, []
        for handle in idle:
            handle.close()
        with suppress(Exception):
            self._anchor.close()


class AskDirectly(Protocol):
    """Runs one statement and returns its result; blocks.

    Args:
        sql: Any ClickHouse SQL; a FORMAT clause in it wins over `output_format`.
        output_format: Name of a ClickHouse output format.
        parameters: Values of `{name:Type}` placeholders.
        settings: Settings of ClickHouse for this statement.

    Raises:
        QueryFailed: ClickHouse refuses the statement.
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
def open_directly(path: Path, database: str = DEFAULT_DATABASE) -> Iterator[AskDirectly]:
    """Open a data folder that nothing else has open, for the time of a block. Blocks.

    Args:
        path: The data folder of an embedded ClickHouse.
        database: Current database of the statements.

    Raises:
        PathInUse: A running server has the folder open; ask that one over HTTP.
        StoreUnavailable: There is no data folder, or it cannot be opened.
    """
    if not path.is_dir():
        raise StoreUnavailable(f"no data folder at {path}")
    engine = Engine(path)

    def ask(
        sql: str,
        output_format: str,
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> bytes:
        try:
            with engine.handle() as handle:
                handle.prepare(settings or {}, database)
                escaped = {name: _escape(value) for name, value in (parameters or {}).items()}
                return handle.query(sql.encode(), output_format, escaped)[0]
        except Rejected as error:
            raise QueryFailed(str(error)) from error

    try:
        yield ask
    finally:
        engine.close()


def _escape(value: str) -> str:
    """Write the value of a placeholder as ClickHouse reads it."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _prepare_folder(path: Path, memory_limit_bytes: int) -> str:
    try:
        path.mkdir(parents=True, exist_ok=True)
        _refuse_if_in_use(path)
        config = path / "server.xml"
        _write_atomically(config, _server_config(path, memory_limit_bytes))
    except OSError as error:
        raise StoreUnavailable(f"cannot open the data folder {path}: {error.strerror}") from error
    return f"{path}?config-file={config}"


def _refuse_if_in_use(path: Path) -> None:
    """ClickHouse holds a lock on the file `status`, which names its process."""
    status = path / "status"
    try:
        descriptor = os.open(status, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        content = os.read(descriptor, 100).decode(errors="replace")
        owner = content.splitlines()[0].lower() if content else "another process"
        raise PathInUse(f"the data folder {path} is in use by another process ({owner})") from error
    finally:
        os.close(descriptor)


def _write_atomically(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(temporary).replace(path)


def _server_config(path: Path, memory_limit_bytes: int) -> str:
    """Return server settings for a laptop; ClickHouse's defaults suit a large machine.

    Caches are bounds, not reservations. Names: documentation "Server settings".
    """
    values = {
        "max_server_memory_usage": memory_limit_bytes,
        "mark_cache_size": 256 * _MIB,
        "primary_index_cache_size": 256 * _MIB,
        "index_mark_cache_size": 64 * _MIB,
        "compiled_expression_cache_size": 32 * _MIB,
        "user_files_path": f"{escape(str(path))}/user_files/",
    }
    lines = "".join(f"  <{name}>{value}</{name}>\n" for name, value in values.items())
    return f"<clickhouse>\n{lines}</clickhouse>\n"


def _connect(address: str, path: Path) -> Any:
    try:
        return chdb.connect(address)
    except Exception as error:
        raise StoreUnavailable(f"cannot open the data folder {path}: {error}") from error
