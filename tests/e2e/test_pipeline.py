"""`radar up` as a user runs it: real processes, real stores, real signals."""

import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import pytest

from ports import free_port
from radar.addresses import answers
from radar.datasets import DATASETS
from radar_simulator import read_ledger
from support import Process, eventually, lives, radar, run_command

CANARY = "canary-7f3a"
Facts = tuple[str, str, Decimal, Decimal, str]


class Up:
    """One `radar up` on free ports, with its data in the test's directory."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        self.simulated = directory / "data" / "simulated"
        self.environment = {
            "RADAR_DATA_DIR": str(directory / "data"),
            "CLICKHOUSE_PORT": str(self.port),
            "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
            "DASHBOARD_PORT": str(free_port()),
            "BATCH_TIMEOUT_SECONDS": "0.5",
            "DEPTH_INTERVAL_SECONDS": "2",
            "CONNECTION_MAX_AGE_SECONDS": "6",
            "CONNECTION_OVERLAP_SECONDS": "1",
        }
        self.processes: list[Process] = []

    def start(self, *arguments: str, **environment: str) -> Process:
        process = Process(
            radar("up", *arguments),
            self.directory / f"up-{len(self.processes)}.log",
            **(self.environment | environment),
        )
        self.processes.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, environment=self.environment | environment)

    def state(self, data: Path | None = None) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(
                ((data or self.simulated) / "run" / "state.json").read_text()
            )
        except FileNotFoundError:
            return {"processes": []}
        return state

    def pids(self) -> dict[str, int]:
        return {each["name"]: each["pid"] for each in self.state()["processes"] if each["pid"]}

    def ask(self, sql: str) -> str:
        address = f"http://127.0.0.1:{self.port}/"
        password = (self.directory / "data" / "clickhouse.password").read_text().strip()
        answer = httpx.get(
            address,
            params={"query": sql, "database": "radar"},
            auth=("default", password),
            timeout=30,
        )
        return answer.raise_for_status().text.strip()

    def dashboard(self, process: Process) -> str:
        """Return the address of the dashboard that a run shows, once it answers."""
        shown = re.search(
            r"^Dashboard: (http://127.0.0.1:([0-9]+))$", process.log.read_text(), re.MULTILINE
        )
        assert shown is not None
        eventually(lambda: answers("127.0.0.1", int(shown[2])), "the dashboard answers")
        return shown[1]

    def knows(self) -> dict[str, str]:
        """Return the header that gives the dashboard's token, which the run has created."""
        token = Path(self.environment["RADAR_DATA_DIR"]) / "dashboard.token"
        return {"authorization": f"Bearer {token.read_text().strip()}"}

    def stores(self, rows: int) -> bool:
        try:
            return int(self.ask("SELECT count() FROM trades")) >= rows
        except (httpx.HTTPError, FileNotFoundError):
            return False

    def free(self) -> bool:
        broker = int(self.environment["KAFKA_BROKER"].rpartition(":")[2])
        return not answers("127.0.0.1", self.port) and not answers("127.0.0.1", broker)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path)
    yield up
    for process in up.processes:
        process.end()


def stored_trades(up: Up) -> Counter[Facts]:
    """Read all trades with `radar query`, which opens the data itself when nothing runs."""
    sql = (
        "SELECT symbol, formatDateTime(event_time, '%Y-%m-%dT%H:%i:%SZ'), toString(price),"
        " toString(base_amount), side FROM trades"
    )
    done = up.run("query", sql, "--format", "JSONCompactEachRow")
    assert done.returncode == 0, done.stderr
    rows = (json.loads(line) for line in done.stdout.splitlines())
    return Counter((r[0], r[1], Decimal(r[2]), Decimal(r[3]), r[4]) for r in rows)


def exchanged_trades(up: Up) -> tuple[Counter[Facts], Counter[Facts]]:
    """Return what the exchange sent, and what it sent or served in any way."""
    ledger = read_ledger(up.simulated / "ledger.ndjson")
    facts = {
        each.seq: (
            each.symbol,
            each.timestamp,
            Decimal(each.price),
            Decimal(each.quantity),
            str(each.side),
        )
        for each in ledger
    }
    sent = Counter(facts[each.seq] for each in ledger if each.sent)
    return sent, Counter(facts[each.seq] for each in ledger if each.possible)


@pytest.mark.kafka_decides
def test_up_simulated_for_a_duration_stores_exactly_what_the_exchange_sent(up: Up) -> None:
    process = up.start("--simulate", "--duration", "12", "--trades-per-second", "300")
    assert process.wait(100) == 0, process.log.read_text()
    printed = process.log.read_text()
    assert re.search(r"lost 0, duplicates 0$", printed, re.MULTILINE)
    assert "snapshots of 120 of 120 books" in printed
    assert "everything that was produced is stored" in printed
    assert up.free()
    stored = stored_trades(up)
    sent, possible = exchanged_trades(up)
    assert sent.total() > 300
    assert max(sent.values()) > 1, "the market had twins"
    assert sent <= stored <= possible
    first = stored.total()
    # Data is kept between runs, and a run judges only its own.
    again = up.start("--simulate", "--duration", "3")
    assert again.wait(100) == 0, again.log.read_text()
    assert stored_trades(up).total() > first


