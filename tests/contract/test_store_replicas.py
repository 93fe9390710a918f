"""A replica fails in the middle of an insert, its answer is lost, and the other replica answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import embedded_clickhouse
from databases import new_name
from embedded_clickhouse import Server
from radar.checks import cluster as doctor
from radar.checks.findings import State
from radar.errors import ConfigurationError, StoreUnavailable
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from radar.store.migrate import migrate
from replicas import Model, Point, replicated
from support import Process, eventually, radar, run_radar
from workers import create_topics, publish_trades, waiting

TRADES_EACH = 300


pytestmark = pytest.mark.sources(
    "src/radar/store", "src/radar/consumer", "src/radar/checks/cluster.py"
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Run two embedded servers."""
    folder = tmp_path_factory.mktemp("replicas")
    with (
        embedded_clickhouse.running(folder / "first") as first,
        embedded_clickhouse.running(folder / "second") as second,
    ):
        yield [first, second]


@pytest.fixture
def model(
    servers: list[Server], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Model]:
    """Provide two replicas of one new database."""
    with replicated(servers, **request.param) as model:
        monkeypatch.setenv("CLICKHOUSE_DB", new_name())
        for replica in model.replicas:
            settings = load(clickhouse_port=replica.server.port)
            store = Store(settings)
            migrate(store, settings.retention_days, settings.frames_retention_days)
            store.command("SYSTEM STOP MERGES")  # the tests count rows before they collapse
            store.close()
        first, second = model.replicas
        monkeypatch.setenv("CLICKHOUSE_PORT", str(first.port))
        monkeypatch.setenv("CLICKHOUSE_REPLICAS", f"127.0.0.1:{second.port}")
        monkeypatch.setenv("CLICKHOUSE_CLUSTER", "model")
        yield model


@pytest.fixture
def settings(kafka_settings: Settings, model: Model, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "50")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    monkeypatch.setenv("OFFSET_CHECK_SECONDS", "1")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Process]:
    process = Process(radar("consume", "trades"), tmp_path / "worker.log")
    yield process
    process.end()


def ledger(model: Model, *, final: bool) -> list[tuple[int, ...]]:
    """Return of each server: its rows, and their distinct trades and places in Kafka."""
    query = (
        "SELECT count(), uniqExact(trade_id), uniqExact(kafka_partition, kafka_offset)"
        f" FROM {load().clickhouse_db}.trades_master{' FINAL' if final else ''} FORMAT TSV"
    )
    return [tuple(map(int, each.query(query).split())) for each in model.replicas]


def store_with_failures(model: Model, settings: Settings) -> int:
    """Let the replica in use fail at each point in turn; return how many trades were published."""
    published = TRADES_EACH
    publish_trades(settings, range(published))
    eventually(lambda: waiting(settings) == 0, "a replica stores", 60)
    for failures, point in enumerate(Point, 1):
        failing = model.stored_by
        failing.point = point
        publish_trades(settings, range(published, published + TRADES_EACH))
        published += TRADES_EACH
        eventually(lambda: waiting(settings) == 0, f"the other replica stores: {point}", 60)
        assert model.failures == failures
        assert model.stored_by is not failing
        model.heal()
    # The blocks of the last two points were committed before they were sent to the other replica.
    assert model.repeated >= 2
    assert Cluster(settings).topics(["radar_trades"])[0].end == published
    return published


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            {"lag": False, "goes_down": True}, id="in step, and the one that fails is down"
        ),
        pytest.param(
            {"lag": True, "goes_down": False}, id="lagging, and clients lose the one that fails"
        ),
    ],
    indirect=True,
)
def test_each_trade_is_stored_once_when_a_replica_fails_during_an_insert(
    model: Model, settings: Settings, worker: Process
) -> None:
    """Physically once on both servers, and not only after rows collapse."""
    published = store_with_failures(model, settings)
    assert worker.terminate() == 0
    model.catch_up()
    assert ledger(model, final=False) == [(published,) * 3] * 2


@pytest.mark.parametrize("model", [{"lag": True, "goes_down": True}], ids=[""], indirect=True)
def test_block_that_only_a_dead_replica_has_is_stored_again_and_collapses(
    model: Model, settings: Settings, worker: Process
) -> None:
    published = store_with_failures(model, settings)
    assert worker.terminate() == 0
    model.catch_up()
    assert ledger(model, final=True) == [(published,) * 3] * 2
    assert all(rows > published for rows, *_ in ledger(model, final=False))


@pytest.mark.parametrize("model", [{"lag": False, "goes_down": True}], ids=[""], indirect=True)
def test_read_is_answered_by_another_server_and_a_change_is_not_repeated(model: Model) -> None:
    first, second = model.replicas
    store = Store(load())
    try:
        assert store.rows("SELECT hostName()") == [("replica-0",)]
        first.is_reachable = False
        assert store.rows("SELECT hostName()") == [("replica-1",)]
        assert b"".join(store.stream("SELECT hostName()", "TSV")) == b"replica-1\n"

        second.is_reachable, first.is_reachable = False, True
        order = (
            "INSERT INTO restore_orders (topic, topic_id, partition, first_offset, last_offset)"
            " SELECT 't', 'id', 0, 0, 1"
        )
        with pytest.raises(StoreUnavailable):
            store.command(order)
        assert store.rows("SELECT count() FROM restore_orders") == [(0,)]
        store.command(order)
        assert store.rows("SELECT count() FROM restore_orders") == [(1,)]

        first.is_reachable = False
        with pytest.raises(StoreUnavailable):
            store.rows("SELECT 1")
        second.is_reachable = True
        assert store.rows("SELECT hostName()") == [("replica-1",)]
    finally:
        store.close()


@pytest.mark.parametrize("model", [{"lag": False, "goes_down": True}], ids=[""], indirect=True)
def test_doctor_finds_that_servers_recognise_the_block_of_another(model: Model) -> None:
    finding = doctor.token(load())
    assert finding.state is State.OK, finding
    assert model.repeated == 2
    tables = model.replicas[1].query(f"SHOW TABLES FROM {load().clickhouse_db} LIKE 'radar_d%'")
    assert tables == b""


@pytest.mark.parametrize("model", [{"lag": True, "goes_down": True}], ids=[""], indirect=True)
def test_doctor_finds_servers_that_do_not_replicate_each_other(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would have one row if each had inserted the block."""
    monkeypatch.setattr(doctor, "REPLICATED_WITHIN_S", 0.5)
    finding = doctor.token(load())
    assert finding.state is State.PROBLEM
    assert "does not reach every server" in finding.detail
    assert model.repeated == 0


@pytest.mark.parametrize("model", [{"lag": False, "goes_down": True}], ids=[""], indirect=True)
def test_database_of_one_server_is_refused_in_a_cluster(model: Model) -> None:
    """Its servers would each hold other rows."""
    port = model.replicas[0].server.port
    store = Store(load(clickhouse_port=port, clickhouse_replicas=()))
    try:
        with pytest.raises(ConfigurationError, match="was made for one server"):
            migrate(store, 90)
    finally:
        store.close()


def test_doctor_names_a_cluster_that_the_server_does_not_know(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "CLICKHOUSE_CLUSTER is empty" in run_radar("doctor", "--cluster", code=1)
    monkeypatch.setenv("CLICKHOUSE_CLUSTER", "absent")
    assert "ClickHouse knows no cluster absent" in run_radar("doctor", "--cluster", code=1)
    message = run_radar("backup", "create", code=2)
    assert "BACKUP DATABASE … ON CLUSTER" in message
