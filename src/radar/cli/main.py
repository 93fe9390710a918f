"""The command line `radar`: it parses arguments and reports each error on one clear line.

Each command imports its own modules, so that help and completion are quick.
"""

from radar import early_signals

# isort: split
import signal
import sys
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radar import __version__
from radar.cli import backfill, dlq, failures, reconcile, reparse, replay, restore, skip, topics
from radar.cli.arguments import (
    AsJson,
    DatasetName,
    ExportedName,
    RecordedName,
    confirm,
    load_options,
    market_names,
    progress_bar,
    say,
    say_json,
    say_marked,
)
from radar.cli.arguments import dataset_named as _dataset
from radar.cli.arguments import settings_for as _settings
from radar.cli.markets import FORM, MarketOption, market_list
from radar.cli.required_services import require
from radar.cli.running import addresses, addresses_of_running, dashboard_address, summary_text
from radar.errors import ConfigurationError
from radar.periods import EXAMPLES, looks_like_time, parse_length_s, parse_period, parse_time
from radar.text import host_port

if TYPE_CHECKING:
    from radar.local.pipeline import Pipeline
    from radar.settings import Settings

# Of the simulated exchange; more than any real one has.
MAX_MARKETS = 10_000
MAX_RATE = 1_000_000
# More than any book has.
MAX_LEVELS = 65_535
STATE_STYLES = {"ok": "green", "warning": "yellow", "unknown": "yellow", "problem": "red"}

app = typer.Typer(
    name="radar",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Record cryptocurrency markets and never lose a message:"
    " exchange WebSocket → Kafka → ClickHouse.",
    epilog="Options come from the environment and .env; `radar config` shows them."
    " Exit codes: 0 fine, 1 a problem, 2 wrong usage or configuration, 3 not verifiable.",
)
app.add_typer(dlq.app, name="dlq")
app.add_typer(topics.app, name="topics")
app.command()(backfill.backfill)
app.command()(replay.replay)
app.command()(reparse.reparse)
app.command()(reconcile.reconcile)
app.command()(skip.skip)
app.command()(restore.restore)
app.command()(restore.acknowledge)


class ExportFormat(StrEnum):
    """Formats of exported files."""

    PARQUET = "parquet"
    CSV = "csv"
    TARDIS = "tardis"
    HFTBACKTEST = "hftbacktest"
    NAUTILUS = "nautilus"


Write = Annotated[
    bool,
    typer.Option("--write", help="Allow a statement that changes data. A deletion asks first."),
]


# These run until a signal comes, and handle it themselves.
LASTING = ("up", "simulate", "replay", "produce", "consume", "dashboard")


