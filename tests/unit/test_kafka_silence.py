"""Requests that nobody answers, not even the client library."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from radar.errors import BrokerUnavailable, ClientHangs
from radar.kafka import Cluster, client
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
    monkeypatch.setattr(client, "REQUEST_TIMEOUT_S", 0.01)
    cluster = Cluster(load())
    monkeypatch.setattr(cluster, "_admin", Described())
    with pytest.raises(BrokerUnavailable):
        ask(cluster)


def test_action_that_does_not_come_back_is_left_alone_after_its_time() -> None:
    never = threading.Event()
    with pytest.raises(
        ClientHangs, match=r"commit: the Kafka library did not return within 0\.05 s"
    ):
        client.within(0.05, never.wait, "commit")
    never.set()


def test_action_within_its_time_returns_or_raises_what_it_does() -> None:
    assert client.within(10, lambda: "answer", "commit") == "answer"
    with pytest.raises(ZeroDivisionError):
        client.within(10, lambda: 1 / 0, "commit")
