"""Which server of a replicated ClickHouse a process uses."""

import pytest

from radar.errors import ConfigurationError
from radar.settings import load
from radar.store.replicas import AVOID_FAILED_S, Replicas, Server, servers

A, B, C = Server("a", 8123), Server("b", 8123), Server("c", 8124)


def test_failed_server_is_avoided_for_a_while_and_preferred_again_afterwards() -> None:
    replicas = Replicas([A, B, C])
    assert list(replicas.in_order(0)) == [A, B, C]
    replicas.failed(A, 10)
    assert list(replicas.in_order(10)) == [B, C, A]
    assert list(replicas.in_order(10 + AVOID_FAILED_S)) == [A, B, C]


def test_server_that_failed_first_is_tried_first_when_all_have_failed() -> None:
    replicas = Replicas([A, B])
    replicas.failed(B, 1)
    replicas.failed(A, 2)
    assert list(replicas.in_order(3)) == [B, A]


def test_options_name_servers_with_and_without_a_port() -> None:
    settings = load(
        clickhouse_host="a",
        clickhouse_replicas="b, c:8124,[::1],[::1]:8200,a",
        clickhouse_cluster="x",
    )
    v6 = [Server("::1", 8123), Server("::1", 8200)]
    assert servers(settings) == [A, B, C, *v6]


def test_workers_begin_with_different_servers() -> None:
    found = {
        servers(
            load(
                clickhouse_host="a",
                clickhouse_replicas="b,c:8124",
                clickhouse_cluster="x",
                worker_id=f"worker-{n}",
            )
        )[0]
        for n in range(20)
    }
    assert found == {A, B, C}


@pytest.mark.parametrize("value", ["a:", "a:0", "a:99999", "http://a", "::1", "a b", "a/b"])
def test_address_of_another_form_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="CLICKHOUSE_REPLICAS"):
        load(clickhouse_replicas=value, clickhouse_cluster="x")


def test_native_port_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use 8123"):
        load(clickhouse_replicas="a:9000", clickhouse_cluster="x")


def test_servers_without_a_cluster_are_refused() -> None:
    """They would each hold a part of the rows."""
    with pytest.raises(ConfigurationError, match="set it to the name of the cluster"):
        load(clickhouse_replicas="b")