def test_up_while_it_runs_is_open_to_others_and_survives_kills(up: Up) -> None:
    process = up.start("--simulate", "--trades-per-second", "100")
    eventually(lambda: up.stores(100), "trades are stored", timeout_s=60)

    # Others read and write at the same time.
    password = up.run("password").stdout.strip()
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=up.port, database="radar", password=password
    )
    assert client.query_df("SELECT symbol, price FROM trades LIMIT 5").shape == (5, 2)
    client.command("CREATE TABLE notes (n UInt32, text String) ENGINE = MergeTree ORDER BY n")
    client.insert("notes", [[1, "one"], [2, "two"]], column_names=["n", "text"])
    assert up.ask("SELECT sum(n) FROM notes") == "3"
    client.close()

    # Another data folder does not record into these stores unless somebody asks for it.
    other = {"RADAR_DATA_DIR": str(up.directory / "other"), "CLICKHOUSE_PASSWORD": password}
    refused = up.run("up", "--simulate", "--duration", "1", **other)
    assert refused.returncode == 2
    assert "holds the data of another deployment" in refused.stderr
    assert "radar up --join" in refused.stderr
    assert refused.stderr.count("\n") == 1

    address = up.dashboard(process)
    assert httpx.get(f"{address}/api/about", trust_env=False).status_code == 401
    with httpx.Client(base_url=address, headers=up.knows(), trust_env=False) as dashboard:
        about = dashboard.get("/api/about").json()
        assert (about["simulated"], about["clickhouse"]) == (True, f"127.0.0.1:{up.port}/radar")
        markets = dashboard.get("/api/markets").json()["markets"]
        assert str(len(markets)) == up.ask("SELECT count() FROM markets")
        names = {each["name"] for each in dashboard.get("/api/pipeline").json()["processes"]}
        assert names == up.pids().keys()

    status = json.loads(up.run("status", "--json").stdout)
    assert status["problems"] == []
    assert status["clickhouse"]["tables"]["trades_master"]["rows"] >= 100
    assert len(status["pipeline"]["processes"]) == 13
    eventually(lambda: up.run("health").returncode == 0, "all are ready", every_s=1)
    healthy = json.loads(up.run("health", "--json").stdout)
    assert {each["name"] for each in healthy["processes"]} == up.pids().keys() - {
        "kafka",
        "clickhouse",
    }
    lag = json.loads(up.run("lag", "--json").stdout)
    assert {row["topic"] for row in lag["partitions"]} == {
        dataset.topic for dataset in DATASETS.values()
    }
    assert "radar_trades: 3 partitions" in up.run("topics").stdout
    second = up.run("up", "--simulate")
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "RADAR_DATA_DIR" in second.stderr

    victims = ("trades-consumer-1", "depth-consumer-1", "wallex-trades", "wallex-depth")
    for name in victims:
        pid = up.pids()[name]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda n=name, p=pid: up.pids().get(n, p) != p, f"{name} comes back")  # type: ignore[misc]
    rows = int(up.ask("SELECT count() FROM trades"))
    eventually(lambda: up.stores(rows + 300), "it goes on")
    with (up.simulated / "ledger.ndjson").open() as ledger:
        exchange_port = json.loads(ledger.readline())["port"]
    garbage = {"fault": "garbage", "kind": "invalid_json", "repeat": "2"}
    url = f"http://127.0.0.1:{exchange_port}/simulator/faults"
    assert httpx.post(url, params=garbage, trust_env=False).is_success
    verified = up.run("verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    found = json.loads(verified.stdout)
    assert found["exact"]
    assert found["ledger"]["sent"] > 400
    assert sum(each["rows"] for each in found["datasets"][0]["partitions"]) > 400

    children = up.pids()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(100) == 0, process.log.read_text()
    printed = process.log.read_text()
    assert re.search(r"lost 0, duplicates 0$", printed, re.MULTILINE), printed
    assert "wallex-trades 1×" in printed
    assert re.search(r"^invalid frames of the exchange [1-9]", printed, re.MULTILINE), printed
    assert not [name for name, pid in children.items() if lives(pid)]
    assert up.free()
    sent, possible = exchanged_trades(up)
    assert sent <= stored_trades(up) <= possible


@pytest.mark.slow("src/radar/local/pipeline.py")
def test_up_stopped_while_clickhouse_hangs_ends_and_the_next_start_stores_what_was_left(
    up: Up,
) -> None:
    """Takes the time that a stop waits for a store: the only proof with real processes."""
    process = up.start("--simulate")
    eventually(lambda: up.stores(1), "it runs", timeout_s=60)
    clickhouse = up.pids()["clickhouse"]
    os.kill(clickhouse, signal.SIGSTOP)
    published = r"trades: .* waiting [1-9]"
    eventually(lambda: re.search(published, process.log.read_text()) is not None, "trades wait")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(120) == 1
    printed = process.log.read_text()
    assert "stopping (Ctrl-C again ends at once)" in printed
    pending = r"^stopping: [0-9,]+ messages are not stored yet \(.*\): .*; gives up in"
    assert re.search(pending, printed, re.MULTILINE), printed
    left = r"^waiting in Kafka [1-9].*\n.*ClickHouse.*they stay in Kafka, and the next start"
    assert re.search(left, printed, re.MULTILINE), printed
    assert "Traceback" not in printed
    assert not lives(clickhouse)
    sent, _ = exchanged_trades(up)
    again = up.start("--simulate", "--duration", "3")
    assert again.wait(100) == 0, again.log.read_text()
    assert sent <= stored_trades(up)


def test_up_interrupted_twice_ends_at_once(up: Up) -> None:
    process = up.start("--simulate")
    eventually(lambda: up.stores(1), "it runs", timeout_s=60)
    children = up.pids()
    # Nothing can drain while the stores stand still, so the first one alone would wait.
    os.kill(children["clickhouse"], signal.SIGSTOP)
    os.kill(process.pid, signal.SIGINT)
    eventually(lambda: not lives(children["wallex-trades"]), "the producers stop first")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 1
    assert "stopped by force" in process.log.read_text()
    eventually(lambda: not [n for n, pid in children.items() if lives(pid)], "nothing is left")


@pytest.mark.slow("src/radar/local", "src/radar/cli/up.py", "src/radar/processes.py")
def test_up_killed_leaves_no_orphans_and_the_next_one_goes_on(up: Up) -> None:
    process = up.start("--simulate")
    eventually(lambda: up.stores(20), "it runs", timeout_s=60)
    children = up.pids()
    process.kill()
    eventually(lambda: not [n for n, pid in children.items() if lives(pid)], "children follow")
    rows = stored_trades(up).total()
    assert rows >= 20
    again = up.start("--simulate", "--duration", "5")
    assert again.wait(100) == 0, again.log.read_text()
    assert stored_trades(up).total() > rows


@pytest.mark.embedded_kafka("about ClickHouse's password")
@pytest.mark.slow("src/radar/local", "src/radar/cli", "src/chdb_server")
def test_up_with_a_password_shows_it_nowhere_and_asks_for_it(up: Up) -> None:
    process = up.start("--simulate", CLICKHOUSE_PASSWORD=CANARY)
    eventually(lambda: answers("127.0.0.1", up.port), "ClickHouse runs", timeout_s=60)
    refused = httpx.get(f"http://127.0.0.1:{up.port}/", params={"query": "SELECT 1"})
    assert refused.status_code == 403
    assert refused.headers["X-ClickHouse-Exception-Code"] == "516"
    sql = "SELECT count() FROM trades"

    def stored() -> bool:
        done = up.run("query", sql, "--format", "TSV", CLICKHOUSE_PASSWORD=CANARY)
        return done.returncode == 0 and int(done.stdout) > 0

    eventually(stored, "trades are stored", timeout_s=60)
    shown = up.run("config", CLICKHOUSE_PASSWORD=CANARY).stdout
    assert "CLICKHOUSE_PASSWORD=********" in shown
    assert process.terminate(100) == 0
    texts = [*up.simulated.rglob("*.log"), *up.directory.glob("*.log")]
    assert len(texts) >= 10
    assert not [path for path in texts if CANARY in path.read_text(errors="replace")]
    assert CANARY not in shown


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["up"], {"BATCH_SIZE": "many"}, 2, ["BATCH_SIZE", "'many'", "a whole number"]),
        (["consume", "trades"], {"CLICKHOUSE_PORT": "9000"}, 2, ["radar speaks HTTP: use 8123"]),
        (["query", "SELECT 1"], {}, 1, ["start `radar up`"]),
        (["up"], {"DASHBOARD_HOST": "0.0.0.0"}, 2, ["reached from other", "DASHBOARD_TOKEN"]),
        (["up"], {"KAFKA_BROKER": "192.0.2.1:9092"}, 2, ["no server answers at 192.0.2.1:9092"]),
        (["simulate", "--fault", "nonsense"], {}, 2, ["--fault", "nonsense"]),
    ],
)
def test_command_that_cannot_work_says_why_in_one_line(
    up: Up, arguments: list[str], environment: dict[str, str], code: int, words: list[str]
) -> None:
    done = up.run(*arguments, **environment)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("radar: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr


def test_query_that_clickhouse_refuses_tells_its_words_in_one_line(
    up: Up, clickhouse_port: int
) -> None:
    done = up.run("query", "SELECT nonsense FROM nowhere", CLICKHOUSE_PORT=str(clickhouse_port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "UNKNOWN_" in done.stderr
