"""The command for the topics in Kafka: `radar topics`."""

from typing import Annotated

import typer

from radar.cli.arguments import say, settings_for
from radar.cli.required_services import require


def topics(
    *,
    grow: Annotated[
        bool,
        typer.Option("--grow", help="Add partitions, up to KAFKA_NUM_PARTITIONS."),
    ] = False,
) -> None:
    """Create missing topics in Kafka and list them.

    --grow is safe while radar runs, and cannot be undone. A market may move to another partition:
    two workers then store its older and newer messages, in any order. Rows stay the same, because
    tables order them by time and a trade ID does not depend on the partition. Clients learn of new
    partitions within five minutes and lose no message.
    """
    from radar.checks.doctor import describe, topic_findings
    from radar.checks.findings import State
    from radar.datasets import DATASETS
    from radar.kafka import Cluster

    settings = settings_for("topics")
    require(settings, kafka=True)
    cluster = Cluster(settings)
    names = [
        name for dataset in DATASETS.values() for name in (dataset.topic, dataset.dead_letter_topic)
    ]
    for name in cluster.create_topics(names):
        say(f"created {name}")
    for topic, before, after in cluster.grow_topics(names) if grow else ():
        say(f"grew {topic} from {before} to {after} partitions: its markets may move")
    wanted = settings.kafka_num_partitions
    for state in cluster.topics(names):
        kept = state.end - state.start
        say(f"{state.name}: {state.partitions} partitions, {kept:,} messages kept")
        if state.partitions > wanted:
            say(f"    KAFKA_NUM_PARTITIONS is {wanted}: Kafka never takes partitions away")
    for finding in topic_findings(settings, cluster):
        if finding.state is not State.OK:
            say(describe(finding))
