"""Start, end, crash and restart of the embedded ClickHouse; what it does on its own."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from chdb_server.child import HOST, USER, Address, served
from chdb_server.engine import open_directly
from chdb_server.errors import DataUnavailable, PathInUse, Rejected
from embedded_clickhouse import SOURCES, Server, running

pytestmark = pytest.mark.sources(*SOURCES)

WAIT_SECONDS = 30
TABLE = """
    CREATE TABLE t (block UInt32, row UInt32) ENGINE = MergeTree ORDER BY (block, row)
    SETTINGS non_replicated_deduplication_window = 10000
"""


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.05)


def _ask(client: httpx.Client, sql: str) -> str:
    response = client.post("/", content=sql)
    assert response.status_code == 200, response.text
    return response.text.rstrip("\n")


def _insert(client: httpx.Client, block: int, rows: int = 500, name: str = "") -> httpx.Response:
    body = "".join(f'{{"block":{block},"row":{row}}}\n' for row in range(rows))
    params = {
        "query": "INSERT INTO t FORMAT JSONEachRow",
        "insert_deduplication_token": name or f"block {block}",
        "async_insert": "0",
    }
    return client.post("/", params=params, content=body)


def _start_in_vain(path: Path, port: int) -> tuple[int, str]:
    command = [sys.executable, "-m", "chdb_server", "--no-password"]
    command += ["--path", str(path)]
    result = subprocess.run([*command, "--port", str(port)], capture_output=True, text=True)
    return result.returncode, result.stderr


def test_second_server_on_the_same_folder_or_port_fails_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path / "a") as server:
        code, errors = _start_in_vain(tmp_path / "a", 0)
        assert code == 2
        assert errors.count("\n") == 1
        assert f"in use by another process (pid: {server.process.pid})" in errors
        code, errors = _start_in_vain(tmp_path / "b", server.port)
        assert (code, errors) == (2, f"cannot listen on 127.0.0.1:{server.port}: is in use\n")


def test_sigterm_finishes_running_requests_and_keeps_data(tmp_path: Path) -> None:
    answers: list[str] = []
    with running(tmp_path) as server, server.http() as client:
        _ask(client, TABLE)
        _insert(client, 1)
        thread = threading.Thread(
            target=lambda: answers.append(client.post("/", content="SELECT sleep(1)").text)
        )
        thread.start()
        with server.http() as other:
            query = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%'"
            _until(lambda: _ask(other, query) == "1")
        code, errors = server.end(signal.SIGTERM)
        thread.join()
    assert (code, errors, answers) == (0, "", ["0\n"])
    with running(tmp_path) as server, server.http() as client:
        assert _ask(client, "SELECT count() FROM t") == "500"
        assert server.end(signal.SIGINT) == (0, "")


def test_sigterm_does_not_wait_forever_for_slow_clients(tmp_path: Path) -> None:
    with running(tmp_path, "--shutdown-seconds", "1") as server:
        with server.http() as client:
            _ask(client, TABLE)
        with (
            socket.create_connection(("127.0.0.1", server.port)) as half_sent,
            socket.create_connection(("127.0.0.1", server.port)) as unread,
        ):
            head = b"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nHost: localhost\r\n"
            half_sent.sendall(head + b"Content-Length: 9000000\r\n\r\n" + b"1,1\n" * 500_000)
            unread.sendall(
                b"GET /?query=SELECT+number+FROM+numbers(100000000000) HTTP/1.1\r\n"
                b"Host: localhost\r\n\r\n"
            )
            assert unread.recv(1) == b"H"
            assert server.end(signal.SIGTERM) == (0, "")
    with open_directly(tmp_path) as ask:
        assert ask("SELECT count() FROM t", "CSV") == b"0\n"


def _insert_until_dead(
    server: Server, acknowledged: list[int], worker: int, enough: threading.Event
) -> None:
    with server.http() as client:
        for block in range(worker, 1_000_000, 5):
            try:
                if _insert(client, block).status_code == 200:
                    acknowledged.append(block)
            except httpx.TransportError:
                return
            if len(acknowledged) > 60:
                enough.set()


def test_kill_in_the_middle_of_inserts_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    enough = threading.Event()
    with running(tmp_path) as server:
        with server.http() as client:
            _ask(client, TABLE)
        threads = [
            threading.Thread(target=_insert_until_dead, args=(server, acknowledged, n, enough))
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        assert enough.wait(WAIT_SECONDS)
        server.end(signal.SIGKILL)
        for thread in threads:
            thread.join()
    with running(tmp_path) as server, server.http() as client:
        blocks = _ask(client, "SELECT block, count(), uniqExact(row) FROM t GROUP BY block")
        stored = [tuple(map(int, line.split("\t"))) for line in blocks.splitlines()]
        assert {rows for _, *rows2 in stored for rows in rows2} == {500}
        assert set(acknowledged) <= {block for block, *_ in stored}
        # A worker that got no answer sends its block again, and those with an answer may too.
        for block in range(max(acknowledged) + 1):
            assert _insert(client, block).status_code == 200
        assert (
            _ask(client, "SELECT count() % 500, count() = uniqExact(block, row) FROM t") == "0\t1"
        )
        # ClickHouse writes a name before the rows. A block whose insert was killed between the two
        # needs another name: workers look for the rows of each block that they repeat.
        missing = set(range(max(acknowledged) + 1)) - _blocks(client)
        assert len(missing) <= len(threads)
        for block in missing:
            assert _insert(client, block, name=f"again {block}").status_code == 200
        assert set(range(max(acknowledged) + 1)) <= _blocks(client)


def _blocks(client: httpx.Client) -> set[int]:
    return set(map(int, _ask(client, "SELECT DISTINCT block FROM t").split()))


def test_server_waits_for_a_folder_that_another_one_leaves(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        leaving = threading.Timer(1, first.end)
        leaving.start()
        with running(tmp_path, "--wait-seconds", str(WAIT_SECONDS)) as server:
            assert server.http().get("/ping").text == "Ok.\n"
        leaving.join()


def test_token_is_remembered_across_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.http() as client:
        _ask(client, TABLE)
        _insert(client, 7)
        server.end(signal.SIGTERM)
    with running(tmp_path) as server, server.http() as client:
        _insert(client, 7)
        assert _ask(client, "SELECT count() FROM t") == "500"


# It sends the signal at the latest moment at which uvicorn has no handler of its own.
EARLY = """
import os, signal, sys, uvicorn
from chdb_server.__main__ import main

