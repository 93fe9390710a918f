"""The embedded ClickHouse's HTTP interface, as curl and any other client sees it."""

import gzip
import http.client
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from chdb_server.job import MAX_MEMORY_BYTES
from embedded_clickhouse import SOURCES, Server, running

pytestmark = pytest.mark.sources(*SOURCES)

WAIT_SECONDS = 15


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def http_client(server: Server) -> Iterator[httpx.Client]:
    with server.http() as client:
        client.post("/", content="CREATE OR REPLACE TABLE t (a UInt64) ENGINE=MergeTree ORDER BY a")
        yield client


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.02)


def _count(client: httpx.Client) -> int:
    return int(client.get("/", params={"query": "SELECT count() FROM t"}).text)


@pytest.mark.parametrize("path", ["/", "/ping", "/replicas_status"])
def test_health_paths_answer_ok_without_credentials(http_client: httpx.Client, path: str) -> None:
    response = http_client.get(path, headers={"X-ClickHouse-User": "nobody"})
    assert (response.status_code, response.text) == (200, "Ok.\n")


def test_unknown_path_is_not_found(http_client: httpx.Client) -> None:
    assert http_client.get("/nothing").status_code == 404


def test_query_may_come_in_url_or_body_or_both(http_client: httpx.Client) -> None:
    assert http_client.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert http_client.post("/", content="SELECT 2;").text == "2\n"
    assert http_client.post("/", params={"query": "SELECT 3"}, content="+ 4").text == "7\n"
    body = b"\xff\xfe"
    response = http_client.post("/", content=b"SELECT hex('" + body + b"')")
    assert response.text == "FFFE\n"


def test_response_headers_describe_the_result(http_client: httpx.Client) -> None:
    sql = "SELECT number FROM numbers(5) FORMAT JSON"
    headers = http_client.get("/", params={"query": sql, "query_id": "mine"}).headers
    assert headers["X-ClickHouse-Query-Id"] == "mine"
    assert headers["X-ClickHouse-Format"] == "JSON"
    assert headers["Content-Type"] == "application/json; charset=UTF-8"
    assert headers["X-ClickHouse-Timezone"]
    assert headers["X-ClickHouse-Server-Display-Name"]
    summary = json.loads(headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("5", "5")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 AS x FORMAT JSONEachRow", '{"x":1}\n'),
        ("SELECT 1 AS x FORMAT CSVWithNames SETTINGS max_threads = 1", '"x"\n1\n'),
        ("SELECT 'format' AS format", "format\n"),
        ("SELECT 1 AS x WHERE 0 FORMAT JSONEachRow", ""),
        ("EXISTS TABLE system.one", "1\n"),
        ("-- a comment\nSELECT 'a;b' /* ; */ ;", "a;b\n"),
    ],
)
def test_format_clause_decides(http_client: httpx.Client, sql: str, expected: str) -> None:
    assert http_client.post("/", content=sql).text == expected


def test_default_format_is_used_without_a_clause(http_client: httpx.Client) -> None:
    params = {"query": "SELECT 1 AS x", "default_format": "JSONEachRow"}
    assert http_client.get("/", params=params).text == '{"x":1}\n'
    header = {"X-ClickHouse-Format": "CSV"}
    assert http_client.get("/", params={"query": "SELECT 'x'"}, headers=header).text == '"x"\n'


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO t FORMAT CSV", b"1\n2\n3\n"),
        ("INSERT INTO t VALUES", b"(1), (1+1), (3)"),
        ("", b"INSERT INTO t (a) FORMAT JSONEachRow\n" + b'{"a":1}{"a":2}\n{"a":3}'),
        (
            "INSERT INTO t SETTINGS max_insert_threads = 1 FORMAT RowBinary",
            bytes([1, *[0] * 7]) * 3,
        ),
        ("INSERT INTO t SELECT number FROM numbers(3)", b""),
    ],
)
def test_insert_takes_rows_from_the_body(
    http_client: httpx.Client, query: str, body: bytes
) -> None:
    response = http_client.post("/", params={"query": query}, content=body)
    assert (response.status_code, response.text) == (200, "")
    assert json.loads(response.headers["X-ClickHouse-Summary"])["written_rows"] == "3"
    assert _count(http_client) == 3


