"""The command that serves the web pages: `radar dashboard`."""

from typing import Annotated

import typer

from radar.cli.arguments import settings_for
from radar.cli.running import dashboard_address


def dashboard(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: DASHBOARD_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; 0: any free one; default: DASHBOARD_PORT."),
    ] = None,
) -> None:
    """Serve the dashboard: web pages about the markets and the pipeline.

    The dashboard only reads. Press Ctrl-C to stop it.
    """
    from radar.processes import dashboard as run

    given = {"dashboard_host": host, "dashboard_port": port}
    settings = settings_for(
        "dashboard", **{name: value for name, value in given.items() if value is not None}
    )
    run(settings, lambda url: typer.echo(f"dashboard: {dashboard_address(settings, url)}"))