run = uvicorn.Server.run

def signalled(*arguments, **options):
    os.kill(os.getpid(), int(sys.argv[1]))
    run(*arguments, **options)

uvicorn.Server.run = signalled
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_comes_before_the_first_request_ends_the_server(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", EARLY, str(int(number)), "--no-password", "--port", "0"]
    ended = subprocess.run(
        [*command, "--path", str(tmp_path)], timeout=WAIT_SECONDS, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_folder_can_be_queried_directly_only_when_no_server_has_it(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="no data folder"), open_directly(tmp_path / "no"):
        pass
    with running(tmp_path) as server, server.http() as client:
        _ask(client, TABLE)
        _insert(client, 1)
        with pytest.raises(PathInUse, match="in use by another process"), open_directly(tmp_path):
            pass
        server.end(signal.SIGTERM)
    with open_directly(tmp_path) as ask:
        assert ask("SELECT count() + {n:UInt8} FROM default.t", "CSV", {"n": "1"}) == b"501\n"
        settings = {"format_csv_delimiter": ";"}
        assert ask("SELECT 1, 2", "CSV", None, settings) == b"1;2\n"
        assert ask("SELECT 1, 2", "CSV") == b"1,2\n"
        with pytest.raises(Rejected, match="UNKNOWN_TABLE"):
            ask("SELECT * FROM nope", "CSV")


def test_folder_is_served_by_a_child_only_while_no_other_server_has_it(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="no data folder"), served(tmp_path / "no"):
        pass
    with running(tmp_path) as server, server.http() as client:
        _ask(client, TABLE)
        _insert(client, 1)
        with pytest.raises(PathInUse, match="in use by another process"), served(tmp_path):
            pass
        server.end(signal.SIGTERM)
    with served(tmp_path) as address:
        assert _count(address) == "501\n"
        with pytest.raises(httpx.HTTPStatusError, match=r"40[13]"):
            _count(address._replace(password="wrong"))
    with pytest.raises(httpx.ConnectError):
        _count(address)


def _count(address: Address) -> str:
    answer = httpx.post(
        f"http://{HOST}:{address.port}/",
        content="SELECT count() + 1 FROM default.t",
        auth=(USER, address.password),
        trust_env=False,
    )
    return answer.raise_for_status().text


PARENT = """
import sys
from pathlib import Path
from chdb_server.child import served

with served(Path(sys.argv[1])):
    print("served", flush=True)
    sys.stdin.read()
"""


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "served\n"
        parent.kill()

    def is_free() -> bool:
        try:
            with served(tmp_path):
                return True
        except PathInUse:
            return False

    _until(is_free)


def test_parts_merge_and_old_rows_expire_in_the_background(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.http() as client:
        _ask(client, TABLE)
        for block in range(30):
            _insert(client, block, rows=5)
        _ask(
            client,
            "CREATE TABLE old (at DateTime) ENGINE = MergeTree ORDER BY at "
            "TTL at + INTERVAL 2 SECOND SETTINGS merge_with_ttl_timeout = 0",
        )
        _ask(client, "INSERT INTO old SELECT now() FROM numbers(10)")
        parts = "SELECT count() FROM system.parts WHERE active AND table = 't'"
        _until(lambda: int(_ask(client, parts)) < 15)
        assert _ask(client, "SELECT count() FROM t") == "150"
        _until(lambda: _ask(client, "SELECT count() FROM old") == "0")
