"""The tables and views of a cluster, in an engine that is the only server of one.

Each statement of the migrations is put into its form for a cluster by radar. The test then takes
away only what the engine has no servers for: ON CLUSTER, and the replication of a table.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cluster_engine
from radar.store import cluster, schema
from radar.store.client import INSERT_SETTINGS, Store
from radar.store.cluster import Cluster, local
from radar.store.queries import cluster as doctor
from radar.store.queries import worker

pytestmark = pytest.mark.sources("src/radar/store")

ROWS = 4000
_CLUSTER = Cluster(cluster_engine.CLUSTER, "many")
_REPLICATED = re.compile(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?([^)]*)\)")
_WINDOW = re.compile(r"\breplicated_deduplication_window = (\d+),\s+\w+ = \d+")


def without_servers(statement: str) -> str:
    """Return a statement of a cluster for one process."""
    text = statement.replace(f" ON CLUSTER `{_CLUSTER.name}`", "")
    text = _WINDOW.sub(r"non_replicated_deduplication_window = \1", text)
    return _REPLICATED.sub(r"\1(\2)", text)


class Statements:
    """Statements for the engine, in their order."""

    def __init__(self) -> None:
        self._all: list[dict[str, Any]] = []

    def add(self, sql: str, database: str | None = None, **settings: str) -> int:
        """Add a statement; return its place among the answers."""
        self._all.append({"sql": sql, "database": database, "settings": settings})
        return len(self._all) - 1

    def run(self, folder: Path) -> list[str]:
        done = subprocess.run(
            [sys.executable, cluster_engine.__file__, str(folder)],
            input=json.dumps(self._all), capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        answers: list[str] = json.loads(done.stdout)
        return answers


def migrated() -> Statements:
    """Return the statements that make a plain database `one` and one of a cluster, `many`."""
    statements = Statements()
    for name in ("one", _CLUSTER.database):
        statements.add(f"CREATE DATABASE {name}")
    for migration in schema.migrations():
        for sql in migration.statements:
            statements.add(sql, "one")
            for each in _CLUSTER.statements(sql):
                statements.add(without_servers(each), _CLUSTER.database)
    return statements


# Every second trade is delivered a second time, by another connection.
TRADES = """
INSERT INTO trades_master (trade_id, source, symbol, base, quote, side, price, base_amount,
    event_time, received_at, inserted_at, kafka_partition, kafka_offset)
SELECT toUUID(concat('00000000-0000-0000-0000-', leftPad(hex(number), 12, '0'))),
    'wallex', if(number % 2, 'USDTTMN', 'BTCUSDT'), if(number % 2, 'USDT', 'BTC'),
    if(number % 2, 'TMN', 'USDT'), if(number % 3, 'buy', 'sell'), 100 + number % 7,
    1 + number % 3, toDateTime64('2035-01-01 00:00:00', 3, 'UTC') + number,
    toDateTime64('2035-01-01 00:00:01', 6, 'UTC') + number + {later},
    toDateTime64('2035-01-02 00:00:00', 3, 'UTC'), number % 3, intDiv(number, 3)
FROM numbers({rows}) WHERE number % {every} = 0"""
DEPTH = """
INSERT INTO orderbook_depth (source, symbol, base, quote, side, prices, quantities, received_at,
    inserted_at, kafka_partition, kafka_offset)
SELECT 'wallex', if(number % 4 < 2, 'USDTTMN', 'BTCUSDT'), 'X', 'Y',
    if(number % 2, 'bid', 'ask'), [if(number % 2, 99., 101.)], [1.],
    toDateTime64('2035-01-01 00:00:00', 6, 'UTC') + number,
    toDateTime64('2035-01-02 00:00:00', 3, 'UTC'), 0, number FROM numbers({rows})"""
BLOCKS = {
    "first": TRADES.format(rows=ROWS, later=0, every=1),
    "second": TRADES.format(rows=ROWS, later=1, every=2),
    "depth": DEPTH.format(rows=ROWS),
}
FROM_OTHER_TABLES = (
    "book_at", "completeness", "covered_candles", "day_volumes", "proof_intervals", "redundancy",
    "sessions",
)  # fmt: skip
# Of the views with parameters.
VALUES = {
    "interval_s": "60", "sample_s": "10", "max_age_s": "5", "bps": "100", "price_step": "1",
    "source": "'wallex'", "exchange": "'wallex'", "symbol": "'USDTTMN'",
    "start": "'2035-01-01 00:00:00'", "end": "'2035-01-01 01:00:00'",
    "at": "'2035-01-01 00:30:00'", "time_zone": "'Asia/Tehran'",
}  # fmt: skip


def insert_settings(token: str) -> dict[str, str]:
    values = INSERT_SETTINGS | dict(cluster.insert_settings("0", 30))
    return {name: str(value) for name, value in values.items()} | {
        "insert_deduplication_token": token
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Insert the same rows into both databases, into that of the cluster twice; read both."""
    statements, places = migrated(), {}
    statements.add("SYSTEM STOP MERGES")  # a test counts rows before they collapse
    for database in ("one", "many", "many"):
        for token, sql in BLOCKS.items():
            statements.add(sql, database, **insert_settings(token))
    for table in ("trades_master", "trades_master_local"):
        places[table] = statements.add(f"SELECT count() FROM {table}", "many")
    for name in ("one", "many"):
        columns = "SELECT table, name, type, default_kind FROM system.columns"
        places[f"columns of {name}"] = statements.add(
            f"{columns} WHERE database = '{name}' AND table NOT LIKE '%_local' ORDER BY ALL"
        )
    for view in readable_views():
        for database in ("one", "many"):
            places[f"{view} of {database}"] = statements.add(
                f"SELECT * FROM {called(view)} ORDER BY ALL",
                database,
                distributed_product_mode="global",
            )
    for name, sql in questions().items():
        text = sql.replace("{cluster:String}", f"'{_CLUSTER.name}'")
        places[name] = statements.add(text.replace("{database:String}", "'many'"), "many")
    found = statements.run(tmp_path_factory.mktemp("sharded"))
    return {name: found[place].strip() for name, place in places.items()}


