"""The command that runs one producer: `radar produce`."""

from typing import Annotated

import typer

from radar.cli.arguments import RecordedName, dataset_named, settings_for


def produce(
    dataset: Annotated[RecordedName, typer.Argument(help="Dataset to record.")],
    exchange: Annotated[
        str, typer.Option(help="Exchange to record; default: EXCHANGE, or the first of EXCHANGES.")
    ] = "",
) -> None:
    """Record trades or depth of one exchange into Kafka."""
    from radar.processes import produce as run

    given = {"exchange": exchange} if exchange else {}
    settings = settings_for(f"produce-{dataset}", **given)
    run(settings.of_exchange(settings.own_exchange), dataset_named(dataset))