def test_get_refuses_to_write(http_client: httpx.Client) -> None:
    response = http_client.get("/", params={"query": "INSERT INTO t VALUES (1)"})
    assert response.headers["X-ClickHouse-Exception-Code"] == "164"
    assert "(READONLY)" in response.text
    assert _count(http_client) == 0


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"query": "SELECT * FROM nope"}, 404, "60"),
        ({"query": "SELEC"}, 400, "62"),
        ({"query": "SELECT 1", "no_such_setting": "1"}, 404, "115"),
        ({"query": "SELECT 1", "database": "nope"}, 404, "81"),
        ({"query": "SELECT {x:UInt8}"}, 500, "456"),
        ({"query": "SELECT 1 FORMAT Nope"}, 404, "73"),
        ({"query": "SELECT throwIf(1)"}, 500, "395"),
        ({"query": "SELECT 1", "compress": "1"}, 501, "48"),
        ({"query": "SET max_threads = 1"}, 501, "48"),
        ({"query": "INSERT INTO t SELECT a FROM input('a UInt64') FORMAT TSV"}, 500, "344"),
        ({"query": "SELECT 1", "session_id": "s", "session_check": "1"}, 500, "372"),
        ({"query": "SELECT 1", "default_format": "a b"}, 400, "36"),
        ({"query": "SELECT 1", "user": "nobody"}, 403, "516"),
    ],
)
def test_errors_have_the_status_and_code_of_clickhouse(
    http_client: httpx.Client, params: dict[str, str], status: int, code: str
) -> None:
    response = http_client.get("/", params=params)
    assert (response.status_code, response.headers["X-ClickHouse-Exception-Code"]) == (status, code)
    assert response.text.startswith(f"Code: {code}. DB::Exception: ")
    # Only who knows the password learns the version.
    assert ("(version " in response.text) is (code != "516")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMPORARY TABLE x (a UInt8)",
        "/* a */ create or replace temporary table x ENGINE = Memory AS SELECT 1 AS a",
    ],
)
def test_temporary_table_is_refused_and_leaves_nothing_behind(
    http_client: httpx.Client, sql: str
) -> None:
    for _ in range(2):
        response = http_client.post("/", content=sql)
        assert (response.status_code, response.text[:9]) == (501, "Code: 48.")
        assert "keeps no sessions; create a table" in response.text


def test_query_and_parameters_may_come_as_a_form(http_client: httpx.Client) -> None:
    text = "ä+%20&\n" * 20_000
    sql = "SELECT length({text:String}), {n:UInt8}"
    fields = {"query": sql, "param_text": text.replace("\n", "\\n"), "param_n": "7"}
    response = http_client.post("/", files={name: (None, value) for name, value in fields.items()})
    assert response.text == f"{len(text.encode())}\t7\n"
    fields.pop("query")
    response = http_client.post(
        "/", params={"query": sql}, files={name: (None, value) for name, value in fields.items()}
    )
    assert response.text == f"{len(text.encode())}\t7\n"


_FIELD = 'Content-Disposition: form-data; name="query"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "it has no end"),
        ("--x\r\n", "it has no end"),
        (f"--x\r\n{_FIELD}SELECT 1", "it has no end"),
        ("SELECT 1", "it is malformed"),
        ("--x\r\n\r\nSELECT 1\r\n--x--", "it is malformed"),
        (f"--x\r\n{_FIELD}SELECT 1\r\n--x\r\n{_FIELD}SELECT 2\r\n--x--", "a field is there twice"),
        (f"--x\r\n{_FIELD.replace('query', 'user')}root\r\n--x--", "it holds another field"),
        (f"--x\r\n{_FIELD.replace('query', 'readonly')}0\r\n--x--", "it holds another field"),
    ],
)
def test_form_that_cannot_be_read_is_refused_with_its_reason(
    http_client: httpx.Client, body: str, reason: str
) -> None:
    response = http_client.post(
        "/", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert (response.status_code, response.text[:9]) == (400, "Code: 36.")
    assert reason in response.text


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; charset=x"]
)
def test_form_without_a_boundary_is_refused(http_client: httpx.Client, kind: str) -> None:
    response = http_client.post("/", content="SELECT 1", headers={"Content-Type": kind})
    assert (response.status_code, response.text[:9]) == (400, "Code: 36.")