def questions() -> dict[str, str]:
    """Return the queries of `radar doctor --cluster` for which this engine has tables."""
    return {
        "members": doctor.MEMBERS,
        "servers": doctor.servers(_CLUSTER),
        "macros": doctor.macros(_CLUSTER),
        "replicas": doctor.replicas(_CLUSTER),
        "definitions": doctor.definitions(_CLUSTER),
        # The rows of these tests are of 2035, so none is settled.
        "counts": doctor.counts(_CLUSTER, "trades_master").replace("BETWEEN", "NOT BETWEEN"),
        "count": doctor.count("trades_master").replace("BETWEEN", "NOT BETWEEN"),
    }


def readable_views() -> list[str]:
    """Return the views that do not depend on the time of the query."""
    return sorted(name for name, sql in schema.newest().views.items() if "now64" not in sql)


def called(view: str) -> str:
    parameters = schema.parameters(schema.newest().views[view])
    values = ", ".join(f"{name} = {VALUES[name]}" for name in parameters)
    return f"{view}({values})" if values else view


def test_repeated_block_is_stored_once(answers: dict[str, str]) -> None:
    """The token of an insert into the Distributed table reaches the table of the shard."""
    assert answers["trades_master"] == answers["trades_master_local"] == str(ROWS * 3 // 2)


def test_tables_of_a_cluster_have_the_columns_of_those_of_one_server(
    answers: dict[str, str],
) -> None:
    assert answers["columns of many"] == answers["columns of one"]


@pytest.mark.parametrize("view", readable_views())
def test_view_of_a_cluster_equals_the_view_of_one_server(
    view: str, answers: dict[str, str]
) -> None:
    assert answers[f"{view} of many"] == answers[f"{view} of one"]


def test_views_read_the_rows(answers: dict[str, str]) -> None:
    """Equal answers prove something, because they are not empty."""
    assert answers["trades of one"].count("\n") == ROWS - 1
    empty = {view for view in readable_views() if not answers[f"{view} of one"]}
    assert empty <= {*FROM_OTHER_TABLES, "usdt_tmn"}


def test_doctor_asks_the_servers_of_a_cluster(answers: dict[str, str]) -> None:
    host, version = answers["servers"].split("\t")
    assert answers["members"] == "1\t1\t127.0.0.1\t1"
    assert version.count(".") > 1
    assert answers["macros"] == f"{host}\treplica\ta\n{host}\tshard\t1"
    assert answers["replicas"] == ""  # this engine replicates nothing
    tables = [line.split("\t")[1] for line in answers["definitions"].splitlines()]
    assert sorted(tables) == sorted(local(table) for table in schema.newest().tables)
    assert answers["count"] == str(ROWS)
    assert answers["counts"] == f"1\t{host}\t{ROWS}"


def test_parser_of_clickhouse_takes_every_statement_of_a_cluster(store: Store) -> None:
    formed = [
        each
        for migration in schema.migrations()
        for sql in migration.statements
        for each in _CLUSTER.statements(sql)
    ]
    formed += [
        _CLUSTER.create_database(),
        *_CLUSTER.statements(doctor.scratch_table("t")),
        doctor.drop_scratch_table(_CLUSTER, "many.t"),
    ]
    for each in formed:
        literal = each.replace("\\", "\\\\").replace("'", "\\'")
        ((text,),) = store.rows(f"SELECT formatQuerySingleLine('{literal}')")
        assert " ON CLUSTER " in text


def test_parser_of_clickhouse_takes_the_questions_to_every_replica(store: Store) -> None:
    table = _CLUSTER.every_replica("trades_master")
    for sql in (
        worker.places(table),
        worker.last_offset(table),
        worker.offsets_without_hole(table),
        worker.progress(_CLUSTER.every_replica(worker.PROGRESS)),
        doctor.keepers(_CLUSTER),
    ):
        literal = sql.replace("'", "\\'")
        ((text,),) = store.rows(f"SELECT formatQuerySingleLine('{literal}')")
        assert "clusterAllReplicas('cluster', " in text
