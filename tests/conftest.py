"""Fixtures shared by all tests: real stores as real processes, on free ports of this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import apache_kafka
import changes
import object_store
from cases import RUNNING
from databases import KEPT, MigratedDatabases, new_name
from ports import free_port
from radar.addresses import answers
from radar.kafka import Cluster
from radar.settings import Settings, load, variables
from radar.store.client import Store
from radar.store.migrate import migrate
from support import Process, eventually

# The machine may be shared: how long an example takes says nothing about the code.
hypothesis.settings.register_profile(
    "shared machine",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("shared machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        choices=("embedded", "apache"),
        default="embedded",
        help="the broker of the tests; apache runs only those that use one (needs: make kafka)",
    )
    parser.addoption(
        "--sources",
        choices=("all", "changed"),
        default="all",
        help="changed: leave out tests marked `sources` whose sources equal the upstream branch,"
        " and those marked `slow` unless their sources differ from it",
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "embedded_kafka(reason): not run with Apache Kafka, because of it",
        "fault(name, report, place, within_s): a row of docs/faults.md, proven by this test",
        "group_protocols: runs with each group protocol that the broker offers",
        "kafka_decides: the broker decides the result, so it also runs with Apache Kafka",
        "own_database: needs a database that no other test has used",
        "slow(path, ...): takes long; runs nightly, and when one of these files has changed",
        "sources(path, ...): depends on these files alone, see --sources=changed",
    ):
        config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("group_protocols"):
        offered = apache_kafka.group_protocols() if _apache(metafunc.config) else ["classic"]
        metafunc.parametrize("group_protocol", offered, indirect=True)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep tests of whole pipelines together, see `scheduling`."""
    from scheduling import Groups

    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that have nothing to do with the chosen broker."""
    apache = _apache(config)
    only_changed = config.getoption("--sources") == "changed"
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        needs_apache = bool(
            fixtures & {"apache_broker", "apache_home", "kafka_cluster", "secured_broker"}
        )
        uses_kafka = needs_apache or "broker" in fixtures or "e2e" in item.path.parts
        if needs_apache:
            item.add_marker(pytest.mark.kafka_decides)
        runs = uses_kafka if apache else not needs_apache
        if only_changed and (sources := item.get_closest_marker("sources")):
            tested = str(item.path.relative_to(changes.ROOT))
            runs = runs and changes.may_have_changed((tested, *sources.args))
        if only_changed and (slow := item.get_closest_marker("slow")):
            runs = runs and changes.has_changed(slow.args)
        (chosen if runs else left_out).append(item)
        marker = item.get_closest_marker("embedded_kafka")
        if apache and marker is not None:
            item.add_marker(pytest.mark.skip(reason=marker.args[0]))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


def _apache(config: pytest.Config) -> bool:
    return bool(config.getoption("--kafka") == "apache")


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Keep the options of whoever runs the tests away from them."""
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    if _apache(pytestconfig):
        monkeypatch.setenv("KAFKA_HOME", str(apache_kafka.HOME))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def within_s(request: pytest.FixtureRequest) -> float:
    """Provide the delay that the page of faults promises for this test's fault."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None
    return float(marker.kwargs["within_s"])


@pytest.fixture(scope="session")
def clickhouse_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run one embedded ClickHouse for the whole run; each test has its own database in it."""
    directory = tmp_path_factory.mktemp("clickhouse")
    port = free_port()
    command = [sys.executable, "-m", "radar.local.clickhouse", "--no-password"]
    process = Process(
        [*command, "--path", str(directory / "data"), "--port", str(port)], directory / "log"
    )
    try:
        eventually(lambda: answers("127.0.0.1", port), "ClickHouse answers")
        yield port
    finally:
        process.end()


@pytest.fixture(scope="session")
def object_store_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.Store]:
    """Run one object store for the whole run; each test makes its own buckets."""
    with object_store.running(tmp_path_factory.mktemp("objects")) as found:
        yield found


@pytest.fixture
def objects(
    object_store_process: object_store.Store, monkeypatch: pytest.MonkeyPatch
) -> object_store.Store:
    """Provide an object store, to which the environment leads."""
    for name, value in object_store.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3_ENDPOINT_URL", object_store_process.endpoint)
    return object_store_process


