"""Which tests run one after the other in one worker.

A whole pipeline is a dozen processes, and several of them starve each other of the processor. A
cluster of Apache Kafka is as large, and is started once. The marker `xdist_group` does not do it:
pytest-xdist 3.8 writes the group into an attribute that pytest 9 does not read any more.
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a group to one worker, and every other test to whichever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid) or nodeid


def group(nodeid: str) -> str | None:
    """Return the group of a test, None if it is in none."""
    path = nodeid.partition("::")[0]
    if path.startswith(("tests/browser/", "tests/e2e/")):
        return "pipeline"
    if path.startswith("tests/chaos/"):
        return "chaos"
    return "cluster" if _uses_cluster(path) else None


@cache
def _uses_cluster(path: str) -> bool:
    return "kafka_cluster" in (ROOT / path).read_text()
