"""The only module that talks to ClickHouse, over HTTP."""

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

import clickhouse_connect
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from clickhouse_connect.driver.httputil import all_managers, get_pool_manager

from radar.codec.batch_decoder import Columns
from radar.errors import BlockTooLarge, InsertCutOff, QueryFailed, StoreUnavailable
from radar.settings import ANSWER_WITHIN_S, Settings
from radar.store import cluster, native, server_errors
from radar.store.cluster import Cluster
from radar.store.queries import worker as queries
from radar.store.replicas import Replicas, Server, servers
from radar.text import clickhouse_words, host_port

CONNECT_TIMEOUT_S = 5
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1", "[::1]")
# Remedies for errors that any statement may have.
_REMEDIES = {
    81: "run `radar migrate`, or set CLICKHOUSE_DB",  # UNKNOWN_DATABASE
    516: "set CLICKHOUSE_USER and CLICKHOUSE_PASSWORD",  # AUTHENTICATION_FAILED
}
# Times without a zone are UTC, wherever the server runs.
_SESSION_SETTINGS = {"session_timezone": "UTC"}
# In a cluster, a join of two distributed tables reads the whole second one, as on one server. The
# statements of migrations wait for the servers that are up; the others run them when they return.
_CLUSTER_SETTINGS = {
    "distributed_product_mode": "global",
    "distributed_ddl_output_mode": "none_only_active",
}

INSERT_SETTINGS: dict[str, Any] = {
    # The server's version decides whether these are on by default.
    "async_insert": 0,
    "insert_deduplicate": 1,
    # One request is one block, whatever its size: the deduplication token names a block.
    "max_insert_block_size": 1_048_576,
    "min_insert_block_size_rows": 1_048_576,
    "min_insert_block_size_bytes": 0,
    # After a failing view a block is inserted again, and reaches the working views a second time.
    # With this setting they recognise it, if their tables have a deduplication window like radar's.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # A block of trades may hold old ones from many partitions (recent trades of quiet markets).
    "max_partitions_per_insert_block": 0,
}


_log = structlog.get_logger()

# ClickHouse reads values of these types as literals, and other values as escaped text.
_COMPOSITE = re.compile(r"\{\s*(\w+)\s*:\s*(?:Array|Tuple|Map)\b")


