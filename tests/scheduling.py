"""Which tests run one after the other in one worker.

A whole pipeline is a dozen processes, and several of them starve each other of the processor. A
cluster of Apache Kafka is as large, and is started once. The marker `xdist_group` does not do it:
pytest-xdist 3.8 writes the group into an attribute that pytest 9 does not read any more.
"""

from functools import cache
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a group to one worker, and every other test to whichever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid) or nodeid

    # pytest-xdist 3.8 hands out a single unit, which may hold no test that is left. A worker begins
    # a test when it has the next one as well, so one that replaces a dead one would wait for ever.
    def _reschedule(self, node: Any) -> None:
        """Give a worker tests until it has enough of them."""
        while self.workqueue and not node.shutting_down and self._lacks_tests(node):
            self._assign_work_unit(node)
        super()._reschedule(node)

    def _lacks_tests(self, node: Any) -> bool:
        return bool(self._pending_of(self.assigned_work[node]) < 3)

    # And it would run the test again in which the worker died, with the same end.
    def remove_node(self, node: Any) -> str | None:
        """Take back the tests of a worker; return the one in which it died, if it did."""
        died_in: str | None = None
        for unit in self.assigned_work[node].values():
            died_in = next((test for test, is_done in unit.items() if not is_done), None)
            if died_in is not None:
                unit[died_in] = True
                break
        super().remove_node(node)
        return died_in


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
