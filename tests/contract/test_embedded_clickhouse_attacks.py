"""Attacks on the embedded ClickHouse: by its own user, by others, by a page in a real browser."""

import gzip
import http.client
import http.server
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import pytest
from backports import zstd
from lz4 import frame as lz4_frame  # type: ignore[import-untyped]
from playwright.sync_api import sync_playwright

from chdb_server import config
from chdb_server.server import BOUNDS
from embedded_clickhouse import SOURCES, Server, running
from hostile_http import open_s
from support import eventually

pytestmark = pytest.mark.sources(*SOURCES)

PASSWORD = "right-and-long-enough"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("clickhouse") / "data", password=PASSWORD) as server:
        yield server


@pytest.fixture
def user(server: Server) -> Iterator[httpx.Client]:
    """The one who knows the password."""
    with server.http() as client:
        client.auth = ("default", PASSWORD)
        assert client.post("/", content="CREATE DATABASE IF NOT EXISTS d").is_success
        yield client
        assert client.post("/", content="DROP DATABASE d SYNC").is_success


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Path]:
    """A folder in which an attack that works leaves something behind, and must not."""
    folder = tmp_path / "witness"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def _memory_mib(server: Server, field: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(x.split()[1]) // 1024 for x in status.splitlines() if x.startswith(field))


def _forget_peak(server: Server) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def _answers(server: Server) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    client.request("GET", f"/?query=SELECT+42&password={PASSWORD}")
    with client.getresponse() as response:
        return response.read() == b"42\n"


@pytest.mark.parametrize(
    "sql",
    [
        # ClickHouse reads curly quotes as quotes, other tokenizers do not.
        "SELECT ‘'’; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory; SELECT ‘'’",
        "SELECT 1; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory",
        'SELECT “"”; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory; SELECT “"”',
        "SELECT $$'$$; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory",
        "SELECT 1 -- '\n; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory",
        "SELECT 1 /* ' */; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory",
        "SELECT '\\''; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory; SELECT '\\''",
        "EXPLAIN AST SELECT ‘'’; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory; SELECT ‘'’",
        "SHOW TABLES; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory",
        (
            "SELECT 1 FORMAT TSV SETTINGS max_threads = 1; CREATE TABLE d.smuggled (x Int8)"
            " ENGINE = Memory"
        ),
        "SELECT 1\0; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory",
        "WITH ‘'’ AS x SELECT x; CREATE TABLE d.smuggled (x Int8) ENGINE = Memory; SELECT ‘'’",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_one_statement(user: httpx.Client, method: str, sql: str) -> None:
    response = user.request(method, "/", params={"query": sql})
    assert response.is_error
    assert user.post("/", content="EXISTS d.smuggled").text == "0\n"


# ClickHouse takes these for white space, and this server's own tokenizer for letters.
BLANKS = ["\u00a0", "\u2003", "\u3000", "\ufeff", "\u200b"]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    "sql",
    [
        "_SELECT getSetting('max_execution_time')",
        "_SET readonly = 1",
        "_SET input_format_allow_errors_num = 100, input_format_allow_errors_ratio = 1",
        "_USE d",
        "INSERT INTO d.t_FORMAT_TSV\n1\n\nCREATE TABLE d.smuggled (x Int8) ENGINE = Memory",
        "INSERT INTO d.t_VALUES (1)",
        "_INSERT INTO d.t VALUES (1)",
        "INSERT INTO d.t FROM_INFILE '/proc/self/environ' FORMAT_RawBLOB",
    ],
)
def test_a_text_that_can_be_read_in_two_ways_is_refused(
    user: httpx.Client, sql: str, blank: str
) -> None:
    user.post("/", content="CREATE TABLE d.t (x String) ENGINE = MergeTree ORDER BY x")
    response = user.post("/", content=sql.replace("_", blank).encode())
    assert response.is_error, response.text
    assert user.post("/", content="EXISTS d.smuggled").text == "0\n"
    assert user.post("/", content="SELECT count() FROM d.t").text == "0\n"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE d.made (x Int8) ENGINE = Memory",
        "INSERT INTO d.t VALUES (2)",
        "INSERT INTO d.t SELECT 2",
        "ALTER TABLE d.t DELETE WHERE 1",
        "TRUNCATE TABLE d.t",
        "DROP TABLE d.t",
        "DETACH TABLE d.t",
        "RENAME TABLE d.t TO d.u",
        "OPTIMIZE TABLE d.t FINAL",
        "KILL QUERY WHERE 1",
        "CREATE TEMPORARY TABLE t (x Int8)",
        "SELECT 1 SETTINGS readonly = 0",
        "SYSTEM STOP MERGES",
        "WITH 2 AS two INSERT INTO d.t SELECT two",
        "DROP TABLE d.t PARALLEL WITH DROP TABLE d.t",
        "BEGIN TRANSACTION",
        "CREATE FUNCTION made AS x -> x",
    ],
)
@pytest.mark.parametrize("way", ["GET", "readonly"])
def test_a_read_only_request_changes_nothing(user: httpx.Client, way: str, sql: str) -> None:
    user.post("/", content="CREATE TABLE d.t (x Int8) ENGINE = MergeTree ORDER BY x")
    user.post("/", content="INSERT INTO d.t VALUES (1)")
    if way == "GET":
        response = user.get("/", params={"query": sql, "readonly": "0"})
    else:
        response = user.post("/", params={"readonly": "1"}, content=sql)
    assert response.is_error, response.text
    assert user.post("/", content="SELECT groupArray(x) FROM d.t").text == "[1]\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT arrayMap(file, ['/etc/passwd'])",
        "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
        "SELECT file('/proc/self/root/etc/passwd')",
        "SELECT file('/proc/self/environ')",
        "SELECT file('../data.config/users.xml')",
        "SELECT * APPLY(file) FROM (SELECT '/proc/self/environ')",
        "CREATE FUNCTION read_file AS x -> file(x)",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM `/etc/passwd`",
        "SELECT * FROM _overlay.`/etc/passwd`",
        "DESCRIBE file('/etc/passwd')",
        "SELECT * FROM filesystem('/etc')",
        "SELECT * FROM sqlite('/etc/passwd', 'x')",
        "SELECT 1 AS a FORMAT Template SETTINGS format_template_row = '/etc/passwd'",
        "SELECT 1 AS a FORMAT Template SETTINGS format_template_resultset = '/etc/passwd'",
        "SELECT 1 AS a FORMAT Protobuf SETTINGS format_schema = '/etc/passwd:X'",
        "INSERT INTO d.lines FROM INFILE '/etc/passwd' FORMAT LineAsString",
        "INSERT INTO d.lines FROM /**/ INFILE '/etc/passwd' FORMAT LineAsString",
        "INSERT INTO d.lines FROM INFILE ‘/etc/passwd’ FORMAT LineAsString",
        "WITH ‘'’ AS x INSERT INTO d.lines FROM INFILE '/etc/passwd' FORMAT LineAsString",
        "CREATE TABLE d.f (x String) ENGINE = File(LineAsString, '/etc/passwd')",
        "CREATE TABLE d.f (x String) ENGINE = FileLog('/etc', 'LineAsString')",
        "CREATE DATABASE f ENGINE = Filesystem('/etc')",
        "CREATE DATABASE f ENGINE = SQLite('/etc/passwd')",
        "CREATE VIEW d.v AS SELECT * FROM file('/etc/passwd', 'LineAsString')",
        (
            "CREATE DICTIONARY d.x (id UInt64, v String) PRIMARY KEY id"
            " SOURCE(FILE(PATH '/etc/passwd' FORMAT 'TSV')) LAYOUT(FLAT()) LIFETIME(0)"
        ),
    ],
)
def test_files_of_the_machine_cannot_be_read(user: httpx.Client, sql: str) -> None:
    user.post("/", content="CREATE TABLE d.lines (line String) ENGINE = Memory")
    for response in (user.post("/", content=sql), user.get("/", params={"query": sql})):
        assert response.is_error
        assert "root:" not in response.text
    assert user.post("/", content="SELECT count() FROM d.lines").text == "0\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 INTO OUTFILE '{witness}/x'",
        "SELECT 1 INTO/**/OUTFILE '{witness}/x' FORMAT TSV",
        "SELECT ‘'’ INTO OUTFILE ‘{witness}/x’",
        "SELECT ‘'’ INTO OUTFILE ‘{witness}/x’; SELECT ‘'’",
        "SELECT $$'$$ INTO OUTFILE $${witness}/x$$ --'",
        "DESCRIBE (SELECT ‘'’) INTO OUTFILE ‘{witness}/x’",
        "SHOW DATABASES INTO OUTFILE '{witness}/x'",
        "EXISTS d.t INTO OUTFILE '{witness}/x'",
        "CHECK TABLE d.t INTO OUTFILE '{witness}/x'",
        "KILL QUERY WHERE 0 INTO OUTFILE '{witness}/x'",
        "OPTIMIZE TABLE d.t INTO OUTFILE '{witness}/x'",
        "INSERT INTO FUNCTION file('{witness}/x', 'TSV', 'a Int8') VALUES (1)",
        "CREATE TABLE d.f (x Int8) ENGINE = EmbeddedRocksDB(0, '{witness}/x') PRIMARY KEY x",
        (
            "CREATE TABLE d.f (x Int8) ENGINE = MergeTree ORDER BY x"
            " SETTINGS disk = disk(type = local_blob_storage, path = '{witness}/x/')"
        ),
        (
            "CREATE DATABASE f ENGINE = Atomic"
            " SETTINGS disk = disk(type = local_blob_storage, path = '{witness}/x/')"
        ),
        "SELECT 1 AS a FORMAT Protobuf SETTINGS output_format_schema = '{witness}/x.proto'",
        "BACKUP DATABASE d TO File('{witness}/x')",
        "BACKUP DATABASE d TO Disk('default', '{witness}/x')",
        "BACKUP DATABASE d TO Disk('backups', 'x')",
        "CREATE TABLE d.f (x Int8) ENGINE = File(TSV, '{witness}/x')",
    ],
)
def test_files_of_the_machine_cannot_be_written(
    user: httpx.Client, witness: Path, sql: str
) -> None:
    user.post("/", content="CREATE TABLE d.t (x Int8) ENGINE = MergeTree ORDER BY x")
    for response in (
        user.post("/", content=sql.format(witness=witness)),
        user.get("/", params={"query": sql.format(witness=witness)}),
    ):
        assert response.is_error or response.text == ""


