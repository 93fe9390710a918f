"""The command that runs a simulated exchange: `radar simulate`."""

from pathlib import Path
from typing import Annotated

import typer

from radar.cli.arguments import MAX_SIMULATED_MARKETS, MAX_SIMULATED_RATE, settings_for
from radar.errors import ConfigurationError
from radar.text import host_port


def simulate(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8765,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the market.")] = 1,
    symbols: Annotated[
        int, typer.Option(min=1, max=MAX_SIMULATED_MARKETS, help="Number of markets.")
    ] = 60,
    trades_per_second: Annotated[
        float,
        typer.Option(min=0, max=MAX_SIMULATED_RATE, help="Trades per second over all markets."),
    ] = 50,
    depth_per_second: Annotated[
        float,
        typer.Option(min=0, max=MAX_SIMULATED_RATE, help="Depth frames per second over all books."),
    ] = 200,
    exchange: Annotated[str, typer.Option(help="Exchange whose protocol it speaks.")] = "wallex",
    twin_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of trades that repeat the trade before exactly."),
    ] = 0.05,
    skew: Annotated[
        float,
        typer.Option(min=0, max=10, help="Distribution of trades over markets; 0: equal, 1: Zipf."),
    ] = 1,
    clock_ahead: Annotated[
        float, typer.Option(help="Seconds by which its clock is ahead; negative: behind.")
    ] = 0,
    recent_trades: Annotated[
        int, typer.Option(min=0, help="Trades per market that REST returns.")
    ] = 200,
    history_trades: Annotated[
        int, typer.Option(min=0, help="Trades that happened in the 24 hours before the start.")
    ] = 0,
    resend: Annotated[
        int, typer.Option(min=0, help="Trades to send again on each subscription.")
    ] = 0,
    max_age: Annotated[
        float, typer.Option(min=0.1, help="Close a connection at this age in seconds.")
    ] = 1800,
    ledger: Annotated[
        Path | None, typer.Option(help="Write every sent record to this file.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Fault at start: NAME or NAME:key=value,…; repeat for more."),
    ] = None,
) -> None:
    """Run a simulated exchange: the protocol of Wallex or another one, with a ledger and faults.

    While it runs, GET /simulator/faults?fault=kick (stall, half_open, garbage, resend, refuse, …)
    injects a fault. GET /simulator/ledger returns the sent records.
    """
    from radar.processes import simulate as run
    from radar_simulator import InvalidOption, SimulatorOptions, parse_fault

    settings = settings_for("exchange")
    try:
        faults = tuple(parse_fault(text) for text in fault or ())
    except ValueError as error:
        raise ConfigurationError(f"--fault: {error}") from error
    try:
        options = SimulatorOptions(
            exchange=exchange,
            host=host,
            port=port,
            seed=seed,
            symbols=symbols,
            trades_per_s=trades_per_second,
            depth_per_s=depth_per_second,
            twin_share=twin_share,
            skew=skew,
            clock_ahead_s=clock_ahead,
            recent_trades=recent_trades,
            history_trades=history_trades,
            resend_count=resend,
            connection_max_age_s=max_age,
            ledger_path=ledger,
            faults=faults,
        )
    except InvalidOption as error:
        raise ConfigurationError(str(error)) from error

    def ready(host: str, bound_port: int) -> None:
        # Without a path, the address stands for a server with all paths of the exchange.
        path = "/ws" if exchange == "wallex" else ""
        name = "EXCHANGE" if exchange == "wallex" else exchange.upper()
        typer.echo(f"{name}_WS_URL=ws://{host_port(host, bound_port)}{path}")
        typer.echo(f"{name}_REST_URL=http://{host_port(host, bound_port)}")

    run(options, settings, ready)
