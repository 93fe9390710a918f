"""The embedded ClickHouse as clickhouse-connect sees it: the real client, another process."""

import gzip
import multiprocessing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]
import pandas as pd
import pyarrow as pa
import pytest
from backports import zstd
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from embedded_clickhouse import SOURCES, Server, running

pytestmark = pytest.mark.sources(*SOURCES)

DAY = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
TABLE = """
    CREATE OR REPLACE TABLE {name} (
        id UInt64, name String, kind LowCardinality(String), price Decimal(38, 18),
        at DateTime64(3, 'UTC'), levels Array(Float64)
    ) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000
"""
COLUMNS = ["id", "name", "kind", "price", "at", "levels"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    client = server.client()
    client.command(TABLE.format(name="t"))
    yield client
    client.close()


def _rows(count: int, first: int = 0) -> list[list[object]]:
    return [[n, f"n{n}", "k", "1.5", DAY, [0.5, n]] for n in range(first, first + count)]


def _count(client: Client, table: str = "t") -> int:
    return int(str(client.command(f"SELECT count() FROM {table}")))


def test_insert_of_native_rows_is_read_back_with_types(client: Client) -> None:
    summary = client.insert("t", _rows(1000), column_names=COLUMNS)
    assert summary.written_rows == 1000
    result = client.query("SELECT * FROM t ORDER BY id LIMIT 2")
    assert result.column_names == tuple(COLUMNS)
    assert [row[:3] for row in result.result_rows] == [(0, "n0", "k"), (1, "n1", "k")]
    assert str(result.result_rows[1][3]) == "1.500000000000000000"
    assert result.result_rows[1][5] == [0.5, 1.0]
    assert result.summary["read_rows"] == "1000"


def test_query_without_rows_keeps_column_names_at_limit_0(client: Client) -> None:
    assert client.query("SELECT id, at FROM t LIMIT 0").column_names == ("id", "at")
    assert client.query("SELECT id FROM t WHERE id = 5").result_rows == []


def test_query_takes_lists_that_are_too_long_for_a_url(client: Client) -> None:
    client.insert("t", _rows(3000), column_names=COLUMNS)
    names = [f"n{n}" for n in range(0, 3000, 2)]
    sql = "SELECT count() FROM t WHERE name IN {names:Array(String)}"
    assert client.query(sql, parameters={"names": names}).result_rows == [(1500,)]
    sql += " LIMIT 0"
    assert client.query(sql, parameters={"names": names}).column_names == ("count()",)


def test_query_df_and_query_arrow_return_frames(client: Client) -> None:
    client.insert("t", _rows(3), column_names=COLUMNS)
    frame = client.query_df("SELECT id, at FROM t ORDER BY id")
    assert frame["id"].tolist() == [0, 1, 2]
    table = client.query_arrow("SELECT id, at FROM t ORDER BY id")
    assert table.column("id").to_pylist() == [0, 1, 2]
    assert table.column("at").to_pylist()[0] == DAY


def test_streams_of_every_kind_deliver_all_rows(client: Client) -> None:
    sql = "SELECT number, toString(number) AS text FROM numbers(300000)"
    with client.query_row_block_stream(sql) as blocks:
        assert sum(len(block) for block in blocks) == 300_000
    with client.query_rows_stream(sql) as rows:
        assert sum(row[0] for row in rows) == sum(range(300_000))
    with client.query_df_stream(sql) as frames:
        assert sum(len(frame) for frame in frames) == 300_000
    with client.query_arrow_stream(sql) as batches:
        assert sum(batch.num_rows for batch in batches) == 300_000
    with client.raw_stream(sql, fmt="CSVWithNames") as stream:
        lines = stream.read().splitlines()
    assert (len(lines), lines[0], lines.count(lines[0])) == (300_001, b'"number","text"', 1)


def test_insert_df_arrow_and_raw_store_rows(client: Client) -> None:
    client.insert_df("t", pd.DataFrame({"id": [1, 2], "name": ["a", "b"]}))
    client.insert_arrow("t", pa.table({"id": [3, 4], "name": ["c", "d"]}))
    client.raw_insert("t", ["id", "name"], b'{"id":5,"name":"e"}\n', fmt="JSONEachRow")
    client.raw_insert(
        "t", ["id", "name"], (piece for piece in [b"6,f\n", b"7,", b"g\n"]), fmt="CSV"
    )
    names = client.query("SELECT groupArray(name) FROM (SELECT name FROM t ORDER BY id)")
    assert names.result_rows[0][0] == list("abcdefg")


@pytest.mark.parametrize(
    ("method", "compress"),
    [
        ("gzip", gzip.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstd.compress),
    ],
)
def test_compression_works_both_ways(
    server: Server, client: Client, method: str, compress: Callable[[bytes], bytes]
) -> None:
    lines = b"".join(b'{"id":%d,"name":"x"}\n' % n for n in range(10_000))
    client.raw_insert("t", ["id", "name"], compress(lines), fmt="JSONEachRow", compression=method)
    assert _count(client) == 10_000
    with server.client(compress=method) as other:
        assert sum(row[0] for row in other.query("SELECT id FROM t").result_rows) == sum(
            range(10_000)
        )


def test_session_id_of_the_library_is_accepted_and_changes_nothing(client: Client) -> None:
    assert client.get_client_setting("session_id")
    assert client.command("SELECT 1") == 1


def test_command_returns_values_and_runs_ddl(client: Client) -> None:
    assert client.command("SELECT 1 + 1") == 2
    assert client.command("SELECT 'a', 'b'") == ["a", "b"]
    client.command("CREATE DATABASE IF NOT EXISTS other")
    client.command("CREATE TABLE IF NOT EXISTS other.u (a UInt8) ENGINE = Memory")
    client.command("INSERT INTO other.u VALUES", data="(1), (1 + 1), (3);")
    assert _count(client, "other.u") == 3
    client.command("DROP DATABASE other")


def test_parameters_are_bound_by_the_server(server: Server, client: Client) -> None:
    values = {"n": 7, "s": "it's\ta \\ tab", "l": ["a", "b'"], "d": DAY, "none": None}
    sql = "SELECT {n:UInt32}, {s:String}, {l:Array(String)}, {d:DateTime}, {none:Nullable(String)}"
    expected = (7, "it's\ta \\ tab", ["a", "b'"], DAY.replace(tzinfo=None), None)
    assert client.query(sql, parameters=values).result_rows == [expected]
    client.command(
        "INSERT INTO {table:Identifier} (id) VALUES ({n:UInt32})", {"table": "t", "n": 9}
    )
    assert client.query("SELECT id FROM t").result_rows == [(9,)]


def test_settings_hold_for_their_request_alone(client: Client) -> None:
    sql = "SELECT getSetting('max_block_size')"
    default = client.command(sql)
    assert client.command(sql, settings={"max_block_size": 123}) == 123
    assert client.command(sql) == default
    with pytest.raises(DatabaseError) as caught:
        client.command(sql, settings={"max_block_size": "abc"})
    assert caught.value.code == 27
    assert client.command(sql) == default


def test_database_of_the_client_is_the_current_one(server: Server, client: Client) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS named")
    with server.client(database="named") as other:
        assert other.command("SELECT currentDatabase()") == "named"
    with pytest.raises(DatabaseError) as caught, server.client(database="nowhere") as other:
        other.command("SELECT 1")
    assert caught.value.code == 81


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM nope", 60, "UNKNOWN_TABLE"),
        ("SELECT nope", 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT nope()", 46, "UNKNOWN_FUNCTION"),
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR"),
        ("INSERT INTO nope VALUES (1)", 60, "UNKNOWN_TABLE"),
        ("INSERT INTO t (id) VALUES ('x')", 6, "CANNOT_PARSE_TEXT"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1", 159, "TIMEOUT_EXCEEDED"),
        ("SELECT 1 INTO OUTFILE '/tmp/never'", 358, "INTO_OUTFILE_NOT_ALLOWED"),
    ],
)
def test_error_carries_clickhouse_code_and_name(
    client: Client, sql: str, code: int, name: str
) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.command(sql)
    assert (caught.value.code, caught.value.name) == (code, name)


def test_error_within_a_stream_reaches_the_reader(client: Client) -> None:
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)"
    settings = {"max_block_size": 10_000}
    seen: list[int] = []
    with (
        client.query_row_block_stream(sql, settings=settings) as blocks,
        pytest.raises(StreamFailureError, match="throwIf"),
    ):
        seen.extend(len(block) for block in blocks)
    assert 0 < sum(seen) <= 3_000_000
    assert client.command("SELECT 1") == 1


