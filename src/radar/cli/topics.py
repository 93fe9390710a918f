"""The commands for Kafka's topics: `radar topics …`."""

import base64
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from radar.cli.arguments import DatasetName, datasets_named, say, say_json, settings_for
from radar.cli.required_services import require
from radar.errors import InvalidMessage

if TYPE_CHECKING:
    from radar.kafka import StoredMessage

app = typer.Typer(help="Create missing topics in Kafka and list them, or read messages.")


@app.callback(invoke_without_command=True)
def topics(
    context: typer.Context,
    *,
    grow: Annotated[
        bool,
        typer.Option("--grow", help="Add partitions, up to KAFKA_NUM_PARTITIONS."),
    ] = False,
) -> None:
    """Create missing topics in Kafka and list them, or read messages.

    --grow is safe while radar runs, and cannot be undone. A market may move to another partition:
    two workers then store its older and newer messages, in any order. Rows stay the same, because
    tables order them by time and a trade ID does not depend on the partition. Producers
    and workers use new partitions within half a minute and lose no message.
    """
    if context.invoked_subcommand is not None:
        return
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


@app.command()
def read(
    dataset: Annotated[DatasetName, typer.Argument(help="The dataset.")],
    *,
    newest: Annotated[
        int,
        typer.Option("--newest", min=1, help="So many of the last offsets of each partition."),
    ] = 10,
) -> None:
    """Print a dataset's newest messages, one JSON object per line: place, key and value.

    A packed value is printed as the JSON object of version 1 with the same members. A value that is
    no message is printed as Base64.
    """
    from radar.kafka import Cluster

    settings = settings_for("topics")
    require(settings, kafka=True)
    (chosen,) = datasets_named(dataset)
    for message in Cluster(settings).messages(chosen.topic, newest=newest):
        say_json(_facts(message), indent=None)


def _facts(message: "StoredMessage") -> dict[str, Any]:
    from radar.codec.message_format import as_json

    value = message.value() or b""
    facts = {
        "partition": message.partition(),
        "offset": message.offset(),
        "key": (message.key() or b"").decode(errors="replace"),
    }
    try:
        return facts | {"value": msgspec.json.decode(as_json(value))}
    except (InvalidMessage, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return facts | {"value_base64": base64.b64encode(value).decode()}
