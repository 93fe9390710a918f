"""Queries the running database, or opens the embedded data itself while no process uses it."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretStr

from chdb_server import child
from chdb_server.errors import Rejected, ServerError
from chdb_server.statement import StatementKind, classify, may_destroy
from radar import addresses
from radar.errors import ConfigurationError, QueryFailed, StoreUnavailable
from radar.reading import recorded
from radar.reading.at_rest import LEFT_WITHIN_S, server_of
from radar.reading.statements import explain
from radar.settings import Settings
from radar.text import clickhouse_words, host_port

# ClickHouse's format for a person.
TABLE_FORMAT = "PrettyCompactMonoBlock"
TABLE_SETTINGS = {"output_format_pretty_color": "0"}  # colours would be control characters

_TIMEOUT_S = 3600.0
# ClickHouse then refuses statements that write, and allows harmless changes of settings.
_READ_ONLY = {"readonly": "2"}
_HOW_TO_WRITE = "add --write to the command, or write=True to Radar()"
# The data is open once at a time: other threads wait, as the shell does for its completion words.
_OPEN = threading.Lock()
_THROWN = "(FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)"
# The format in which answers are read here.
_ROWS = "JSONCompactStringsEachRow"

AtRest = Literal["here", "child", "kept child"]
"""The process that opens embedded data without a server.