class _Literal:
    """A value that is sent as it is: the client library escapes only texts."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def check_answer(settings: Settings, timeout_s: float = ANSWER_WITHIN_S) -> None:
    """Return once a server of ClickHouse answers; blocks up to `timeout_s` for each.

    It needs no user. The first query shows whether the database accepts the user.

    Raises:
        StoreUnavailable: None answers; the message is about the last, and names the remedy.
    """
    *others, last = servers(settings)
    for server in others:
        try:
            return _check_server(settings, server, timeout_s)
        except StoreUnavailable:
            continue
    return _check_server(settings, last, timeout_s)


def _check_server(settings: Settings, server: Server, timeout_s: float) -> None:
    host, port = server
    connection = (
        HTTPSConnection(
            host,
            port,
            timeout=timeout_s,
            context=ssl.create_default_context(cafile=settings.clickhouse_ca_file or None),
        )
        if settings.clickhouse_secure
        else HTTPConnection(host, port, timeout=timeout_s)
    )
    address = host_port(host, port)
    remedy = "start it, or set CLICKHOUSE_HOST and CLICKHOUSE_PORT"
    try:
        connection.request("GET", "/ping")
        connection.getresponse().read()
    except ssl.SSLError as error:
        raise StoreUnavailable(
            f"ClickHouse at {address} and this machine do not agree on TLS: set CLICKHOUSE_SECURE,"
            " CLICKHOUSE_CA_FILE and CLICKHOUSE_PORT"
        ) from error
    except HTTPException as error:
        raise StoreUnavailable(
            f"{address} does not answer as ClickHouse: set CLICKHOUSE_PORT to the HTTP port (8123)"
        ) from error
    except OSError as error:
        raise StoreUnavailable(f"ClickHouse does not answer at {address}: {remedy}") from error
    finally:
        connection.close()


class Store:
    """A connection to one ClickHouse database, on one server or on several that replicate it.

    Use it in one thread only. It connects with the first call. A read that a server does not answer
    is sent to the next server. Everything else fails then, because it may have been done; the next
    call goes to the next server.
    """

    def __init__(self, settings: Settings, *, timeout_s: float | None = None) -> None:
        self._settings = settings
        self._timeout_s = timeout_s or settings.insert_timeout_seconds
        self._client: Client | None = None
        self._pool = get_pool_manager(ca_cert=settings.clickhouse_ca_file or None)
        self._replicas = Replicas(servers(settings))
        self._server = self._replicas.servers[0]
        self.database = settings.clickhouse_db
        self.cluster = (
            Cluster(settings.clickhouse_cluster, settings.clickhouse_db)
            if settings.clickhouse_cluster
            else None
        )
        self._insert_settings = INSERT_SETTINGS | (
            dict(cluster.insert_settings(settings.clickhouse_insert_quorum, self._timeout_s))
            if self.cluster
            else {}
        )

    def insert(self, table: str, parts: Sequence[tuple[int, Columns]], token: str) -> None:
        """Insert one block of rows; blocks until it is durable.

        A block whose token was inserted before changes no row.

        Args:
            table: The table.
            parts: The block as column blocks: the number of rows, and the columns, which are the
                same in all. The server gets one block; several column blocks save memory in the
                worker.
            token: The name of the block.

        Raises:
            StoreUnavailable: The block may or may not be stored; try again with the same token.
            StoreNeedsRepair: The same, but an operator must act first.
            BlockTooLarge: The server takes no block of this size; divide it.
            StoreRejected: The server refuses the rows themselves; none was stored.
        """
        block = native.encode(parts)
        try:
            self._connected().raw_insert(
                table,
                column_names=[column.name for column in parts[0][1]],
                insert_block=block,
                settings=self._insert_settings | {"insert_deduplication_token": token},
                fmt="Native",
            )
        except Exception as error:
            rows = sum(count for count, _ in parts)
            sent = server_errors.Sent(self._address, table, rows, len(block), self._disk)
            shown = self._insert_error(error, sent)
            if isinstance(shown, StoreUnavailable) and not isinstance(shown, BlockTooLarge):
                self._leave_server(shown)
            raise shown from error

    def ping(self) -> None:
        """Send the database an empty query; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: It refuses the user, or there is no such database.
        """
        self.rows("SELECT 1")

    def places(self, table: str, partition: int, first: int, last: int) -> set[tuple[int, int]]:
        """Return which messages of a range of Kafka offsets, ends included, are rows; blocks.

        Offset and time of receipt (microseconds) identify a message, because a recreated topic has
        the same offsets again. Rows that others of the same key have replaced are not found.

        Raises:
            StoreUnavailable: The server does not answer, or refuses this query.
        """
        try:
            rows = self.rows_anywhere(
                queries.places, table, {"partition": partition, "first": first, "last": last}
            )
        except QueryFailed as error:
            raise StoreUnavailable(str(error)) from error
        return {(int(offset), int(received_us)) for offset, received_us in rows}

    def last_offset(self, table: str, partition: int, first: int, end: int) -> int | None:
        """Return the largest Kafka offset from `first` on and before `end` that is a row; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: The table is missing.
        """
        ((count, last),) = self.rows_anywhere(
            queries.last_offset, table, {"partition": partition, "first": first, "end": end}
        )
        return int(last) if count else None

    def first_missing_offset(self, table: str, partition: int, first: int, end: int) -> int:
        """Return the smallest Kafka offset from `first` on that is no row, at most `end`; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: The table is missing.
        """
        ((count,),) = self.rows_anywhere(
            queries.offsets_without_hole,
            table,
            {"partition": partition, "first": first, "end": end},
        )
        return first + int(count)

    def rows_anywhere(
        self, query: Callable[[str], str], table: str, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query of what any reachable replica of a table has; blocks.

        A row comes once for each replica that has it.

        Args:
            query: Returns the query of a table expression.
            table: The table.
            parameters: As for `rows`.

        Raises: as `rows`.
        """
        if self.cluster is None:
            return self.rows(query(table), parameters)
        return self.rows(
            query(self.cluster.every_replica(table)), parameters, cluster.EVERY_REPLICA
        )

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement without a result; blocks.

        Args:
            sql: The statement. A change of a table is made in the whole cluster.
            parameters: Values of `{name:Type}` placeholders.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: The server refuses the statement.
        """
        for statement in self.cluster.statements(sql) if self.cluster else [sql]:
            self._ask(
                lambda client, text=statement: client.command(
                    text, parameters=dict(parameters or {})
                ),
                is_read=False,
            )

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return all rows of a query; blocks.

        Args:
            sql: The query.
            parameters: Values of `{name:Type}` placeholders.
            settings: Settings of ClickHouse for this query.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: The server refuses the query.
        """
        result = self._ask(
            lambda client: client.query(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {})
            )
        )
        return [tuple(row) for row in result.result_rows]

    def stream(
        self,
        sql: str,
        output_format: str | None,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Iterator[bytes]:
        """Yield the answer to a statement, as it arrives; blocks.

        Args:
            sql: The statement.
            output_format: A ClickHouse format; None for statements that name one or have no answer.
            parameters: Values of `{name:Type}` placeholders; of an array, tuple or map its literal.
            settings: Settings of ClickHouse for this statement.

        Raises:
            StoreUnavailable: The server does not answer, or its answer breaks off.
            QueryFailed: The server refuses the query.
        """
        literals = set(_COMPOSITE.findall(sql))
        values = {
            name: _Literal(value) if name in literals else value
            for name, value in (parameters or {}).items()
        }
        answer = self._ask(
            lambda client: client.raw_stream(sql, values, dict(settings or {}), fmt=output_format)
        )
        with answer:
            while chunk := self._read(answer):
                yield chunk

    def _read(self, answer: Any) -> bytes:
        try:
            return bytes(answer.read(65536))
        except Exception as error:
            # A server that fails after the start of its answer also ends here.
            raise StoreUnavailable(
                f"ClickHouse at {self._address}:"
                f" the answer broke off: {_first_line(_innermost(error))}"
            ) from error

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._pool.clear()
        all_managers.pop(self._pool, None)

    def has_table(self, table: str) -> bool:
        """Return whether the database exists and has a table; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: The server refuses the query.
        """
        names = {"database": self.database, "table": table}
        query = (
            "SELECT count() FROM system.tables"
            " WHERE database = {database:String} AND name = {table:String}"
        )
        rows = self._ask_server(lambda client: client.query(query, parameters=names).result_rows)
        return bool(rows[0][0])

    def server_rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Return all rows of a query outside of the database, which may be missing; blocks.

        Raises: as `rows`.
        """
        given = dict(parameters or {})
        rows = self._ask_server(lambda client: client.query(sql, parameters=given).result_rows)
        return [tuple(row) for row in rows]

    def server_command(self, sql: str, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement outside of the database, which may be missing; blocks.

        Raises: as `command`.
        """
        self._ask_server(
            lambda client: client.command(sql, settings=dict(settings or {})), is_read=False
        )

    def create_database(self) -> None:
        """Create the database if it is missing; blocks.

        Raises:
            StoreUnavailable: The server does not answer.
            QueryFailed: The server refuses.
        """
        statement = (
            self.cluster.create_database()
            if self.cluster
            else f"CREATE DATABASE IF NOT EXISTS `{self.database}`"
        )
        self._ask_server(lambda client: client.command(statement), is_read=False)

    def _ask_server(self, action: Any, *, is_read: bool = True) -> Any:
        """Run a query outside of the database, which may be missing."""

        def ask() -> Any:
            client = self._connect(database="default")
            try:
                return action(client)
            finally:
                client.close()

        return self._fail_over(ask, is_read=is_read)

    def _ask(self, action: Any, *, is_read: bool = True) -> Any:
        return self._fail_over(lambda: action(self._connected()), is_read=is_read)

    def _fail_over(self, action: Callable[[], Any], *, is_read: bool) -> Any:
        """Run an action; repeat a read on the other servers until one answers."""
        left = len(self._replicas.servers) if is_read else 1
        while True:
            try:
                return action()
            except Exception as error:
                left -= 1
                shown = self._query_error(error)
                if self._is_of_one_server(error, shown):
                    self._leave_server(shown)
                    if left > 0:
                        continue
                raise shown from error

    def _is_of_one_server(self, error: Exception, shown: Exception) -> bool:
        code = error.code if isinstance(error, DatabaseError) else None
        return isinstance(shown, StoreUnavailable) or code in server_errors.OF_ONE_SERVER

    def _leave_server(self, error: Exception) -> None:
        """Use another server from now on, if there is one."""
        if len(self._replicas.servers) == 1:
            return
        self._replicas.failed(self._server, time.monotonic())
        if self._client is not None:
            self._client.close()
            self._client = None
        _log.warning("server of ClickHouse failed", server=str(self._server), error=str(error))

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self._connect(database=self.database)
        return self._client

    def _connect(self, database: str) -> Client:
        """Connect to the first server that answers; nothing was sent to the others."""
        *others, last = self._replicas.in_order(time.monotonic())
        for server in others:
            self._server = server
            try:
                return self._connect_to(server, database)
            except Exception as error:
                shown = self._query_error(error)
                if not isinstance(shown, StoreUnavailable):
                    raise
                self._leave_server(shown)
        self._server = last
        return self._connect_to(last, database)

    def _connect_to(self, server: Server, database: str) -> Client:
        settings = self._settings
        return clickhouse_connect.get_client(
            interface="https" if settings.clickhouse_secure else "http",
            host=server.host,
            port=server.port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            database=database,
            autogenerate_session_id=False,
            # Otherwise the library makes a pool that uses the environment's proxies.
            pool_mgr=self._pool,
            settings=_SESSION_SETTINGS | (_CLUSTER_SETTINGS if self.cluster else {}),
            connect_timeout=min(CONNECT_TIMEOUT_S, max(1, int(self._timeout_s))),
            send_receive_timeout=max(1, int(self._timeout_s)),
            client_name="radar",
        )

    @property
    def _address(self) -> str:
        return str(self._server)

    @property
    def _disk(self) -> str:
        """Where the server keeps its data; known for the embedded one only."""
        settings = self._settings
        folder = settings.radar_data_dir.absolute() / "clickhouse"
        if self._server.host in _THIS_MACHINE and folder.exists():
            return str(folder)
        return f"the disk of ClickHouse at {self._address}"

    def _insert_error(self, error: Exception, block: server_errors.Sent) -> Exception:
        if not isinstance(error, ClickHouseError | OSError):
            return error
        status = server_errors.status(str(error))
        if isinstance(error, DatabaseError) and (error.code is not None or status is not None):
            return server_errors.of_insert(error.code, str(error), block)
        cause = _innermost(error)
        if isinstance(cause, ConnectionError):
            return InsertCutOff(
                f"ClickHouse at {self._address}: the connection broke during an insert of"
                f" {block.size_bytes:,} bytes: {_first_line(cause)}"
            )
        return self._unavailable(error)

    def _query_error(self, error: Exception) -> Exception:
        if isinstance(error, DatabaseError) and error.code is not None:
            remedy = _REMEDIES.get(error.code)
            return QueryFailed(_first_line(error) + (f": {remedy}" if remedy else ""))
        return self._unavailable(error)

    def _unavailable(self, error: Exception) -> Exception:
        if not isinstance(error, ClickHouseError | OSError):
            return error
        # The library wraps errors from outside the server several times, with the whole request.
        answered = isinstance(error, DatabaseError) and error.code is not None
        cause = error if answered else _innermost(error)
        return StoreUnavailable(f"ClickHouse at {self._address}: {_first_line(cause)}")


def _innermost(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return clickhouse_words(lines[0]) if lines else type(error).__name__