def main() -> None:
    """Run the command line; ends the process."""
    from radar.cli.streams import outlive
    from radar.process import follow_supervisor, raise_open_files, warn_of_few_files

    follow_supervisor(signal.SIGKILL)
    lasting = sys.argv[1:2] and (sys.argv[1] in LASTING or "--follow" in sys.argv)
    early_signals.leave_on_signals()
    if not lasting:
        early_signals.interrupt_again()
    outlive(output=bool(lasting))
    allowed = raise_open_files()
    if lasting:
        warn_of_few_files(allowed)
    sys.exit(failures.run(app, sys.argv[1:]))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"radar {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command()
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
        int, typer.Option(min=1, max=MAX_MARKETS, help="Simulated exchange: number of markets.")
    ] = 60,
    trades_per_second: Annotated[
        float, typer.Option(min=0, max=MAX_RATE, help="Simulated exchange: trades per second.")
    ] = 50,
    depth_per_second: Annotated[
        float,
        typer.Option(min=0, max=MAX_RATE, help="Simulated exchange: depth frames per second."),
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


@app.command()
def simulate(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8765,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the market.")] = 1,
    symbols: Annotated[int, typer.Option(min=1, max=MAX_MARKETS, help="Number of markets.")] = 60,
    trades_per_second: Annotated[
        float, typer.Option(min=0, max=MAX_RATE, help="Trades per second over all markets.")
    ] = 50,
    depth_per_second: Annotated[
        float, typer.Option(min=0, max=MAX_RATE, help="Depth frames per second over all books.")
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

    settings = _settings("exchange")
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


@app.command()
def produce(
    dataset: Annotated[RecordedName, typer.Argument(help="Dataset to record.")],
    exchange: Annotated[
        str, typer.Option(help="Exchange to record; default: EXCHANGE, or the first of EXCHANGES.")
    ] = "",
) -> None:
    """Record trades or depth of one exchange into Kafka."""
    from radar.processes import produce as run

    given = {"exchange": exchange} if exchange else {}
    settings = _settings(f"produce-{dataset}", **given)
    run(settings.of_exchange(settings.own_exchange), _dataset(dataset))


@app.command()
def consume(
    datasets: Annotated[list[DatasetName], typer.Argument(help="Datasets to store.")],
) -> None:
    """Store datasets from Kafka into ClickHouse. Run one per partition at most.

    Name several only if they are quiet, such as gaps and watches (the sessions): they take turns.
    """
    from radar.processes import consume as run

    names = list(dict.fromkeys(datasets))
    settings = _settings(f"consume-{'-'.join(names)}")
    run(settings, [_dataset(name) for name in names])


@app.command()
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
    settings = _settings(
        "dashboard", **{name: value for name, value in given.items() if value is not None}
    )
    run(settings, lambda url: typer.echo(f"dashboard: {dashboard_address(settings, url)}"))


@app.command()
def migrate(
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Also restore the type of changed columns."),
    ] = False,
) -> None:
    """Create or update the tables in ClickHouse, and recreate missing parts."""
    from radar.store.client import Store
    from radar.store.drift import differences
    from radar.store.migrate import migrate as run
    from radar.store.migrate import repair_schema

    settings = _settings("migrate")
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        repaired = repair_schema(store, types=repair)
        applied = run(store, settings.retention_days, settings.frames_retention_days)
        left = differences(store)
    finally:
        store.close()
    for difference in repaired:
        typer.echo(f"repaired: {difference.text}")
    for migration in applied:
        typer.echo(f"applied {migration.version:04} {migration.name}")
    if losses := [each for each in repaired if each.loss]:
        for each in losses:
            typer.echo(f"lost: {each.table}: {each.loss}", err=True)
        typer.echo("store them again from Kafka: docs/operations.md, Missing schema", err=True)
    if left:
        for difference in left:
            typer.echo(f"different: {difference.text}", err=True)
        typer.echo("change it as well with: radar migrate --repair", err=True)
        raise typer.Exit(1)
    typer.echo(f"database {settings.clickhouse_db} is up to date")


@app.command()
def query(
    sql: Annotated[
        str,
        typer.Argument(
            help="A query, e.g. 'SELECT * FROM trades LIMIT 10'; -: read standard input.",
            metavar="SQL",
        ),
    ] = "",
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Read statements from this file; semicolons divide them."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            help="Value of a placeholder such as {symbol:String}: symbol=BTCUSDT. A time may be an"
            " age: at=-1h. Repeat it for more.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    output_format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="Any format of ClickHouse: CSV, JSONEachRow, …; default: a table in a terminal,"
            " TabSeparated elsewhere.",
        ),
    ] = "",
    write: Write = False,
) -> None:
    """Run a statement in ClickHouse, or on the embedded data while radar is stopped.

    Statements of a file or of standard input run in their order, up to the first error. Reads only,
    unless --write is given. docs/queries.md describes tables and views, docs/recipes.md has
    examples, and docs/data-dictionary.md lists every column.
    """
    from radar.reading.query import TABLE_FORMAT, TABLE_SETTINGS, ask, may_run
    from radar.reading.statements import binary_format, statements, values
    from radar.text import printable_chunks

    settings = _settings("query")
    if sql and file is not None:
        raise ConfigurationError("give a query or --file, not both")
    chosen = [sql] if sql not in ("", "-") else statements(_statement_text(sql, file))
    if not chosen:
        raise ConfigurationError("the query is empty")
    placeholders = values(parameter or (), "; ".join(chosen), datetime.now(UTC))
    terminal = sys.stdout.isatty()
    for each in chosen:
        if terminal and (name := binary_format(each, output_format)):
            raise ConfigurationError(
                f"{name} is binary and no terminal can show it: write it to a file with > FILE"
            )
        if write and not may_run(each.encode()):
            raise typer.Abort
    wanted, shown = output_format or "TabSeparated", {}
    if terminal and not output_format:
        wanted, shown = TABLE_FORMAT, TABLE_SETTINGS
    for each in chosen:
        answer = ask(settings, each, wanted, placeholders, shown, write=write)
        for chunk in printable_chunks(answer) if terminal else answer:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _statement_text(sql: str, file: Path | None) -> bytes:
    """Return the text of a file or of standard input; blocks.

    Raises:
        ConfigurationError: Neither is named, or the file cannot be read.
    """
    from radar.reading.statements import MAX_STATEMENT_BYTES

    if file is None:
        if sql == "-":
            return sys.stdin.buffer.read(MAX_STATEMENT_BYTES + 1)
        raise ConfigurationError("give a query, - for standard input, or --file FILE")
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_STATEMENT_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"--file {file}: {error.strerror}") from error