@pytest.mark.parametrize(
    "sql",
    [
        "BACKUP DATABASE d TO File('{witness}/x')",
        "BACKUP DATABASE d TO File('x')",
        "BACKUP DATABASE d TO Disk('default', 'x')",
        "BACKUP DATABASE d TO Disk('backups', '../witness/x')",
        "BACKUP DATABASE d TO Disk('backups', '{witness}/x')",
        "BACKUP DATABASE d TO S3('http://127.0.0.1:1/x', 'a', 'b')",
        "RESTORE DATABASE d AS e FROM File('{witness}')",
        "RESTORE DATABASE d AS e FROM Disk('default', 'x')",
        "SELECT * FROM disk('backups', 'x')",
        "SELECT file('{witness}/x')",
        "CREATE TABLE d.f (x Int8) ENGINE = MergeTree ORDER BY x SETTINGS disk = 'backups'",
        (
            "CREATE TABLE d.f (x Int8) ENGINE = MergeTree ORDER BY x"
            " SETTINGS disk = disk(type = local_blob_storage, path = '{witness}/x/')"
        ),
    ],
)
def test_backups_go_to_their_own_folder_only(witness: Path, tmp_path: Path, sql: str) -> None:
    backups = tmp_path / "backups"
    with (
        running(tmp_path / "data", "--backups", str(backups), password=PASSWORD) as server,
        server.http() as client,
    ):
        client.auth = ("default", PASSWORD)
        assert client.post("/", content="CREATE DATABASE d").is_success
        assert client.post("/", content=sql.format(witness=witness)).is_error
        assert list(backups.iterdir()) == []
        good = client.post("/", content="BACKUP DATABASE d TO Disk('backups', 'x/y')")
        assert "BACKUP_CREATED" in good.text
        reading = client.post("/?readonly=1", content="BACKUP DATABASE d TO Disk('backups', 'z')")
        assert reading.is_error