def test_compressed_form_is_refused(http_client: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip"}
    response = http_client.post("/", content=gzip.compress(b"--x--"), headers=headers)
    assert (response.status_code, response.text[:9]) == (400, "Code: 36.")
    assert "it is compressed" in response.text


def test_external_table_is_refused_with_a_sentence(http_client: httpx.Client) -> None:
    response = http_client.post(
        "/",
        params={"query": "SELECT * FROM x", "x_structure": "a UInt8"},
        files={"x": b"1\n"},
    )
    assert (response.status_code, response.text[:9]) == (400, "Code: 36.")
    assert "external tables are not supported" in response.text


def test_deflate_is_refused_and_the_known_methods_are_named(http_client: httpx.Client) -> None:
    response = http_client.post(
        "/",
        params={"query": "INSERT INTO t FORMAT CSV"},
        content=zlib.compress(b"1\n"),
        headers={"Content-Encoding": "deflate"},
    )
    assert response.text.startswith("Code: 89. ")
    assert "deflate; this server knows gzip, zstd" in response.text
    assert _count(http_client) == 0


def test_settings_that_failed_do_not_stay_behind(http_client: httpx.Client) -> None:
    for _ in range(3):
        http_client.get("/", params={"query": "SELECT 1", "max_block_size": "9", "nope": "1"})
    query = "SELECT count() FROM system.settings WHERE changed AND name = 'max_block_size'"
    assert http_client.get("/", params={"query": query}).text == "0\n"


def test_password_is_accepted_each_way_and_wrong_ones_are_not(tmp_path: Path) -> None:
    arguments = ("--user", "radar")
    with running(tmp_path, *arguments, password="s3cret") as server, server.http() as client:
        query = {"query": "SELECT 1"}
        headers = {"X-ClickHouse-User": "radar", "X-ClickHouse-Key": "s3cret"}
        accepted = [
            client.get("/", params=query, auth=("radar", "s3cret")),
            client.get("/", params=query, headers=headers),
            client.get("/", params=query | {"user": "radar", "password": "s3cret"}),
        ]
        refused = [
            client.get("/", params=query),
            client.get("/", params=query, auth=("radar", "wrong")),
            client.get("/", params=query | {"user": "default"}),
        ]
    assert [response.text for response in accepted] == ["1\n"] * 3
    assert [response.status_code for response in refused] == [403] * 3
    assert "s3cret" not in "".join(response.text for response in refused)


def test_web_pages_of_other_origins_are_refused(http_client: httpx.Client) -> None:
    sql = "INSERT INTO t VALUES (1)"
    by_page = http_client.post("/", content=sql, headers={"Origin": "https://example.com"})
    rebound = http_client.post("/", content=sql, headers={"Host": "example.com:8123"})
    assert (by_page.status_code, rebound.status_code) == (403, 403)
    assert _count(http_client) == 0


def test_response_is_compressed_only_if_asked_for(server: Server) -> None:
    query = {"query": "SELECT number FROM numbers(1000000)"}
    headers = {"Accept-Encoding": "gzip"}
    with server.http() as client:
        with client.stream(
            "GET", "/", params=query | {"enable_http_compression": "1"}, headers=headers
        ) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            compressed = b"".join(response.iter_raw())
        plain = client.get("/", params=query | {"enable_http_compression": "0"}, headers=headers)
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(compressed) == plain.content


def test_truncated_compressed_body_inserts_nothing(http_client: httpx.Client) -> None:
    body = gzip.compress(b"1\n" * 100_000)
    for encoding, content in (("gzip", body[:-20]), ("gzip", b"1\n2\n"), ("nope", b"1\n")):
        response = http_client.post(
            "/",
            params={"query": "INSERT INTO t FORMAT CSV"},
            content=content,
            headers={"Content-Encoding": encoding},
        )
        assert response.status_code == 500
    assert _count(http_client) == 0


def test_client_that_leaves_in_the_body_inserts_nothing(
    server: Server, http_client: httpx.Client
) -> None:
    for framing in (b"Content-Length: 10000000", b"Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = b"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nHost: localhost\r\n"
            connection.sendall(head + framing + b"\r\n\r\n")
            data = b"1\n" * 1_000_000
            if b"chunked" in framing:
                data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
            connection.sendall(data)
    _until(lambda: _running(http_client, "INSERT INTO t%") == 0)
    assert _count(http_client) == 0


def _running(client: httpx.Client, pattern: str) -> int:
    query = "SELECT count() FROM system.processes WHERE query LIKE {p:String}"
    return int(client.get("/", params={"query": query, "param_p": pattern}).text)


@pytest.mark.parametrize(
    "sql",
    ["SELECT count() FROM numbers(1000000000000)", "SELECT number FROM numbers(1000000000000)"],
)
def test_client_that_leaves_cancels_its_query(
    server: Server, http_client: httpx.Client, sql: str
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/", body=sql)
    _until(lambda: _running(http_client, f"{sql}%") == 1)
    connection.close()
    _until(lambda: _running(http_client, f"{sql}%") == 0)


def test_endless_result_streams_in_constant_memory(server: Server) -> None:
    with server.http() as client:
        query = {"query": "SELECT number, toString(number) FROM numbers(1000000000000)"}
        total = 0
        before = _resident_bytes(server)
        with client.stream("GET", "/", params=query) as response:
            for chunk in response.iter_raw():
                total += len(chunk)
                if total > 300_000_000:
                    break
    assert _resident_bytes(server) - before < 150_000_000


def _resident_bytes(server: Server) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def test_error_after_the_beginning_breaks_the_response_with_a_tagged_block(
    server: Server,
) -> None:
    query = {"query": "SELECT throwIf(number = 5000000) FROM numbers(9000000)"}
    content = b""
    with server.http() as client, client.stream("GET", "/", params=query) as response:
        tag = response.headers["X-ClickHouse-Exception-Tag"].encode()
        with suppress(httpx.RemoteProtocolError):
            for chunk in response.iter_raw():
                content += chunk
            pytest.fail("the response has a proper end")
    assert response.status_code == 200
    _, start, rest = content.partition(b"\r\n__exception__\r\n" + tag + b"\r\n")
    message, end, _ = rest.rpartition(b" " + tag + b"\r\n__exception__\r\n")
    text, _, length = message.rpartition(b"\n")
    assert start
    assert end
    assert text.startswith(b"Code: 395.")
    assert int(length) == len(text) + 1


def test_error_while_waiting_for_the_end_gets_its_own_status(http_client: httpx.Client) -> None:
    query = "SELECT throwIf(number = 5000000) FROM numbers(9000000)"
    response = http_client.get("/", params={"query": query, "wait_end_of_query": "1"})
    assert response.headers["X-ClickHouse-Exception-Code"] == "395"
    query = "SELECT number FROM numbers(9000000) FORMAT RowBinary"
    response = http_client.get("/", params={"query": query, "wait_end_of_query": "1"})
    assert len(response.content) == 72_000_000
    assert "X-ClickHouse-Summary" in response.headers


def test_failing_insert_of_a_large_body_still_gets_its_answer(http_client: httpx.Client) -> None:
    response = http_client.post(
        "/", params={"query": "INSERT INTO t FORMAT CSV"}, content=b"nonsense\n" * 3_000_000
    )
    assert response.status_code == 400
    assert response.headers["X-ClickHouse-Exception-Code"] in ("27", "117")
    assert _count(http_client) == 0


def test_insert_larger_than_what_is_held_in_memory_is_stored_whole(
    http_client: httpx.Client,
) -> None:
    numbers = np.arange(MAX_MEMORY_BYTES // 8 + 500_000, dtype="<u8")
    query = {"query": "INSERT INTO t FORMAT RowBinary"}
    assert http_client.post("/", params=query, content=numbers.tobytes()).status_code == 200
    stored = http_client.get("/", params={"query": "SELECT count(), sum(a) FROM t"}).text
    assert stored == f"{len(numbers)}\t{numbers.sum()}\n"