@app.command()
def shell(*, write: Write = False) -> None:
    r"""Open an SQL prompt with completion and history.

    Reads only, unless --write is given. End a statement with a semicolon; it may take several
    lines. Like `radar query`, it opens the embedded data while radar is stopped. Leave with \q or
    Ctrl-D.
    """
    from radar.reading.shell import run

    run(_settings("shell"), write=write)


@app.command()
def export(
    dataset: Annotated[
        ExportedName | None,
        typer.Argument(
            help="Dataset to export; none for hftbacktest and nautilus.", show_default=False
        ),
    ] = None,
    *,
    markets: MarketOption = None,
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            "--since",
            "--first",
            help=f"Begin (UTC): {EXAMPLES}; default: the oldest day. Files hold whole days.",
            metavar="TIME",
        ),
    ] = "",
    end: Annotated[
        str,
        typer.Option("--to", help="End (UTC), not included; default: now.", metavar="TIME"),
    ] = "",
    last: Annotated[
        str, typer.Option("--last", help="Instead of --to: the last day, included.", metavar="DAY")
    ] = "",
    output_format: Annotated[
        ExportFormat, typer.Option("--format", "-f", help="Format of the files.")
    ] = ExportFormat.PARQUET,
    interval: Annotated[
        str, typer.Option("--interval", help="Of candles: 1s, 5m, 1h, 1d; it divides a day.")
    ] = "1m",
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Of the days of candles, e.g. Asia/Tehran.")
    ] = "UTC",
    levels: Annotated[
        int,
        typer.Option(
            "--levels", min=0, max=MAX_LEVELS, help="Best levels of each side of a book; 0: all."
        ),
    ] = 0,
    floats: Annotated[
        bool, typer.Option("--floats", help="Write doubles instead of exact decimals.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Folder to write to; default: export.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one file per market and day: FOLDER/DATASET/EXCHANGE/SYMBOL/DAY.parquet.

    A file appears when it is complete. A repeated export writes missing days, days that were
    unfinished, and days with new rows. manifest.json beside the files lists their checksums, and
    the coverage and gaps of each day.

    The formats tardis, hftbacktest and nautilus write the files of these tools: docs/exports.md.
    An earlier form still works: --to FOLDER.

    Candles are computed from the recorded trades. Each choice of --interval, --time-zone, --levels
    and --floats has a folder of its own.
    """
    from radar.reading.export import ExportRequest
    from radar.reading.export import export as run

    settings = _settings("export")
    if end and not looks_like_time(end):
        if folder is not None:
            raise ConfigurationError(f"--to {end} is no time (allowed: {EXAMPLES})")
        folder, end = Path(end), ""
    folder = folder or Path("export")
    first_day, last_day = _days(begin, end, last)
    wanted = ExportRequest(
        str(dataset or ""),
        output_format.value,
        market_list(markets or ()),
        first_day,
        last_day,
        parse_length_s("--interval", interval),
        time_zone,
        levels,
        floats,
    )
    with progress_bar() as show:
        exported = run(settings, wanted, folder, lambda done, total: show("days", done, total))
    if as_json:
        say_json(
            {
                "folder": str(folder),
                "written": exported.written,
                "unchanged": exported.skipped,
                "left_out": exported.left_out,
            }
        )
        return
    kept = f"; {exported.skipped:,} were up to date" if exported.skipped else ""
    if exported.left_out:
        kept += f"; left out {exported.left_out:,} without order book"
    typer.echo(f"wrote {exported.written:,} file{_s(exported.written)} to {folder}{kept}")


@app.command()
def monitor() -> None:
    """Show the whole pipeline live on one screen: bottleneck, lag, markets, problems.

    Shows the running `radar up`, or else the processes in MONITOR_PROCESSES. It changes no data.
    Keys: ? explains the screen, q quits.
    """
    from radar.ui.terminal.run import has_terminal
    from radar.ui.terminal.run import monitor as run

    if not has_terminal():
        raise ConfigurationError("monitor needs a terminal: use radar status elsewhere")

    settings = load_options()
    run(settings, addresses_of_running(settings))


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Report running processes, stored rows, lag and the bottleneck.

    Prints the facts of `radar monitor` once; takes two seconds. Exit code 1: a part of the pipeline
    is stuck or does not answer.
    """
    from radar.status import render as module
    from radar.status.collect import observe_once
    from radar.status.state import running_pipeline

    settings = _settings("status")
    overview = observe_once(settings)
    problems = module.problems(overview)
    if as_json:
        found = module.facts(overview, running_pipeline(settings.radar_data_dir))
        say_json(found, error="; ".join(problems) or None)
    else:
        for line in module.describe(overview).splitlines():
            mark, separator, rest = line.partition(": ")
            if separator and mark in STATE_STYLES:
                say_marked(f"{mark}: ", STATE_STYLES[mark], rest)
            elif line == "everything flows":
                say_marked(line, "green", "")
            else:
                say(line)
    if problems:
        raise typer.Exit(1)


@app.command()
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


@app.command()
def lag(*, as_json: AsJson = False) -> None:
    """Report the waiting messages and the owner of each partition."""
    from radar.errors import BrokerUnavailable
    from radar.status import render as module
    from radar.status.collect import observe_lag
    from radar.status.deployment import find

    settings = _settings("lag")
    require(find(settings).reach(settings), kafka=True)
    overview = observe_lag(settings)
    if overview.kafka_error:
        raise BrokerUnavailable(overview.kafka_error)
    partitions = overview.partitions
    if as_json:
        say_json({"partitions": module.lag_facts(partitions)})
    else:
        say(*module.describe_lag(partitions).splitlines())


@app.command()
def verify(
    *,
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="Ledger of a simulated exchange; default: that of the running `radar up`."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Reconcile Kafka, ClickHouse and the simulated exchange: find missing and doubled rows.

    Exit code 0: no row is missing and none is doubled. Messages and rows past their retention, and
    messages that still wait in Kafka, do not count as missing.
    """
    from radar.checks.verify import check_ledger, describe, facts
    from radar.checks.verify import verify as run

    settings = _settings("verify")
    if ledger is not None:
        check_ledger(ledger)
    require(settings, kafka=True, clickhouse=True)
    ledgers = [ledger] if ledger else _running_ledgers(settings)
    with progress_bar() as show:
        report = run(settings, ledgers, show)
    if as_json:
        say_json(facts(report), error=None if report.exact else list(describe(report))[-1])
    else:
        say(*describe(report))
    if not report.exact:
        raise typer.Exit(1)


@app.command()
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

    settings = _settings("coverage")
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


@app.command()
def disk(*, as_json: AsJson = False) -> None:
    """Show the disk space of each table and each market in ClickHouse.

    A market's size is an estimate: its share of the table's rows, or of the levels of books.
    """
    from radar.checks import disk as module
    from radar.store.client import Store

    settings = _settings("disk")
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        sizes = module.tables(store)
        found = module.markets(store, sizes) if sizes else []
    finally:
        store.close()
    if as_json:
        say_json(module.facts(sizes, found))
    else:
        say(*module.describe(sizes, found))


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Check disk, ports, clock, Kafka, ClickHouse and exchange, and name remedies.

    Prints one line per check and changes no data. Exit code 1: there is a problem; a warning is
    none.
    """
    from radar.checks.doctor import describe, examine, worst
    from radar.checks.findings import Finding, State

    found: list[Finding] = []
    for finding in examine(_settings("doctor")):
        found.append(finding)
        if not as_json:
            state = str(finding.state)
            say_marked(state, STATE_STYLES[state], describe(finding).removeprefix(state))
    if as_json:
        problems = [describe(each) for each in found if each.state is State.PROBLEM]
        say_json(
            {"findings": [finding._asdict() for finding in found]},
            error="; ".join(problems) or None,
        )
    if worst(found) is State.PROBLEM:
        raise typer.Exit(1)


@app.command()
def reset(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Delete only the data of the simulated exchange.")
    ] = False,
) -> None:
    """Delete the embedded data in RADAR_DATA_DIR: topics, tables and logs."""
    from radar.local import data_directory

    settings = _settings("reset")
    directory = data_directory.path_of(settings, simulated=simulated)
    data_directory.check_unused(directory)
    if not yes:
        confirm(f"Delete everything in {directory}?")
    data_directory.delete(directory)
    typer.echo(f"deleted {directory}")


@app.command()
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
    settings = _settings("config")
    values, sources = module.effective(settings), module.sources(settings)
    shown = [name for name in values if not changed or sources[name] != "default"]
    if as_json:
        options = {name: {"value": values[name], "source": sources[name]} for name in shown}
        say_json({"options": options})
        return
    for name in shown:
        source = "" if sources[name] == "default" else f"  # {sources[name]}"
        say(f"{name}={values[name]}{source}")


class Door(StrEnum):
    """Services that a secret opens."""

    CLICKHOUSE = "clickhouse"
    DASHBOARD = "dashboard"


@app.command()
def password(
    door: Annotated[Door, typer.Argument(help="Service that the secret opens.")] = Door.CLICKHOUSE,
) -> None:
    """Show the password of the embedded ClickHouse, or the token of the dashboard.

    Use it in other clients, e.g. curl -u default:$(radar password) http://127.0.0.1:8123/. The
    commands of radar read both secrets themselves.
    """
    from radar.ui.web.address import token

    settings = _settings("password")
    if door is Door.DASHBOARD:
        typer.echo(token(settings))
        return
    secret = settings.clickhouse_password.get_secret_value()
    if not secret:
        raise ConfigurationError("there is no password yet: `radar up` creates it")
    typer.echo(secret)


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(f"radar {__version__}")


def _days(begin: str, end: str, last: str) -> tuple[date | None, date | None]:
    """Return the first and last day that a period touches; None: it is open.

    Raises:
        ConfigurationError: An option is no time, or both --to and --last are given.
        InvalidPeriod: The period is empty or reversed.
    """
    now = datetime.now(UTC)
    if end and last:
        raise ConfigurationError("give --to or --last, not both")
    if last:
        last_day = parse_time(last, now).astimezone(UTC).date()
        first = parse_time(begin, now).astimezone(UTC).date() if begin else None
        return first, last_day
    if not end:
        return (parse_time(begin, now).astimezone(UTC).date() if begin else None), None
    oldest = datetime(1970, 1, 1, tzinfo=UTC)
    period = parse_period(begin, end, now, default=(oldest, now), may_be_future=True)
    return (period.first_day if begin else None), period.last_day


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _running_ledgers(settings: "Settings") -> list[Path]:
    from radar.status.state import running_pipeline

    running = running_pipeline(settings.radar_data_dir)
    if running is None or not running["simulated"]:
        return []
    from radar.local import data_directory

    return sorted(data_directory.path_of(settings, simulated=True).glob(data_directory.LEDGERS))
