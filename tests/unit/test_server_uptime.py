"""A restart of the database server is noticed by its uptime."""

from typing import TYPE_CHECKING, cast

import pytest

from radar.store import uptime
from radar.store.uptime import ServerUptime

if TYPE_CHECKING:
    from radar.store.client import Store


class Server:
    """Counts whole seconds from its start; its clock is the monotonic one of the test."""

    def __init__(self) -> None:
        self.now_s = self.started_s = 1000.0
        self.answer_takes_s = 0.0
        self.cluster: object = None
        self.name = "only"

    def rows(self, _sql: str) -> list[tuple[int, str]]:
        self.now_s += self.answer_takes_s
        return [(int(self.now_s - self.started_s), self.name)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(uptime.time, "monotonic", lambda: server.now_s)  # type: ignore[attr-defined]
    return server


def test_server_that_runs_on_is_never_taken_for_another(server: Server) -> None:
    looks = ServerUptime(cast("Store", server))
    assert looks.least_s() == 0
    for n in range(500):
        server.now_s += (n * 37 % 100) / 7
        server.answer_takes_s = (n * 13 % 10) / 3
        assert not looks.was_restarted()
        server.now_s += (n * 7 % 10) / 11
        assert looks.least_s() <= int(server.now_s - server.started_s)


@pytest.mark.parametrize("ran_s", [2.5, 10.0, 1e6])
@pytest.mark.parametrize("down_s", [0.0, 30.0])
@pytest.mark.parametrize("later_s", [0.0, 5.0, 1e6])
def test_server_that_was_restarted_is_noticed_once(
    server: Server, ran_s: float, down_s: float, later_s: float
) -> None:
    looks = ServerUptime(cast("Store", server))
    server.now_s += ran_s
    assert not looks.was_restarted()
    server.now_s += down_s
    server.started_s = server.now_s
    server.now_s += later_s
    assert looks.least_s() > int(server.now_s - server.started_s), "it takes no record"
    assert looks.was_restarted()
    assert not looks.was_restarted()


def test_another_server_of_a_cluster_is_not_taken_for_a_restarted_one(server: Server) -> None:
    server.cluster, server.name = "main", "first"
    looks = ServerUptime(cast("Store", server))
    assert not looks.was_restarted()
    server.now_s += 100
    first_started_s, server.started_s, server.name = server.started_s, server.now_s, "second"
    assert not looks.was_restarted()
    assert (looks.server, looks.least_s()) == ("second", 0)
    server.now_s += 10
    server.started_s, server.name = first_started_s, "first"
    assert not looks.was_restarted()
    assert looks.least_s() > 100
    server.started_s = server.now_s
    assert looks.was_restarted()


def test_server_that_comes_back_under_another_name_was_restarted(server: Server) -> None:
    """Outside a cluster there is one server, whatever a container is called."""
    looks = ServerUptime(cast("Store", server))
    server.now_s += 100
    assert not looks.was_restarted()
    server.name, server.started_s = "again", server.now_s
    assert looks.was_restarted()
    assert looks.server == ""