def test_a_refused_read_leaves_no_file_in_the_data_folder(
    server: Server, user: httpx.Client
) -> None:
    made = server.path / "made.db"
    assert user.get("/", params={"query": f"SELECT * FROM sqlite('{made}', 't')"}).is_error
    assert not made.exists()


def test_the_environment_of_the_process_shows_no_password(server: Server) -> None:
    assert PASSWORD.encode() not in Path(f"/proc/{server.process.pid}/environ").read_bytes()


@pytest.mark.parametrize(
    "sql",
    [
        (
            "CREATE DICTIONARY d.x (id UInt64, v String) PRIMARY KEY id SOURCE(EXECUTABLE(COMMAND"
            " 'id > {witness}/x; echo 1,x' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(0)"
        ),
        "SELECT * FROM dictionary('d.x')",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        "CREATE TABLE d.e (a String) ENGINE = Executable('id', TSV)",
        "SELECT * FROM d.e",
        "SELECT * FROM Python('os')",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
        "SYSTEM RELOAD CONFIG",
        "CREATE USER other",
        "GRANT ALL ON *.* TO default",
        "GRANT READ ON FILE TO default",
        "EXECUTE AS default SELECT 1",
        # An error that only looks like the one of an engine that is broken.
        (
            "SELECT throwIf(1, 'shutting down due to a fatal error', toInt16(236))"
            " SETTINGS allow_custom_error_code_in_throwif = 1"
        ),
    ],
)
def test_commands_and_rights_are_out_of_reach(
    server: Server, user: httpx.Client, witness: Path, sql: str
) -> None:
    assert user.post("/", content=sql.format(witness=witness)).is_error
    assert _answers(server)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM url('http://127.0.0.1:{port}/', 'TSV', 'a String')",
        "SELECT * FROM s3('http://127.0.0.1:{port}/bucket/x', 'TSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
        "SELECT * FROM mysql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
        "CREATE TABLE d.u (a String) ENGINE = URL('http://127.0.0.1:{port}/', TSV)",
        (
            "CREATE TABLE d.w (a Int8) ENGINE = MergeTree ORDER BY a"
            " SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:{port}/x/')"
        ),
        (
            "CREATE DATABASE w ENGINE = Atomic"
            " SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:{port}/x/')"
        ),
        "CREATE DATABASE w ENGINE = MySQL('127.0.0.1:{port}', 'd', 'u', 'p')",
        "CREATE TABLE d.k (a String) ENGINE = Kafka('127.0.0.1:{port}', 't', 'g', 'TSV')",
    ],
)
def test_other_servers_are_out_of_reach(user: httpx.Client, sql: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert user.post("/", content=sql.format(port=port)).is_error
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


@pytest.mark.parametrize(
    "setting",
    [
        ("max_memory_usage", "0"),
        ("max_memory_usage", "1000000000000"),
        ("max_query_size", "0"),
        ("dialect", "kusto"),
        ("max_parser_depth", "100000000"),
        ("max_untracked_memory", "100000000000"),
        ("max_execution_time", "0"),
        ("max_execution_time", "601"),
        ("max_memory_usage", str(config.DEFAULT_MEMORY_LIMIT_BYTES)),
        ("allow_simdjson", "0"),
    ],
)
def test_bounds_cannot_be_lifted(user: httpx.Client, setting: tuple[str, str]) -> None:
    name, value = setting
    assert user.get("/", params={"query": "SELECT 1", name: value}).is_error
    assert user.post("/", content=f"SELECT 1 SETTINGS {name} = '{value}'").is_error


def test_a_read_has_bounds_of_time_and_memory(user: httpx.Client) -> None:
    names = "getSetting('max_execution_time'), getSetting('max_memory_usage')"
    answer = user.post("/", content=f"SELECT {names}").text
    assert answer == f"600\t{config.DEFAULT_MEMORY_LIMIT_BYTES // 2}\n"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ClickHouse-User": "default"},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD[:-1]},
        {"X-ClickHouse-User": "other", "X-ClickHouse-Key": PASSWORD},
        {"Authorization": "Bearer " + PASSWORD},
        {"Authorization": "Basic " + "A" * 100_000},
    ],
)
def test_nobody_else_gets_in(server: Server, headers: dict[str, str]) -> None:
    with server.http() as stranger:
        response = stranger.get("/", params={"query": "SELECT 42"}, headers=headers)
        assert response.status_code in (400, 403)
        assert "42" not in response.text
        assert "www-authenticate" not in response.headers