def test_insert_with_the_same_token_again_stores_nothing(client: Client) -> None:
    for _ in range(2):
        client.insert(
            "t",
            _rows(10),
            column_names=COLUMNS,
            settings={"insert_deduplication_token": "block 1", "async_insert": 0},
        )
    assert _count(client) == 10
    client.insert("t", _rows(10), COLUMNS, settings={"insert_deduplication_token": "block 2"})
    assert _count(client) == 20


def test_insert_of_many_chunks_becomes_one_part(client: Client) -> None:
    line = b'{"id":1,"name":"' + b"x" * 1000 + b'"}\n'
    chunks = (line * 500 for _ in range(40))
    client.raw_insert("t", ["id", "name"], chunks, fmt="JSONEachRow")
    parts = client.query("SELECT rows FROM system.parts WHERE table = 't' AND active")
    assert parts.result_rows == [(20_000,)]


def _insert_from_process(port: int, worker: int, blocks: int) -> None:
    import clickhouse_connect

    with clickhouse_connect.get_client(host="127.0.0.1", port=port) as client:
        for block in range(blocks):
            rows = [[worker, f"{block}-{n}"] for n in range(100)]
            client.insert(
                "many",
                rows,
                column_names=["id", "name"],
                settings={"insert_deduplication_token": f"{worker}-{block}"},
            )
            assert client.command(f"SELECT count() FROM many WHERE id = {worker}") == 100 * (
                block + 1
            )


def test_processes_at_once_read_and_write_without_disturbing_each_other(
    server: Server, client: Client
) -> None:
    client.command(TABLE.format(name="many"))
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_insert_from_process, args=(server.port, worker, 10))
        for worker in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
        process.close()
    assert _count(client, "many") == 4 * 10 * 100


def test_path_with_a_quote_and_blank_is_served(tmp_path: Path) -> None:
    with running(tmp_path / "it's a & folder") as server, server.client() as client:
        client.command(TABLE.format(name="t"))
        client.insert("t", _rows(1), column_names=COLUMNS)
        assert _count(client) == 1
