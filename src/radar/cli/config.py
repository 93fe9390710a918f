"""The command that shows every option: `radar config`."""

from typing import Annotated

import typer

from radar.cli.arguments import AsJson, say, say_json, settings_for


def config(
    *,
    env_example: Annotated[
        bool, typer.Option("--env-example", help="Print every option with its default.")
    ] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print docs/configuration.md: every option.")
    ] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Print only options that are set somewhere.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the value and origin of every option, with secrets masked."""
    from radar import settings_reference as module

    if env_example or reference:
        typer.echo(module.env_example() if env_example else module.reference(), nl=False)
        return
    settings = settings_for("config")
    values, sources = module.effective(settings), module.sources(settings)
    shown = [name for name in values if not changed or sources[name] != "default"]
    if as_json:
        options = {name: {"value": values[name], "source": sources[name]} for name in shown}
        say_json({"options": options})
        return
    for name in shown:
        source = "" if sources[name] == "default" else f"  # {sources[name]}"
        say(f"{name}={values[name]}{source}")