def _raw(server: Server, data: bytes, timeout_s: float = 10) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout_s) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize(
    "head",
    [
        b"Host: localhost\r\nHost: evil.example",
        b"Host: evil.example\r\nHost: localhost",
        b"Host: localhost\r\nOrigin: http://evil.example\r\nOrigin: http://localhost",
        b"Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Site: none",
        b"Host: localhost\r\nAuthorization: Basic \xff\xfe",
        b"Host: [::1",
        b"Host: evil.example@localhost",
        b"Origin: null",
        b"Host:\r\nOrigin: null",
        b"Host: localhost\r\nOrigin: null",
        b"X: without a host",
        b"Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate",
        b"Host: localhost\r\nReferer: http://evil.example/",
    ],
)
def test_heads_of_two_minds_and_foreign_pages_are_refused(server: Server, head: bytes) -> None:
    url = f"GET /?query=SELECT+42&password={PASSWORD} HTTP/1.1\r\n".encode()
    answer = _raw(server, url + head + b"\r\nConnection: close\r\n\r\n")
    assert answer.split()[1] in (b"400", b"403")
    assert b"\r\n\r\n42" not in answer
    assert _names_no_server(answer)


def _names_no_server(answer: bytes) -> bool:
    # As a word: answers hold random letters, and a machine's name may be short.
    host = re.escape(socket.gethostname().lower().encode())
    return not re.search(rb"version|display-name|\b%b\b" % host, answer.lower())


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /?query=SELECT+1 HTTP/1.1",
        b"GET /?query=SELECT+1&password=wrong HTTP/1.1",
        b"GET /?" + b"a&" * 1001 + b" HTTP/1.1",
        b"GET /?query=SELECT+1&session_check=1 HTTP/1.1",
        b"GET /?query=SELECT+1&compress=1 HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET /ping HTTP/1.1",
        b"GET /replicas_status HTTP/1.1",
        b"GET /nope HTTP/1.1",
        b"DELETE / HTTP/1.1",
        b"GET http://localhost/?query=SELECT+1 HTTP/1.1",
        b"GET /?query=SELECT+1 HTTP/1.0",
        b"POST / HTTP/1.1\r\nExpect: 100-continue",
        b"POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x",
        b"POST / HTTP/1.1\r\nContent-Encoding: br",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        b"\x16\x03\x01",
    ],
)
def test_no_answer_without_the_password_names_the_server(server: Server, request_: bytes) -> None:
    head = b"\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert _names_no_server(_raw(server, request_ + head))


