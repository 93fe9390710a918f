"""The command `radar reconcile`: the proof of a recording."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import AsJson, From, progress_bar, say, say_json, settings_for
from radar.cli.required_services import require
from radar.periods import parse_period

if TYPE_CHECKING:
    from radar.checks.proof import Span


def reconcile(
    exchanges: Annotated[
        list[str] | None, typer.Argument(help="Exchanges, e.g. binance; default: all recorded.")
    ] = None,
    *,
    first: From = "1d",
    last: Annotated[
        str,
        typer.Option(
            "--to",
            help="End (UTC), not included; default: RECONCILE_DELAY_SECONDS ago.",
            metavar="TIME",
        ),
    ] = "",
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go on: examine each time soon after it is over."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove a recording: each time is verified, repaired, unverifiable or missing.

    Compares the stored trades with the exchange's consecutive numbers and candles, and books with
    their chains and checksums. The views `proof_intervals` and `completeness` keep the result;
    docs/completeness.md explains it.

    Exit code 0: all is verified or repaired. 1: records are missing. 3: some time cannot be
    verified.
    """
    if follow:
        from radar.processes import examine

        examine(settings_for("reconcile"))
        return
    import asyncio

    from radar.checks import reconcile as module
    from radar.exchanges import load
    from radar.status.deployment import find
    from radar.store.client import Store
    from radar.store.proofs import exchanges as recorded

    settings = settings_for("reconcile")
    for name in exchanges or ():
        load(name)
    period = _period(first, last, datetime.now(UTC), settings.reconcile_delay_seconds)
    settings = find(settings).reach(settings)
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        names = list(dict.fromkeys(exchanges or recorded(store)))
        with progress_bar() as show:
            report = asyncio.run(module.reconcile(settings, store, names, period, show))
    finally:
        store.close()
    if as_json:
        say_json(module.facts(report), error=module.error(report))
    else:
        say(*module.describe(report))
    if report.result:
        raise typer.Exit(int(report.result))


def _period(first: str, last: str, now: datetime, delay_s: float) -> "Span":
    """Return the period of two arguments.

    Raises:
        ConfigurationError: An argument is no time.
        InvalidPeriod: The period is empty, reversed or in the future.
    """
    from radar.checks.proof import Span

    # Candles judge whole minutes.
    settled = (now - timedelta(seconds=delay_s)).replace(second=0, microsecond=0)
    period = parse_period(first, last, now, default=(now - timedelta(days=1), settled))
    return Span(period.begin_us, period.end_us)