@pytest.fixture(scope="session")
def apache_brokers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[apache_kafka.RestingBrokers]:
    """Run nodes of Apache Kafka for the whole run, one of them for a test."""
    brokers = apache_kafka.RestingBrokers(tmp_path_factory.mktemp("kafka"))
    try:
        yield brokers
    finally:
        brokers.stop()


@pytest.fixture
def apache_broker(apache_brokers: apache_kafka.RestingBrokers) -> str:
    """Provide a node of Apache Kafka without topics and groups."""
    return apache_brokers.take()


@pytest.fixture
def apache_home() -> Path:
    """Provide Apache Kafka to a test that starts nodes of its own."""
    return apache_kafka.HOME


@pytest.fixture(scope="module")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apache_kafka.Brokers]:
    """Run three nodes of Apache Kafka; tests may kill them, and leave them in sync.

    Only one module uses them: idle nodes would slow down all that follow.
    """
    brokers = apache_kafka.Brokers(tmp_path_factory.mktemp("cluster"))
    try:
        brokers.start()
        yield brokers
    finally:
        brokers.stop()


@pytest.fixture
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Provide a broker without topics and groups: the embedded one, or with --kafka=apache that."""
    if _apache(request.config):
        yield request.getfixturevalue("apache_broker")
    else:
        yield from _embedded_broker(tmp_path)


def _embedded_broker(directory: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "radar.local.broker"]
    process = Process(
        [*command, str(directory / "kafka"), "127.0.0.1", str(port)], directory / "kafka.log"
    )
    try:
        eventually(lambda: answers("127.0.0.1", port), "Kafka answers")
        yield f"127.0.0.1:{port}"
    finally:
        process.end()


@pytest.fixture
def group_protocol(request: pytest.FixtureRequest) -> str:
    """Tell the group protocol of a test; the marker `group_protocols` varies it."""
    return str(getattr(request, "param", "classic"))


@pytest.fixture
def kafka_settings(
    broker: str, group_protocol: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> Settings:
    """Options that lead to the test's broker, also for child processes."""
    monkeypatch.setenv("KAFKA_BROKER", broker)
    monkeypatch.setenv("KAFKA_LINGER_MS", "0")
    monkeypatch.setenv("KAFKA_GROUP_PROTOCOL", group_protocol)
    if _apache(pytestconfig):
        timeout_s = apache_kafka.SESSION_TIMEOUT_S
        monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", str(timeout_s))
    else:
        monkeypatch.setenv("KAFKA_JOIN_TIMEOUT_SECONDS", "5")
    settings = load()
    Cluster(settings).wait_until_up(10)
    return settings


@pytest.fixture(scope="session")
def migrated_databases() -> MigratedDatabases:
    """Keep the databases of tests that have ended for the next ones."""
    return MigratedDatabases()


@pytest.fixture
def store_settings(
    clickhouse_port: int,
    migrated_databases: MigratedDatabases,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Settings:
    """Options that lead to a database of the test's own, also for child processes."""
    may_be_used = "own_database" not in request.keywords and _wants_store(request)
    name = migrated_databases.take(clickhouse_port) if may_be_used else new_name()
    monkeypatch.setenv("CLICKHOUSE_PORT", str(clickhouse_port))
    monkeypatch.setenv("CLICKHOUSE_DB", name)
    return load()


def _wants_store(request: pytest.FixtureRequest) -> bool:
    """Tell whether a test asks for `store`, or for a running database by its parameter."""
    callspec = getattr(request.node, "callspec", None)
    parameters = callspec.params.values() if callspec else ()
    is_running = any(isinstance(each, str) and each == RUNNING for each in parameters)
    return is_running or "store" in request.fixturenames


@pytest.fixture
def store(store_settings: Settings, migrated_databases: MigratedDatabases) -> Iterator[Store]:
    """Provide a migrated database without rows."""
    store = Store(store_settings)
    if not store.has_table(KEPT):
        migrate(store, store_settings.retention_days)
    yield store
    migrated_databases.put_back(store, store_settings.clickhouse_port)
    store.close()
