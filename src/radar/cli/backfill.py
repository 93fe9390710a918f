"""The command `radar backfill`: past trades and candles of an exchange."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import AsJson, From, To, progress_bar, say, say_json, settings_for
from radar.cli.markets import symbols_of
from radar.cli.required_services import require
from radar.clock import utc_text
from radar.periods import iso, parse_period

if TYPE_CHECKING:
    from radar.producer.history import Period, Report


class HistoryName(StrEnum):
    """The datasets that exchanges offer for past times."""

    TRADES = "trades"
    CANDLES = "candles"


def backfill(
    exchange: Annotated[str, typer.Argument(help="Exchange, e.g. binance.")],
    markets: Annotated[
        list[str],
        typer.Argument(help="Markets, as the exchange writes them: BTCUSDT or binance:BTCUSDT."),
    ],
    *,
    first: From,
    last: To = "",
    dataset: Annotated[
        HistoryName, typer.Option("--dataset", help="Trades, or the exchange's own candles.")
    ] = HistoryName.TRADES,
    interval: Annotated[
        str, typer.Option("--interval", help="Interval of the candles, e.g. 1m, 1h, 1d.")
    ] = "1h",
    as_json: AsJson = False,
) -> None:
    """Fetch past trades or candles from an exchange and store them.

    Trades become rows like recorded ones; a trade that is stored already is not stored again.
    Candles become rows of exchange_candles and are never mixed with candles of recorded trades.
    docs/exchanges.md says what each exchange serves.

    Workers must run. The command fetches only records that ClickHouse lacks, so you may stop and
    repeat it. Exit code 1: trades are missing at the exchange, or it sent invalid records.
    """
    import asyncio

    from radar.exchanges import load
    from radar.producer.history import backfill as run
    from radar.producer.history import check_offer
    from radar.status.deployment import find

    settings = settings_for("backfill")
    driver = load(exchange)
    symbols = symbols_of(exchange, markets)
    wanted = interval if dataset is HistoryName.CANDLES else None
    check_offer(driver, wanted)
    period = period_of(first, last, datetime.now(UTC))
    settings = find(settings).reach(settings).of_exchange(exchange)
    require(settings, kafka=True, clickhouse=True)
    with progress_bar() as show:
        reports = asyncio.run(run(settings, driver, symbols, period, wanted, show))
    problems = [problem for each in reports for problem in _problems(each)]
    if as_json:
        found = {
            "exchange": exchange,
            "dataset": str(dataset),
            "from": _text(period.begin_us),
            "to": _text(period.end_us),
            "markets": [each._asdict() for each in reports],
        }
        say_json(found, error="; ".join(problems) or None)
    else:
        for each in reports:
            say(_line(exchange, str(dataset), each))
        say(*problems)
    if problems:
        raise typer.Exit(1)


def period_of(first: str, last: str, now: datetime) -> "Period":
    """Return the period of two arguments, in whole seconds.

    Raises:
        ConfigurationError: An argument is no time.
        InvalidPeriod: The period is empty, reversed, in the future or before 2015.
    """
    from radar.codec.message_format import MIN_TIME_MS
    from radar.errors import InvalidPeriod
    from radar.producer.history import Period

    found = parse_period(first, last, now)
    begin_s, end_s = found.begin_us // 1_000_000, found.end_us // 1_000_000
    if end_s <= begin_s:
        raise InvalidPeriod(
            f"--to {iso(found.end)} is not after --from {iso(found.begin)}: give at least a second"
        )
    if found.begin_us < MIN_TIME_MS * 1000:
        raise InvalidPeriod(f"--from must be {_text(MIN_TIME_MS * 1000)} or later")
    return Period(begin_s * 1_000_000, end_s * 1_000_000)


def _line(exchange: str, dataset: str, report: "Report") -> str:
    stored = (
        "all are stored"
        if report.is_stored
        else f"they wait in Kafka: start a worker (radar consume {_table(dataset)})"
    )
    return (
        f"{exchange}:{report.symbol}: {report.known:,} {dataset}, {report.published:,} of them new;"
        f" {stored if report.is_stored is False or not report.missing else 'the others are stored'}"
    )


def _table(dataset: str) -> str:
    return "trades" if dataset == HistoryName.TRADES else "exchange_candles"


def _problems(report: "Report") -> list[str]:
    problems = []
    if report.missing:
        problems.append(
            f"{report.symbol}: {report.missing:,} trades are missing: the exchange did not send"
            " them; repeat the command, which asks for them again"
        )
    if report.invalid:
        problems.append(
            f"{report.symbol}: {report.invalid:,} records of the exchange are invalid and not"
            " stored; the log has the reasons"
        )
    return problems


def _text(time_us: int) -> str:
    return utc_text(time_us // 1_000_000)
