"""A broker that refuses messages: radar shows it, retries for a while, and records the gap."""

import asyncio
import time
from datetime import datetime

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from cases import NIGHTLY
from producing import OTHER_MARKETS, Topic, metric, options, sent, until
from radar.datasets import DEPTH, GAPS, TRADES, Dataset
from radar.kafka import Cluster
from radar.kafka import origin as kafka_origin
from radar.producer import unpublished
from radar.producer.producer import run
from radar.settings import Settings
from radar.telemetry.health import Health
from radar_simulator import SimulatorOptions, simulator

pytestmark = pytest.mark.usefixtures("apache_broker")

# What a broker refuses with these options of a topic, and radar's names for it: Apache Kafka calls
# a wrong time the one or the other.
REFUSALS = {
    "size": ("max.message.bytes", "1", {"too_large"}),
    "time": ("message.timestamp.before.max.ms", "0", {"invalid_timestamp", "invalid_record"}),
}


def set_option(settings: Settings, topic: str, name: str, value: str | None) -> None:
    """Set an option of a topic; None takes it away again."""
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(name, value, incremental_operation=operation)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": settings.kafka_broker})
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(20)


@pytest.mark.fault(
    "Kafka refuses messages: its clock differs, a right is missing, they are too large",
    report="not ready, with the reason and the remedy; after the retries a gap refused_by_kafka",
    place="status, /readyz, radar health, radar_publish_refused_total, RadarPublishRefused, log"
    " (delivery failed), coverage",
    within_s=30,
)
@pytest.mark.parametrize(
    ("dataset", "refused"),
    [(TRADES, "time"), (TRADES, "size"), pytest.param(DEPTH, "size", marks=NIGHTLY)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_refused_messages_are_shown_and_lie_in_a_gap_or_are_published_later(
    dataset: Dataset,
    refused: str,
    kafka_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    within_s: float,
) -> None:
    monkeypatch.setattr(unpublished, "COLLECT_S", 0.5)
    option, value, reasons = REFUSALS[refused]

    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=30, depth_per_s=30)
        async with simulator(simulated) as sim:
            settings = options(
                kafka_settings, sim, kafka_retry_refused_seconds=2.0, depth_interval_seconds=0.1
            )
            topic, gaps = Topic(settings, dataset), Topic(settings, GAPS)
            health, stop = Health(), asyncio.Event()
            failed = metric("radar_publish_failed_total", dataset=dataset.name)
            producer = asyncio.create_task(run(settings, dataset, stop, health))
            await topic.until(lambda: len(topic.messages) > 30, "the first messages")
            await asyncio.to_thread(set_option, settings, dataset.topic, option, value)
            refused_us = time.time_ns() // 1000
            await until(lambda: "Kafka refuses" in str(health.why_not_ready()), within_s)
            shown = str(health.why_not_ready())
            (reason,) = (each for each in reasons if f"({each})" in shown)
            assert metric("radar_publish_refused_total", dataset=dataset.name, reason=reason) > 0
            await gaps.until(lambda: len(gaps.messages) > 0, "the gap")
            await asyncio.to_thread(set_option, settings, dataset.topic, option, None)
            await until(lambda: not health.why_not_ready())
            count = len(topic.messages)
            await topic.until(lambda: len(topic.messages) > count + 30, "it goes on")
            assert metric("radar_publish_failed_total", dataset=dataset.name) > failed
            await sim.quiesce()
            stop.set()
            with pytest.raises(Exception, match="0 messages left"):
                await producer
            await asyncio.to_thread(gaps.read)
            assert {each["cause"] for each in gaps.messages} == {"refused_by_kafka"}
            assert {each["record_kind"] for each in gaps.messages} == {dataset.name}
            assert min(each["ended_at_us"] for each in gaps.messages) >= refused_us - 2_000_000
            if dataset is TRADES:
                await asyncio.to_thread(topic.read)
                stored = topic.trades()
                for trade in sim.ledger.trades():
                    if trade.symbol in OTHER_MARKETS or not trade.sent:
                        continue
                    at_us = int(datetime.fromisoformat(trade.timestamp).timestamp() * 1e6)
                    assert sent([trade]) <= stored or any(
                        trade.symbol in gap["symbols"]
                        and gap["began_at_us"] <= at_us + 1_000_000
                        and at_us <= gap["ended_at_us"]
                        for gap in gaps.messages
                    ), trade
            topic.close()
            gaps.close()

    asyncio.run(record())
    lines = [each for each in caplog.messages if each.startswith("delivery failed")]
    assert 1 <= len(lines) <= 3, "one line for each reason and minute"


def test_mark_of_origin_that_kafka_refuses_is_named_until_it_is_taken(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=3, trades_per_s=30)) as sim:
            settings = options(kafka_settings, sim, kafka_retry_refused_seconds=1.0)
            await asyncio.to_thread(Cluster(settings).create_lasting_topic, kafka_origin.TOPIC)
            refuse = ("max.message.bytes", "1")
            await asyncio.to_thread(set_option, settings, kafka_origin.TOPIC, *refuse)
            health, stop = Health(), asyncio.Event()
            producer = asyncio.create_task(run(settings, TRADES, stop, health))
            await until(lambda: kafka_origin.TOPIC in str(health.why_not_ready()), 30)
            await asyncio.to_thread(set_option, settings, kafka_origin.TOPIC, refuse[0], None)
            await until(lambda: health.why_not_ready() == [], 60)
            stop.set()
            await producer

    asyncio.run(record())
