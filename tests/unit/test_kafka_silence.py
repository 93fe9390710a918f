"""Requests that nobody answers, not even the client library."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from radar import kafka
from radar.errors import BrokerUnavailable
from radar.kafka import Cluster
from radar.settings import load


class Unanswered:
    """Stands for the library's client: every request is pending for ever."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "list_topics":
            return lambda **_: type("Metadata", (), {"topics": {}})
        return lambda requested, **_: {_name(each): Future() for each in requested}


class Described(Unanswered):
    def describe_topics(self, _topics: object, **_: object) -> dict[str, Future[Any]]:
        return {"radar_trades": Future()}


def _name(requested: Any) -> Any:
    return getattr(requested, "topic", requested)


@pytest.mark.parametrize(
    "ask",
    [
        lambda cluster: cluster.create_topics(["radar_trades"]),
        lambda cluster: cluster.topic_id("radar_trades"),
        lambda cluster: cluster.session_timeout_s("radar_trades"),
        lambda cluster: cluster.delete_records_before("radar_trades", {0: 1}),
    ],
    ids=["create_topics", "topic_id", "session_timeout_s", "delete_records_before"],
)
def test_request_without_an_answer_is_unavailable(
    ask: Callable[[Cluster], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "REQUEST_TIMEOUT_S", 0.01)
    cluster = Cluster(load())
    monkeypatch.setattr(cluster, "_admin", Described())
    with pytest.raises(BrokerUnavailable):
        ask(cluster)
