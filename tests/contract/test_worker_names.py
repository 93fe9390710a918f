"""Two workers of one name: one of them ends and says what to do."""

from pathlib import Path

import pytest

from radar.settings import Settings
from radar.store.client import Store
from support import Process, eventually, radar

pytestmark = pytest.mark.kafka_decides


@pytest.mark.fault(
    "Two workers have one WORKER_ID",
    report="one of them ends with exit code 2 and names the WORKER_ID; `radar up` gives it up",
    place="log of the worker, status",
    within_s=60,
)
def test_one_of_two_workers_with_one_name_ends_and_names_it(
    kafka_settings: Settings, store: Store, tmp_path: Path, within_s: float
) -> None:
    workers: list[Process] = []
    try:
        for name in ("first", "second"):
            command = radar("consume", "trades")
            workers.append(Process(command, tmp_path / name, WORKER_ID="twin"))
            eventually(lambda: "assigned" in workers[-1].log.read_text(), "it has a partition")
        eventually(lambda: not all(each.lives for each in workers), "one ends", within_s)
        (ended,) = (each for each in workers if not each.lives)
        assert ended.wait() == 2
        last = ended.log.read_text().strip().splitlines()[-1]
        assert last == (
            "radar: another worker running with the same WORKER_ID twin took this one's place in"
            " the group clickhouse-trades-consumers-v1: set another WORKER_ID for one of them"
        )
    finally:
        for each in workers:
            each.end()