A command opens it here, once: that is quickest. A program may open it again and again, and the
engine leaves threads and files behind each time, so there it lives in a child process. A kept child
runs on for a moment after a question, for the next one.
"""


class Ask(Protocol):
    """Queries one database; `opened` provides it."""

    def __call__(
        self,
        sql: str,
        output_format: str,
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        """Yield the answer in a ClickHouse format, as it arrives; blocks.

        Args:
            sql: One statement; its own FORMAT clause has priority.
            output_format: Name of a ClickHouse output format.
            parameters: Values of `{name:Type}` placeholders.
            settings: Settings of ClickHouse for this statement.

        Raises:
            ConfigurationError: The statement is empty.
            StoreUnavailable: The database does not answer any more.
            QueryFailed: ClickHouse refuses the statement.
        """


def opened(
    settings: Settings, *, buffered: bool = False, write: bool = False, at_rest: AtRest = "here"
) -> AbstractContextManager[Ask]:
    """Open the database for queries while a block lasts; blocks.

    Embedded data without a running server is open until the end of the block, and `radar up` waits
    for that.

    Args:
        settings: The options, with its address or folder.
        buffered: Let the server finish an answer before it begins to send it. So a query fails
            before its first row has come, or not at all.
        write: Let statements change data; else ClickHouse refuses those that would.
        at_rest: The process that opens embedded data; see `AtRest`.

    Raises:
        StoreUnavailable: No server runs and there is no embedded data.
    """
    always = {"wait_end_of_query": "1"} if buffered else {}
    always |= {} if write else _READ_ONLY
    if not _is_at_rest(settings):
        return _over_http(settings, always)
    if at_rest == "here":
        return _directly(settings, write=write)
    return _by_child(settings, always, keep=at_rest == "kept child")


def _is_at_rest(settings: Settings) -> bool:
    """Return whether no server answers, so that the embedded data is read itself; blocks."""
    host, port = settings.clickhouse_host, settings.clickhouse_port
    return not addresses.answers(host, port) and addresses.is_loopback(host)


def ask(
    settings: Settings,
    sql: str,
    output_format: str,
    parameters: Mapping[str, str] | None = None,
    query_settings: Mapping[str, str] | None = None,
    *,
    buffered: bool = False,
    write: bool = False,
    at_rest: AtRest = "here",
) -> Iterator[bytes]:
    """Open the database for one query and yield the answer, see `opened`; blocks.

    Raises:
        ConfigurationError: The query is empty.
        StoreUnavailable: No server runs and there is no embedded data.
        QueryFailed: ClickHouse refuses the query.
    """
    with opened(settings, buffered=buffered, write=write, at_rest=at_rest) as asking:
        yield from asking(sql, output_format, parameters, query_settings)


def may_run(sql: bytes) -> bool:
    """Ask the user in the terminal before a statement deletes; blocks. True without a terminal.

    The answer is no unless the user types `yes`.
    """
    if not may_destroy(sql) or not sys.stdin.isatty():
        return True
    print("This statement can delete data. Type yes to run it: ", end="", file=sys.stderr)  # noqa: T201
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


@contextmanager
def _over_http(settings: Settings, always: Mapping[str, str]) -> Iterator[Ask]:
    from radar.store.client import Store, check_answer

    # A query may take an hour; a missing server is reported much earlier.
    check_answer(settings)
    store = Store(settings, timeout_s=_TIMEOUT_S)

    def asking(
        sql: str,
        output_format: str,
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        def stream(
            text: str, name: str | None, values: Mapping[str, str] | None
        ) -> Iterator[bytes]:
            return store.stream(text, name, values, {**always, **(settings or {})})

        with _clear_words(sql):
            text, name = _prepare(sql, output_format)
            _check_called(
                sql, parameters, lambda each, values: b"".join(stream(each, _ROWS, values))
            )
            yield from stream(text, name, parameters)

    try:
        yield asking
    finally:
        store.close()


@contextmanager
def _directly(settings: Settings, *, write: bool) -> Iterator[Ask]:
    with (
        _OPEN,
        _embedded(_newest_data(settings), settings.clickhouse_db, read_only=not write) as direct,
    ):

        def asking(
            sql: str,
            output_format: str,
            parameters: Mapping[str, str] | None = None,
            settings: Mapping[str, str] | None = None,
        ) -> Iterator[bytes]:
            with _clear_words(sql):
                text = _prepare(sql, output_format)[0]
                _check_called(
                    sql, parameters, lambda each, values: direct(each, _ROWS, values, None)
                )
                yield direct(text, output_format, parameters, settings)

        yield asking


@contextmanager
def _by_child(settings: Settings, always: Mapping[str, str], *, keep: bool) -> Iterator[Ask]:
    with server_of(_newest_data(settings)).used(keep=keep) as server:
        reached = {
            "clickhouse_host": child.HOST,
            "clickhouse_port": server.port,
            "clickhouse_secure": False,
            "clickhouse_user": child.USER,
            "clickhouse_password": SecretStr(server.password),
        }
        with _over_http(settings.model_copy(update=reached), always) as asking:
            yield asking


def _check_called(
    sql: str,
    parameters: Mapping[str, str] | None,
    answer: Callable[[str, Mapping[str, str]], bytes],
) -> None:
    """Refuse views with a step of 0, and views of one market with a market without records."""
    if sql.lstrip()[:8].upper() == "DESCRIBE":
        return
    recorded.check_steps(sql, parameters or {})
    symbols = recorded.called_markets(sql, dict(parameters or {}))
    recorded.check_markets(
        lambda each, values: [json.loads(line) for line in answer(each, values).splitlines()],
        symbols,
    )


def _prepare(sql: str, output_format: str) -> tuple[str, str | None]:
    """Return a statement without its end, and the format to request, if any."""
    try:
        statement = classify(sql.encode())
    except Rejected as error:
        raise QueryFailed(str(error)) from error
    if statement.kind is StatementKind.EMPTY:
        raise ConfigurationError("the query is empty")
    if statement.kind is StatementKind.INSERT_DATA:
        return sql, None
    text = statement.text.decode()
    if statement.format:
        return f"{text} FORMAT {statement.format}{statement.tail.decode()}", None
    return text, output_format if statement.kind in (
        StatementKind.READ,
        StatementKind.ANSWER,
    ) else None


@contextmanager
def _embedded(path: Path, database: str, *, read_only: bool) -> Iterator[Callable[..., bytes]]:
    from chdb_server.engine import open_directly

    try:
        with open_directly(path, database, read_only=read_only, wait_s=LEFT_WITHIN_S) as direct:
            yield direct
    except ServerError as error:
        raise StoreUnavailable(str(error)) from error


@contextmanager
def _clear_words(sql: str) -> Iterator[None]:
    try:
        yield
    except (QueryFailed, Rejected) as error:
        # ClickHouse adds a page of words that could stand there instead.
        words = clickhouse_words(str(error).partition(" Expected one of: ")[0])
        if words.endswith(_THROWN):
            # Words of a view of radar, followed by the whole expression.
            said = words.removesuffix(_THROWN).partition(": while executing ")[0]
            words = f"{said.rstrip('. ')} {_THROWN}"
        if words.endswith("(READONLY)"):
            words = f"this statement writes, and only reads are allowed: {_HOW_TO_WRITE}"
        raise QueryFailed(explain(words, sql)) from error


def _newest_data(settings: Settings) -> Path:
    base = settings.radar_data_dir.absolute()
    found = [
        path for path in (base / "clickhouse", base / "simulated" / "clickhouse") if path.is_dir()
    ]
    if not found:
        where = host_port(settings.clickhouse_host, settings.clickhouse_port)
        raise StoreUnavailable(
            f"no server answers at {where} and there is no data in {settings.radar_data_dir}:"
            " start `radar up`"
        )
    return max(found, key=_last_used_s)


def _last_used_s(path: Path) -> float:
    # The lock of a run is rewritten when it starts; data that was copied here may lack it.
    lock = path.parent / "lock"
    return lock.stat().st_mtime if lock.exists() else 0.0
