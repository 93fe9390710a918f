"""The command that reports how much was recorded: `radar coverage`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from radar.cli.arguments import AsJson, RecordedName, market_names, say, say_json, settings_for
from radar.cli.markets import FORM, market_list
from radar.cli.required_services import require
from radar.periods import EXAMPLES, parse_period


def coverage(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(help=f"Markets: {FORM}; default: all.", autocompletion=market_names),
    ] = None,
    *,
    dataset: Annotated[
        RecordedName | None, typer.Option("--dataset", help="Only this dataset.")
    ] = None,
    first: Annotated[
        str,
        typer.Option(
            "--from", "--since", help=f"Begin (UTC): {EXAMPLES}. Days are whole.", metavar="TIME"
        ),
    ] = "7d",
    last: Annotated[
        str, typer.Option("--to", help="End (UTC), not included; default: now.", metavar="TIME")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Report how much of each day each market was recorded and proven, and its gaps.

    `complete` also counts the gaps that backfill closed. The other shares are those of the examined
    time: `radar reconcile` examines it. The views `coverage`, `completeness` and `symbol_gaps` hold
    the same numbers. Name a market to list its single gaps.
    """
    from radar.checks import coverage as module
    from radar.reading.recorded import check_markets, check_period
    from radar.store.client import Store
    from radar.store.proofs import completeness

    settings = settings_for("coverage")
    now = datetime.now(UTC)
    default = now - timedelta(days=7), now
    period = parse_period(first, last, now, default=default, may_be_future=True)
    markets = market_list(symbols or ())
    chosen = period.first_day, markets, dataset or "", period.last_day
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        check_period(store.rows, period.begin, period.end)
        check_markets(store.rows, markets)
        days = module.coverage(store, *chosen)
        gaps = module.symbol_gaps(store, *chosen) if symbols or as_json else []
        proven = completeness(store, *chosen)
    finally:
        store.close()
    if as_json:
        say_json(module.facts(days, gaps, proven))
    else:
        say(*module.describe(days, gaps, proven))
