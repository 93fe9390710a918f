"""The command that deletes the embedded data: `radar reset`."""

from typing import Annotated

import typer

from radar.cli.arguments import confirm, settings_for


def reset(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Delete only the data of the simulated exchange.")
    ] = False,
) -> None:
    """Delete the embedded data in RADAR_DATA_DIR: topics, tables and logs."""
    from radar.local import data_directory

    settings = settings_for("reset")
    directory = data_directory.path_of(settings, simulated=simulated)
    data_directory.check_unused(directory)
    if not yes:
        confirm(f"Delete everything in {directory}?")
    data_directory.delete(directory)
    typer.echo(f"deleted {directory}")
