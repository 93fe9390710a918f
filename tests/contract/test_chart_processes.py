"""Workers with the environment and the signals that Kubernetes gives them by the Helm chart.

Only Apache Kafka ends the place of a static member that stays away.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chart import environment, needs_helm, objects, of_kind
from contract.test_readiness import Radar
from radar.datasets import TRADES
from radar.settings import Settings, load
from radar.store.client import Store
from support import eventually
from workers import create_topics, publish_trades, stored, waiting

SET = "rec-worker-trades"
Pods = dict[int, Radar]


@pytest.fixture
def start(
    apache_broker: str, kafka_settings: Settings, store: Store, tmp_path: Path
) -> Iterator[Callable[[int], Radar]]:
    """Provide a function that starts the pod of an ordinal."""
    settings = load()
    found = objects(
        f"--set=kafka.brokers={kafka_settings.kafka_broker}",
        f"--set=clickhouse.host={settings.clickhouse_host},clickhouse.port={settings.clickhouse_port}",
        f"--set=clickhouse.database={settings.clickhouse_db},clickhouse.writer.user=default",
        "--set=config.KAFKA_SESSION_TIMEOUT_SECONDS=6,config.KAFKA_JOIN_TIMEOUT_SECONDS=5",
        "--set=config.BATCH_TIMEOUT_SECONDS=0.2",
    )
    (container,) = of_kind(found, "StatefulSet")[SET]["spec"]["template"]["spec"]["containers"]
    started: list[Radar] = []

    def run(ordinal: int) -> Radar:
        given = environment(found, container, f"{SET}-{ordinal}")
        del given["POD_NAME"], given["CLICKHOUSE_PASSWORD"]  # the server of the tests has none
        folder = tmp_path / f"{ordinal}-{len(started)}"
        folder.mkdir()
        started.append(Radar(folder, *container["args"], **given))
        return started[-1]

    yield run
    for each in started:
        each.end()


@needs_helm
@pytest.mark.timeout(600)
def test_rolling_update_and_scaling_of_workers_lose_and_double_nothing(
    kafka_settings: Settings, store: Store, start: Callable[[int], Radar]
) -> None:
    create_topics(kafka_settings)
    done, published = threading.Event(), 0

    def publish() -> None:
        nonlocal published
        while not done.wait(0.05):
            publish_trades(kafka_settings, range(published, published + 50))
            published += 50

    def flows() -> None:
        before = stored(store)
        eventually(lambda: stored(store) > before + 200, "rows are stored", 90, 0.1)

    pods: Pods = {ordinal: start(ordinal) for ordinal in range(3)}
    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for pod in pods.values():
            pod.until_ready()
        flows()
        # A rolling update: the highest ordinal first, each ready before the next.
        for ordinal in (2, 1, 0):
            assert pods[ordinal].terminate() == 0
            pods[ordinal] = start(ordinal)
            pods[ordinal].until_ready()
        flows()
        for ordinal in (2, 1):  # scaled down to one
            assert pods.pop(ordinal).terminate() == 0
        eventually(lambda: pods[0].metric("radar_assigned_partitions") == 3, "one has them all", 90)
        flows()
        for ordinal in (1, 2):  # and up again
            pods[ordinal] = start(ordinal)
        eventually(
            lambda: all(pod.metric("radar_assigned_partitions") == 1 for pod in pods.values()),
            "each has a partition",
            90,
        )
        flows()
    finally:
        done.set()
        thread.join()
    eventually(lambda: waiting(kafka_settings, TRADES) == 0, "everything is committed", 90, 0.2)
    rows = store.rows("SELECT count(), uniqExact(trade_id) FROM trades_master")
    assert rows == [(published, published)]
