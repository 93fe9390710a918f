"""The command that runs one worker: `radar consume`."""

from typing import Annotated

import typer

from radar.cli.arguments import DatasetName, dataset_named, settings_for


def consume(
    datasets: Annotated[list[DatasetName], typer.Argument(help="Datasets to store.")],
) -> None:
    """Store datasets from Kafka into ClickHouse. Run one per partition at most.

    Name several only if they are quiet, such as gaps and watches (the sessions): they take turns.
    """
    from radar.processes import consume as run

    names = list(dict.fromkeys(datasets))
    settings = settings_for(f"consume-{'-'.join(names)}")
    run(settings, [dataset_named(name) for name in names])