def test_http_1_0_without_a_host_gets_no_data(server: Server) -> None:
    url = f"GET /?query=SELECT+42&password={PASSWORD} HTTP/1.0".encode()
    assert b" 403 " in _raw(server, url + b"\r\n\r\n")
    assert b"42\n" in _raw(server, url + b"\r\nHost: localhost\r\n\r\n")


def test_headers_cannot_be_smuggled_into_an_answer(server: Server, user: httpx.Client) -> None:
    for name in ("query_id", "default_format"):
        response = user.get("/", params={"query": "SELECT 1", name: "a\r\nSet-Cookie: x=1"})
        assert response.status_code == 400
        assert "set-cookie" not in response.headers
    response = user.get("/", params={"query": "SELECT '<script>'"})
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]


def test_a_head_has_a_size_and_a_number_of_fields(server: Server) -> None:
    before = _memory_mib(server, "VmRSS")
    _forget_peak(server)
    begin = b"GET /?query=SELECT+1 HTTP/1.1\r\nHost: localhost\r\n"
    for rest in (b"X: " + b"a" * (64 * MIB), b"".join(b"X%d: a\r\n" % n for n in range(100_000))):
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            try:
                connection.sendall(begin + rest + b"\r\n\r\n")
                answer = connection.recv(100)
            except (BrokenPipeError, ConnectionResetError):
                continue
            assert answer.split()[1:2] in ([b"400"], [b"431"], [])
    assert _memory_mib(server, "VmHWM") - before < 40
    assert _answers(server)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("zstd", zstd.compress), ("lz4", lz4_frame.compress)],
)
def test_a_bomb_of_a_body_stays_small(
    server: Server, user: httpx.Client, encoding: str, compress: object
) -> None:
    assert callable(compress)
    body = compress(b" " * (192 * MIB))
    before = _memory_mib(server, "VmRSS")
    _forget_peak(server)
    response = user.post("/", content=body, headers={"Content-Encoding": encoding})
    assert response.is_error
    assert _memory_mib(server, "VmHWM") - before < 150
    for several in (f"{encoding}, {encoding}", f"{encoding},zstd", f"identity, {encoding}"):
        response = user.post("/", content=body, headers={"Content-Encoding": several})
        assert response.status_code in (400, 500)
        assert "Unknown compression method" in response.text


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_bomb_of_bombs_is_no_more_than_a_damaged_text(
    server: Server, user: httpx.Client, encoding: str
) -> None:
    """Of nested compressions one is undone; of the many parts of a body a number is read."""
    compress = {"gzip": gzip.compress, "zstd": zstd.compress, "lz4": lz4_frame.compress}[encoding]
    _forget_peak(server)
    before = _memory_mib(server, "VmRSS")
    for body in (compress(compress(compress(b" " * (64 * MIB)))), compress(b"") * 100_000):
        response = user.post("/", content=body, headers={"Content-Encoding": encoding})
        assert response.is_error
    assert _memory_mib(server, "VmHWM") - before < 100
    assert _answers(server)


