"""The command that runs the whole pipeline on this machine: `radar up`."""

from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli import failures
from radar.cli.arguments import MAX_SIMULATED_MARKETS, MAX_SIMULATED_RATE, load_options
from radar.cli.running import addresses, summary_text

if TYPE_CHECKING:
    from radar.local.pipeline import Pipeline


def up(
    *,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="Record a simulated exchange instead of the real one."),
    ] = False,
    duration: Annotated[
        float | None, typer.Option(min=1, help="Stop after this many seconds.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Simulated exchange: seed of the market.")] = 1,
    markets: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_SIMULATED_MARKETS, help="Simulated exchange: number of markets."
        ),
    ] = 60,
    trades_per_second: Annotated[
        float,
        typer.Option(min=0, max=MAX_SIMULATED_RATE, help="Simulated exchange: trades per second."),
    ] = 50,
    depth_per_second: Annotated[
        float,
        typer.Option(
            min=0, max=MAX_SIMULATED_RATE, help="Simulated exchange: depth frames per second."
        ),
    ] = 200,
    join: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Allow recording into a Kafka or ClickHouse that another deployment uses.",
        ),
    ] = False,
) -> None:
    """Run the whole pipeline on this machine: Kafka, ClickHouse, producers and workers.

    Press Ctrl-C to stop: radar first stores all recorded messages. Press it again to stop at once.
    With --duration or --simulate, exit code 0 means that all produced messages are stored.
    """
    import asyncio

    from rich.console import Console

    failures.need_extra("local")
    from radar.local import data_directory
    from radar.local.pipeline import Simulation, run
    from radar.telemetry import logs
    from radar.ui.terminal.run import show_up

    settings = load_options()
    if settings.alert_urls.get_secret_value():
        failures.need_extra("alerts")
    data_dir = data_directory.prepare(settings, simulated=simulate)
    logs.configure(settings, "radar", directory=data_dir / "logs")
    simulation = (
        Simulation(seed, markets, trades_per_second, depth_per_second) if simulate else None
    )
    console = Console()

    async def show(pipeline: "Pipeline") -> None:
        title = "simulated exchange" if simulate else ", ".join(settings.exchanges)
        shown = addresses(pipeline)
        await show_up(console, title, shown, pipeline.watch, lambda: pipeline.processes)

    summary = asyncio.run(run(settings, simulation, duration, show, join=join))
    console.print(summary_text(summary), highlight=False, markup=False, soft_wrap=True)
    if not summary.complete:
        raise typer.Exit(1)
