"""The command that probes processes: `radar health`."""

from typing import Annotated

import typer

from radar.cli.arguments import AsJson, load_options, say, say_json


def health(
    address: Annotated[
        str, typer.Argument(help="Process to check, HOST:PORT; default: the running `radar up`.")
    ] = "",
    *,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Metrics port of a process on this machine."),
    ] = None,
    alive: Annotated[bool, typer.Option("--alive", help="Check liveness only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check that processes are alive and ready. Exit code 0: all of them are.

    Without arguments it checks the running `radar up`, else the process at METRICS_PORT, else the
    processes in MONITOR_PROCESSES.
    """
    from radar.status.health_probe import ask, ask_all, parse

    if address:
        reports = [ask(*parse(address))]
    elif port is not None:
        reports = [ask("127.0.0.1", port)]
    else:
        # Imported only here: its library takes most of this command's time.
        reports = ask_all(load_options())
    bad = [each for each in reports if not (each.alive and (alive or each.ready))]
    if as_json:
        error = "; ".join(map(str, bad)) or None
        say_json({"processes": [each._asdict() for each in reports]}, error=error)
    else:
        say(*map(str, reports))
    if bad:
        raise typer.Exit(1)
