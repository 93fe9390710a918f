"""Where a pipeline is stuck: which place is named, and in which words."""

from typing import Any

import pytest

from observed import flow, overview, partition, producer, worker
from radar.status.bottleneck import duration
from radar.status.model import Bottleneck, ProcessState

DATASETS = ("trades", "depth")


def found(**changes: Any) -> Bottleneck:
    bottleneck = overview(**changes).bottleneck
    assert bottleneck is not None
    assert "\n" not in bottleneck.text
    return bottleneck


def producers(**changes: Any) -> list[Any]:
    return [producer("trades", **changes), producer("depth")]


def workers(**changes: Any) -> list[Any]:
    changed = worker("trades", 1, **changes)
    return [worker("trades", 0), changed, *(worker("depth", n) for n in range(3))]


def partitions(**changes: Any) -> list[Any]:
    return [partition("trades", 0), partition("trades", 1, **changes)]


def test_bottleneck_of_a_pipeline_that_flows_is_none() -> None:
    assert overview().bottleneck is None
    assert overview().obstacles == []


def test_bottleneck_kafka_that_does_not_answer_comes_before_what_follows_from_it() -> None:
    bottleneck = found(
        kafka_error="Kafka at 127.0.0.1:9092: connection refused",
        producers=producers(ready=False, reasons=["Kafka has acknowledged no message for 9 s"]),
        workers=workers(ready=False, reasons=["Kafka at 127.0.0.1:9092: timed out"]),
        partitions=[],
    )
    assert (bottleneck.stage, bottleneck.dataset) == ("partitions", "")
    assert bottleneck.text.startswith(
        "Kafka does not answer: no message can be published or stored"
    )
    assert "connection refused" in bottleneck.text


def test_bottleneck_full_disk_comes_before_the_stores_that_fail_by_it() -> None:
    bottleneck = found(
        disk_error="disk full: /data/logs has 0 KiB left",
        kafka_error="Kafka at 127.0.0.1:9092: connection refused",
        clickhouse_error="ClickHouse at 127.0.0.1:8123: connection refused",
    )
    assert bottleneck.text.startswith("disk full: /data/logs has 0 KiB left: Kafka, ClickHouse")
    assert bottleneck.severity == "problem"


def test_bottleneck_unreadable_batch_is_named_with_its_remedy_whatever_else_is_wrong() -> None:
    at = "partition 1 of radar_trades stands at offset 3: the batch there cannot be read"
    remedy = "skip it with: radar skip trades 1 3 --reason TEXT"
    bottleneck = found(
        workers=workers(
            ready=False,
            reasons=["partition 0: attempt 3 to store a block failed", f"{at} (bad); {remedy}"],
            unreadable_partitions=1,
        ),
        partitions=partitions(lag=1200),
    )
    assert (bottleneck.stage, bottleneck.dataset) == ("partitions", "trades")
    assert bottleneck.subject == "trades-consumer-2"
    assert "trades-consumer-2 cannot read on: 1,200 messages are waiting" in bottleneck.text
    assert at in bottleneck.text
    assert remedy in bottleneck.text


def test_bottleneck_clickhouse_that_does_not_answer_says_what_is_safe() -> None:
    bottleneck = found(
        clickhouse_error="ClickHouse at 127.0.0.1:8123: connection refused",
        flows=[flow("trades", lag=1200), flow("depth", lag=34)],
        workers=workers(ready=False, reasons=["attempt 3 to store a block failed: refused"]),
    )
    assert (bottleneck.stage, bottleneck.dataset) == ("tables", "")
    assert "no row is stored, 1,234 messages are safe in Kafka" in bottleneck.text


def test_bottleneck_loss_on_the_way_in_comes_before_the_way_out() -> None:
    state = overview(
        clickhouse_error="ClickHouse: refused",
        producers=producers(alive=False, ready=False, reasons=["no answer within 1 s"]),
    )
    assert [each.stage for each in state.obstacles] == ["connections", "tables"]


def test_bottleneck_exchange_without_connections_is_the_exchange() -> None:
    why = "60 of 60 markets have no connection to the exchange (BTCUSDT, …): refused"
    bottleneck = found(
        producers=producers(ready=False, reasons=[why]),
        flows=[flow("trades", connections=0), flow("depth")],
    )
    assert (bottleneck.stage, bottleneck.dataset) == ("exchange", "trades")
    assert bottleneck.text.startswith("the exchange sends no trades")


def test_bottleneck_silent_exchange_is_the_exchange() -> None:
    why = "no frame has come from the exchange for 12 s"
    assert found(producers=producers(ready=False, reasons=[why])).stage == "exchange"


def test_bottleneck_some_markets_without_a_connection_are_the_connections() -> None:
    why = "20 of 60 markets have no connection to the exchange (BTCUSDT, …): closed"
    bottleneck = found(producers=producers(ready=False, reasons=[why]))
    assert (bottleneck.stage, bottleneck.subject) == ("connections", "wallex-trades")
    assert bottleneck.text.startswith("wallex-trades misses markets: 20 of 60")


