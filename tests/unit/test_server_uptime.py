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

    cluster = None

    def rows(self, _sql: str) -> list[tuple[int, str]]:
        self.now_s += self.answer_takes_s
        return [(int(self.now_s - self.started_s), "host")]


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