@pytest.mark.parametrize("encoding", ["snappy", "br", "xz", "bz2", "deflate", "x-gzip", "*"])
def test_other_compression_is_refused(user: httpx.Client, encoding: str) -> None:
    body = gzip.compress(b"SELECT 1")
    response = user.post("/", content=body, headers={"Content-Encoding": encoding})
    assert response.is_error
    assert "Unknown compression method" in response.text


def test_forms_are_read_up_to_a_size(server: Server, user: httpx.Client) -> None:
    before = _memory_mib(server, "VmRSS")
    _forget_peak(server)
    content = (b"a" * MIB for _ in range(64))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert user.post("/", content=content, headers=headers).status_code == 413
    assert _memory_mib(server, "VmHWM") - before < 40


def test_forms_are_not_read_without_the_password(server: Server) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n' + PASSWORD.encode()
    body += b'\r\n--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 42\r\n--x--\r\n'
    head = (
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = _raw(server, head.encode() + body)
    assert b" 403 " in answer.splitlines()[0]
    assert b"42" not in answer.splitlines()


@pytest.mark.parametrize(
    "part",
    [
        b"--x\r\n" + b"A: b\r\n" * 200_000,
        b"--x\r\nContent-Disposition: form-data; name=" + b'"a' * 500_000,
        b"--x\r\nContent-Disposition: " + b'form-data; a="b"; ' * 60_000 + b"\r\n\r\n",
        b"\r\n--" * 260_000,
        b"-" * MIB,
        b"".join(
            b"--x\r\nContent-Disposition:a;name=param_%d\r\n\r\n\r\n" % n for n in range(20_000)
        ),
    ],
    ids=["headers", "a name", "options", "almost boundaries", "dashes", "fields"],
)
def test_forms_take_no_long_time(server: Server, user: httpx.Client, part: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    began = time.monotonic()
    assert user.post("/", content=part[: MIB - 1], headers=headers).status_code == 400
    assert time.monotonic() - began < 2
    assert _answers(server)


def test_half_requests_keep_nobody_away_and_end(server: Server) -> None:
    with ExitStack() as opened:
        held = []
        for _ in range(2 * BOUNDS.unadmitted):
            held.append(
                opened.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            )
            held[-1].sendall(b"GET /?query=SELECT+1 HTTP/1.1\r\nHost: local")
        assert _answers(server)
        for connection in held:
            connection.settimeout(2 * BOUNDS.head_timeout_s)
            try:
                assert connection.recv(10) == b""
            except ConnectionResetError:
                continue


@pytest.mark.parametrize(
    "head",
    [
        b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nab",
        b"POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\nab",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;a",
    ],
)
def test_answered_request_whose_body_is_missing_holds_no_connection(
    server: Server, head: bytes
) -> None:
    assert open_s(("127.0.0.1", server.port), head, after=b"c") < 5


def test_waiting_bodies_share_their_memory_and_keep_no_insert_away(
    server: Server, user: httpx.Client
) -> None:
    user.post("/", content="CREATE TABLE d.t (x Int8) ENGINE = MergeTree ORDER BY x")
    before = _memory_mib(server, "VmRSS")
    _forget_peak(server)
    head = f"POST /?password={PASSWORD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000"
    with ExitStack() as opened:
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", server.port), 30)
            opened.enter_context(connection)
            connection.sendall(head.encode() + b"\r\n\r\n" + b"a" * (31 * MIB))
        assert user.post("/", content="INSERT INTO d.t VALUES (1)").is_success
        large = b"INSERT INTO d.t FORMAT TSV\n" + b"1\n" * (30 * MIB)
        assert user.post("/", content=large).is_success
    assert _memory_mib(server, "VmHWM") - before < 450
    assert user.post("/", content="SELECT count() FROM d.t").text == f"{30 * MIB + 1}\n"


@pytest.mark.parametrize("disguise", ["none", "gzip", "comment"])
def test_reads_keep_no_insert_waiting(user: httpx.Client, server: Server, disguise: str) -> None:
    user.post("/", content="CREATE TABLE d.t (x Int8) ENGINE = MergeTree ORDER BY x")
    url = f"/?password={PASSWORD}"
    sql = b"SELECT count() FROM numbers(100000000000000)"
    body, headers = {
        "none": (sql, {}),
        "gzip": (gzip.compress(sql), {"Content-Encoding": "gzip"}),
        "comment": (b"/* " + b"x" * 100 + b" */" + sql, {}),
    }[disguise]
    with ExitStack() as opened:
        for _ in range(40):
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            opened.callback(connection.close)
            connection.request("POST", url, body=body, headers=headers)
        began_s = time.monotonic()
        assert user.post("/", content="INSERT INTO d.t VALUES (1)").is_success
        assert time.monotonic() - began_s < 5
    running = "SELECT count() FROM system.processes WHERE query LIKE '%count() FROM n%'"
    # This question finds itself.
    eventually(lambda: user.post("/", content=running).text == "1\n", "the reads end")


def test_the_folder_is_private(server: Server, tmp_path: Path) -> None:
    with running(tmp_path / "data", password=PASSWORD):
        for folder in (tmp_path / "data", tmp_path / "data.config"):
            assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_gets_neither_password_nor_answer(
    server: Server, tmp_path: Path
) -> None:
    nobody = 65534
    child = os.fork()
    if child == 0:
        os.setgid(nobody)
        os.setuid(nobody)
        try:
            Path(f"/proc/{server.process.pid}/environ").read_bytes()
            os._exit(1)
        except PermissionError:
            pass
        answer = _raw(server, b"GET /?query=SELECT+42 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        os._exit(0 if b" 403 " in answer else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _page(way: str, urls: list[str]) -> bytes:
    act = {
        "image": "new Image().src = u",
        "frame": "f = document.createElement('iframe'); f.src = u; document.body.append(f)",
        "navigation": "window.open(u, 'w' + i)",
        "fetch": "fetch(u, {mode: 'no-cors'})",
        "form": "f = document.createElement('form'); f.method = 'POST'; f.action = u;"
        " f.target = 'w' + i; document.body.append(f); f.submit()",
    }[way]
    return f"<!doctype html><body><script>{urls!r}.forEach((u, i) => {{ {act} }})</script>".encode()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian: chromium)")
@pytest.mark.parametrize("way", ["image", "frame", "navigation", "fetch", "form"])
def test_a_page_of_another_site_gets_nothing_done(
    server: Server, user: httpx.Client, witness: Path, way: str
) -> None:
    """Even one that knows the password, as a browser that was once asked for it would."""
    statements = [
        f"SELECT ‘'’ INTO OUTFILE ‘{witness}/x’; SELECT ‘'’",
        "CREATE TABLE d.by_page (x Int8) ENGINE = Memory",
    ]
    target = f"http://127.0.0.1:{server.port}"
    urls = [
        f"{target}/?{urlencode({'query': sql, 'password': PASSWORD}, quote_via=quote)}"
        for sql in statements
    ]
    content = _page(way, urls)

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as evil,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                f"--host-resolver-rules=MAP evil.example 127.0.0.1:{evil.server_port}",
                "--disable-popup-blocking",
            ],
        )
        context = browser.new_context()
        seen: dict[str, int] = {}
        context.on("response", lambda answer: seen.update({answer.url: answer.status}))
        # Of an answer that says it is nobody else's, a page sees not even the status.
        context.on("requestfailed", lambda request: seen.update({request.url: 403}))
        tab = context.new_page()
        tab.goto("http://evil.example/")
        deadline_s = time.monotonic() + 20
        while len(seen) < 1 + len(urls) and time.monotonic() < deadline_s:
            tab.wait_for_timeout(50)
        browser.close()
        evil.shutdown()
    assert [seen[url] for url in seen if url.startswith(target)] == [403] * len(urls)
    assert user.post("/", content="EXISTS d.by_page").text == "0\n"


def test_many_at_once_stay_within_the_memory_of_all(user: httpx.Client, server: Server) -> None:
    """Greedy reads fail; what is small goes on."""
    user.post("/", content="CREATE TABLE d.t (x Int8) ENGINE = MergeTree ORDER BY x")
    greedy = "SELECT groupArray(number) FROM numbers(300000000)"

    def ask(_: int) -> int:
        with server.http() as client:
            client.auth = ("default", PASSWORD)
            params = {"max_memory_usage": str(50 * MIB)}
            return client.post("/", params=params, content=greedy).status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = threads.map(ask, range(4))
        assert user.post("/", content="INSERT INTO d.t VALUES (1)").is_success
        assert set(statuses) == {500}