def test_bottleneck_simulated_exchange_that_ended_is_the_exchange() -> None:
    ended = ProcessState("exchange", "restarting", None, 1, "", False, False, ["ended"])
    bottleneck = found(processes=[ended])
    assert bottleneck.stage == "exchange"
    assert bottleneck.text == "the simulated exchange is restarting: no frame comes"


def test_bottleneck_producer_that_stands_still_for_kafka_is_kafka() -> None:
    bottleneck = found(producers=producers(backpressure_share=0.4, queue=90_000))
    assert bottleneck.stage == "partitions"
    assert "stops reading the exchange 40% of the time, 90,000 wait" in bottleneck.text


def test_bottleneck_dead_worker_says_what_waits_in_its_partitions() -> None:
    bottleneck = found(
        workers=workers(alive=False, ready=False, reasons=["no answer within 1 s"]),
        partitions=partitions(lag=321, lag_per_s=17.0, stored_per_s=0.0),
    )
    assert (bottleneck.stage, bottleneck.subject) == ("workers", "trades-consumer-2")
    assert bottleneck.text == (
        "trades-consumer-2 does not work, 321 messages are waiting in its partitions."
        " no answer within 1 s"
    )


def test_bottleneck_halted_partition_names_where_to_look() -> None:
    bottleneck = found(workers=workers(halted_partitions=1, ready=False, reasons=["halted"]))
    assert bottleneck.stage == "workers"
    assert "radar dlq list" in bottleneck.text


def test_bottleneck_market_with_bad_messages_is_named_although_the_worker_is_ready() -> None:
    bottleneck = found(workers=workers(flooding_markets=2))
    assert (bottleneck.stage, bottleneck.passes) == ("workers", False)
    assert "bad messages of 2 markets" in bottleneck.text
    assert "radar dlq list" in bottleneck.text


def test_bottleneck_inserts_that_fail_are_the_tables() -> None:
    why = "attempt 4 to store a block failed: ClickHouse at 127.0.0.1:8123: Too many parts"
    bottleneck = found(workers=workers(ready=False, reasons=[why]))
    assert (bottleneck.stage, bottleneck.dataset) == ("tables", "trades")
    assert bottleneck.text.startswith("trades-consumer-2 cannot store")


def test_bottleneck_worker_that_starts_passes_and_comes_last() -> None:
    starts = workers(alive=False, ready=False, reasons=["is starting"])
    assert found(workers=starts).passes
    state = overview(
        workers=starts, producers=producers(ready=False, reasons=["20 of 60 markets have no …"])
    )
    assert [each.passes for each in state.obstacles] == [False, True]


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        (
            {"lag": 5000, "lag_per_s": 12.0, "stored_per_s": 5.0, "published_per_s": 17.0},
            "workers",
            "5,000 trades wait in partition 1: trades-consumer-2 stores 5/s, more comes",
        ),
        (
            {"lag": 3, "stored_per_s": 0.0, "published_per_s": 0.0},
            "workers",
            "trades-consumer-2 stores none of them",
        ),
        (
            {"lag": 700, "stored_per_s": 0.0, "published_per_s": 17.0, "owner": None},
            "workers",
            "no worker owns it: start workers (radar consume trades)",
        ),
    ],
)
def test_bottleneck_backlog_names_partition_and_owner(
    changes: dict[str, Any], stage: str, words: str
) -> None:
    bottleneck = found(partitions=partitions(**changes))
    assert (bottleneck.stage, bottleneck.dataset) == (stage, "trades")
    assert words in bottleneck.text
    assert "partition 1" in bottleneck.text
    assert not bottleneck.passes


def test_bottleneck_backlog_without_known_workers_accuses_nobody() -> None:
    waits = {"lag": 700, "stored_per_s": 0.0, "lag_per_s": 17.0, "owner": None}
    bottleneck = found(partitions=partitions(**waits), workers=[], producers=[])
    assert "no worker is known" in bottleneck.text
    assert not bottleneck.passes
    falls = waits | {"stored_per_s": 40.0, "lag_per_s": -23.0}
    assert found(partitions=partitions(**falls), workers=[], producers=[]).passes


def test_bottleneck_backlog_that_shrinks_says_how_long_it_takes() -> None:
    shrinks = {"lag": 60_000, "lag_per_s": -1000.0, "stored_per_s": 1017.0}
    bottleneck = found(partitions=partitions(**shrinks))
    assert bottleneck.passes
    assert "trades-consumer-2 catches up, 60 s left" in bottleneck.text


def test_bottleneck_backlog_behind_slow_inserts_is_clickhouse() -> None:
    bottleneck = found(
        partitions=partitions(lag=9000, lag_per_s=20.0, stored_per_s=5.0),
        workers=workers(insert_s=4.2),
    )
    assert bottleneck.stage == "tables"
    assert bottleneck.text.startswith("ClickHouse is slow: one insert of trades takes 4.2 s")


def test_bottleneck_what_a_block_is_made_of_is_no_backlog() -> None:
    filling = {"lag": 499, "lag_per_s": 17.0, "stored_per_s": 0.0, "published_per_s": 17.0}
    assert overview(partitions=partitions(**filling)).bottleneck is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (119, "119 s"),
        (150, "2 min"),
        (9000, "2 h"),
        (3e5, "3 d"),
    ],
)
def test_duration_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
