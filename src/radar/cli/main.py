"""The command line `radar`: arguments in, one clear line out when something is wrong.

Modules are imported by the commands that use them, so that help and completion are quick.
"""

from radar import early_signals

# isort: split
import shutil
import signal
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radar import __version__
from radar.cli import dlq, failures, restore, skip
from radar.cli.arguments import (
    AsJson,
    DatasetName,
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
from radar.cli.services import require
from radar.text import host_port

if TYPE_CHECKING:
    from radar.local.pipeline import Pipeline, RunSummary
    from radar.settings import Settings

# Of the simulated exchange; more than any real one has.
MAX_MARKETS = 10_000
MAX_RATE = 1_000_000
STATE_STYLES = {"ok": "green", "warning": "yellow", "unknown": "yellow", "problem": "red"}

app = typer.Typer(
    name="radar",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Record cryptocurrency markets and never lose a message:"
    " exchange WebSocket → Kafka → ClickHouse.",
    epilog="Options come from the environment and .env; `radar config` shows them."
    " Exit codes: 0 fine, 1 a problem, 2 wrong usage or configuration.",
)
app.add_typer(dlq.app, name="dlq")
app.command()(skip.skip)
app.command()(restore.restore)
app.command()(restore.acknowledge)


class ExportFormat(StrEnum):
    """Formats of exported files."""

    PARQUET = "parquet"
    CSV = "csv"


Write = Annotated[
    bool,
    typer.Option("--write", help="Let the statement change data. Asks before it deletes."),
]


def _day_option(text: str) -> Any:
    return typer.Option(formats=["%Y-%m-%d"], help=text, metavar="DAY")


# They run until a signal comes, and handle it themselves.
LASTING = ("up", "simulate", "produce", "consume", "dashboard")


def main() -> None:
    """Run the command line; ends the process."""
    from radar.cli.streams import outlive
    from radar.process import follow_supervisor, raise_open_files, warn_of_few_files

    follow_supervisor(signal.SIGKILL)
    lasting = sys.argv[1:2] and sys.argv[1] in LASTING
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
        bool, typer.Option("--simulate", help="Use a simulated exchange instead of the real one.")
    ] = False,
    duration: Annotated[
        float | None, typer.Option(min=1, help="Stop by itself after so many seconds.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Simulated exchange: seed of the market.")] = 1,
    markets: Annotated[
        int, typer.Option(min=1, max=MAX_MARKETS, help="Simulated exchange: number of markets.")
    ] = 60,
    trades_per_second: Annotated[
        float, typer.Option(min=0, max=MAX_RATE, help="Simulated exchange: rate.")
    ] = 50,
    depth_per_second: Annotated[
        float, typer.Option(min=0, max=MAX_RATE, help="Simulated exchange: rate.")
    ] = 200,
    join: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Record into a Kafka or ClickHouse that holds the data of another deployment.",
        ),
    ] = False,
) -> None:
    """Run the whole pipeline on this machine: Kafka, ClickHouse, producers and workers.

    Ctrl-C stops in order, so that everything recorded is stored; a second Ctrl-C forces.
    With --duration, or with a simulated exchange, the exit code is 0 only if everything that was
    produced is stored.
    """
    import asyncio

    from rich.console import Console

    from radar.local.pipeline import Simulation, prepare_data_directory, run
    from radar.telemetry import logs
    from radar.ui.terminal.run import show_up

    settings = load_options()
    data_dir = prepare_data_directory(settings, simulated=simulate)
    logs.configure(settings, "radar", directory=data_dir / "logs")
    simulation = (
        Simulation(seed, markets, trades_per_second, depth_per_second) if simulate else None
    )
    console = Console()

    async def show(pipeline: "Pipeline") -> None:
        title = "simulated exchange" if simulate else settings.exchange
        addresses, watch = _addresses(pipeline), pipeline.watch
        await show_up(console, title, addresses, watch, lambda: pipeline.processes)

    summary = asyncio.run(run(settings, simulation, duration, show, join=join))
    console.print(_summary(summary), highlight=False, markup=False, soft_wrap=True)
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
        float, typer.Option(min=0, max=MAX_RATE, help="Trades over all markets.")
    ] = 50,
    depth_per_second: Annotated[
        float, typer.Option(min=0, max=MAX_RATE, help="Depth frames over all books.")
    ] = 200,
    twin_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of trades that are repeated.")
    ] = 0.05,
    skew: Annotated[
        float, typer.Option(min=0, max=10, help="0: all markets trade alike; 1: Zipf.")
    ] = 1,
    recent_trades: Annotated[
        int, typer.Option(min=0, help="Trades of a market that REST returns.")
    ] = 200,
    resend: Annotated[int, typer.Option(min=0, help="Trades sent again on each subscription.")] = 0,
    max_age: Annotated[
        float, typer.Option(min=0.1, help="Life of a connection in seconds.")
    ] = 1800,
    ledger: Annotated[Path | None, typer.Option(help="File that lists what was sent.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Fault at start, NAME or NAME:key=value,…; may be given repeatedly."),
    ] = None,
) -> None:
    """Run a simulated exchange: the protocol of Wallex, with a ledger and faults.

    While it runs, GET /simulator/faults?fault=kick (stall, half_open, garbage, resend, refuse, …)
    does harm, and GET /simulator/ledger tells what was sent.
    """
    from radar.errors import ConfigurationError
    from radar.processes import simulate as run
    from radar_simulator import InvalidOption, SimulatorOptions, parse_fault

    settings = _settings("exchange")
    try:
        faults = tuple(parse_fault(text) for text in fault or ())
    except ValueError as error:
        raise ConfigurationError(f"--fault: {error}") from error
    try:
        options = SimulatorOptions(
            host=host,
            port=port,
            seed=seed,
            symbols=symbols,
            trades_per_s=trades_per_second,
            depth_per_s=depth_per_second,
            twin_share=twin_share,
            skew=skew,
            recent_trades=recent_trades,
            resend_count=resend,
            connection_max_age_s=max_age,
            ledger_path=ledger,
            faults=faults,
        )
    except InvalidOption as error:
        raise ConfigurationError(str(error)) from error

    def ready(host: str, bound_port: int) -> None:
        typer.echo(f"EXCHANGE_WS_URL=ws://{host_port(host, bound_port)}/ws")
        typer.echo(f"EXCHANGE_REST_URL=http://{host_port(host, bound_port)}")

    run(options, settings, ready)


@app.command()
def produce(dataset: Annotated[RecordedName, typer.Argument(help="What to record.")]) -> None:
    """Record trades or depth from the exchange into Kafka (the role wallex-trades, -depth)."""
    from radar.processes import produce as run

    settings = _settings(f"produce-{dataset}")
    run(settings, _dataset(dataset))


@app.command()
def consume(dataset: Annotated[DatasetName, typer.Argument(help="What to store.")]) -> None:
    """Store one dataset from Kafka into ClickHouse; run as many as there are partitions."""
    from radar.processes import consume as run

    settings = _settings(f"consume-{dataset}")
    run(settings, _dataset(dataset))


@app.command()
def dashboard(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; else DASHBOARD_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port, 0: any free one; else DASHBOARD_PORT."),
    ] = None,
) -> None:
    """Serve web pages that show the markets and how the pipeline does.

    It only reads. Ctrl-C ends it.
    """
    from radar.processes import dashboard as run

    given = {"dashboard_host": host, "dashboard_port": port}
    settings = _settings(
        "dashboard", **{name: value for name, value in given.items() if value is not None}
    )
    run(settings, lambda url: typer.echo(f"dashboard: {_login(settings, url)}"))


@app.command()
def migrate(
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Give changed columns their type again as well."),
    ] = False,
) -> None:
    """Create or update the tables in ClickHouse; make again what is missing."""
    from radar.store.client import Store
    from radar.store.drift import differences
    from radar.store.migrate import migrate as run
    from radar.store.migrate import repair_schema

    settings = _settings("migrate")
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        repaired = repair_schema(store, types=repair)
        applied = run(store, settings.retention_days)
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
    sql: Annotated[str, typer.Argument(help="A query, e.g. 'SELECT * FROM trades LIMIT 10'.")],
    output_format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="Any format of ClickHouse: CSV, JSONEachRow, …; else a table in a terminal and"
            " TabSeparated elsewhere.",
        ),
    ] = "",
    *,
    write: Write = False,
) -> None:
    """Ask ClickHouse; when nothing runs, open the embedded data itself.

    Reads only, unless --write is given. docs/queries.md lists tables and views.
    """
    from radar.reading.query import TABLE_FORMAT, TABLE_SETTINGS, ask, may_run
    from radar.text import printable_chunks

    settings = _settings("query")
    if write and not may_run(sql.encode()):
        raise typer.Abort
    terminal = sys.stdout.isatty()
    if output_format or not terminal:
        answer = ask(settings, sql, output_format or "TabSeparated", write=write)
    else:
        answer = ask(settings, sql, TABLE_FORMAT, query_settings=TABLE_SETTINGS, write=write)
    for chunk in printable_chunks(answer) if terminal else answer:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@app.command()
def shell(*, write: Write = False) -> None:
    r"""Ask ClickHouse again and again: an SQL prompt with completion and history.

    Reads only, unless --write is given. A statement may take several lines and ends with a
    semicolon. As with `radar query`, the embedded data is opened for it where nothing runs. \q or
    Ctrl-D leaves.
    """
    from radar.reading.shell import run

    run(_settings("shell"), write=write)


@app.command()
def export(
    dataset: Annotated[RecordedName, typer.Argument(help="What to export.")],
    *,
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            help="A market; may be given repeatedly. Else all.", autocompletion=market_names
        ),
    ] = None,
    first: Annotated[datetime | None, _day_option("First day (UTC). Else the oldest.")] = None,
    last: Annotated[datetime | None, _day_option("Last day (UTC). Else today.")] = None,
    output_format: Annotated[
        ExportFormat, typer.Option("--format", "-f", help="Format of the files.")
    ] = ExportFormat.PARQUET,
    folder: Annotated[Path, typer.Option("--to", help="Folder of the files.")] = Path("export"),
    as_json: AsJson = False,
) -> None:
    """Write files, one a market and day: TO/KIND/SOURCE/SYMBOL/DAY.parquet.

    A file appears when it is complete. Called again it writes what is missing, days that were not
    over, and days of which something has come since.
    """
    from radar.reading.export import ExportRequest
    from radar.reading.export import export as run

    settings = _settings("export")
    wanted = ExportRequest(
        dataset.value,
        output_format.value,
        symbol or (),
        first and first.date(),
        last and last.date(),
    )
    with progress_bar() as show:
        exported = run(settings, wanted, folder, lambda done, total: show("days", done, total))
    if as_json:
        say_json(
            {"folder": str(folder), "written": exported.written, "unchanged": exported.skipped}
        )
        return
    kept = f"; {exported.skipped:,} were up to date" if exported.skipped else ""
    typer.echo(f"wrote {exported.written:,} file{_s(exported.written)} to {folder}{kept}")


@app.command()
def monitor() -> None:
    """Show the whole pipeline on one screen, live: where it is stuck, lag, markets, problems.

    Of the `radar up` that runs on this machine, else of the processes that MONITOR_PROCESSES
    names. It only looks on. Keys: ? explains the screen, q quits.
    """
    from radar.errors import ConfigurationError
    from radar.ui.terminal.run import has_terminal
    from radar.ui.terminal.run import monitor as run

    if not has_terminal():
        raise ConfigurationError("monitor needs a terminal: use radar status elsewhere")

    settings = load_options()
    run(settings, _addresses_of_running(settings))


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Tell what runs, how much is stored, how far the workers are behind and where it is stuck.

    The facts of `radar monitor`; takes two seconds. Exit code 1 if something is stuck or does not
    answer.
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
        str, typer.Argument(help="A process, HOST:PORT; else all of the `radar up` that runs.")
    ] = "",
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="A process on this machine.")
    ] = None,
    alive: Annotated[
        bool, typer.Option("--alive", help="Whoever lives is healthy, ready or not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask processes whether they live and are ready; exit code 0 only if all asked are.

    Without arguments it asks all of the `radar up` that runs, else the process at METRICS_PORT,
    else those of MONITOR_PROCESSES.
    """
    from radar.status.health_probe import ask, ask_all, parse

    if address:
        reports = [ask(*parse(address))]
    elif port is not None:
        reports = [ask("127.0.0.1", port)]
    else:
        # Only here: its library takes most of the time that this command takes.
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
def topics(
    *,
    grow: Annotated[
        bool,
        typer.Option("--grow", help="Give topics with fewer partitions KAFKA_NUM_PARTITIONS."),
    ] = False,
) -> None:
    """Create missing topics in Kafka and list them.

    --grow is safe while everything runs, and cannot be undone. A market may move to another
    partition, and its messages before and after are then stored by different workers, in any
    order. Rows do not depend on it: tables order them by their times, and a trade's identity does
    not hold the partition. Clients learn of new partitions within five minutes; nothing is missed.
    """
    from radar.checks.doctor import describe, topic_findings
    from radar.checks.findings import State
    from radar.datasets import DATASETS
    from radar.kafka import Cluster

    settings = _settings("topics")
    require(settings, kafka=True)
    cluster = Cluster(settings)
    names = [
        name for dataset in DATASETS.values() for name in (dataset.topic, dataset.dead_letter_topic)
    ]
    for name in cluster.create_topics(names):
        say(f"created {name}")
    for topic, before, after in cluster.grow_topics(names) if grow else ():
        say(f"grew {topic} from {before} to {after} partitions: its markets may move")
    wanted = settings.kafka_num_partitions
    for state in cluster.topics(names):
        kept = state.end - state.start
        say(f"{state.name}: {state.partitions} partitions, {kept:,} messages kept")
        if state.partitions > wanted:
            say(f"    KAFKA_NUM_PARTITIONS is {wanted}: Kafka never takes partitions away")
    for finding in topic_findings(settings, cluster):
        if finding.state is not State.OK:
            say(describe(finding))


@app.command()
def lag(*, as_json: AsJson = False) -> None:
    """Tell how many messages wait in each partition, and which worker owns it."""
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
        typer.Option(help="Ledger of a simulated exchange; else that of the `radar up` that runs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what Kafka, ClickHouse and the simulated exchange hold; is anything missing?

    Exit code 0 only if nothing is missing and nothing doubled. What Kafka or the tables keep no
    longer, because it is too old, is not missing; what waits to be stored neither.
    """
    from radar.checks.verify import check_ledger, describe, facts
    from radar.checks.verify import verify as run

    settings = _settings("verify")
    if ledger is not None:
        check_ledger(ledger)
    require(settings, kafka=True, clickhouse=True)
    ledger = ledger or _running_ledger(settings)
    with progress_bar() as show:
        report = run(settings, ledger, show)
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
        typer.Argument(help="Markets, e.g. USDTTMN; otherwise all.", autocompletion=market_names),
    ] = None,
    *,
    dataset: Annotated[
        RecordedName | None, typer.Option("--dataset", help="Only of this dataset.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", help="From this day on, UTC: 7d, or 2026-07-01.")
    ] = "7d",
    as_json: AsJson = False,
) -> None:
    """Tell how much of each day each market was really watched, and which gaps there were.

    `complete` also counts the gaps whose trades were fetched afterwards. The same numbers are in
    the views `coverage` and `symbol_gaps`. Without markets, text leaves out the single gaps.
    """
    from datetime import UTC, datetime, time

    from radar.checks import coverage as module
    from radar.cli.arguments import parse_since
    from radar.reading.recorded import check_markets, check_period
    from radar.store.client import Store

    settings = _settings("coverage")
    chosen = (
        parse_since(since, datetime.now(UTC)).astimezone(UTC).date(),
        symbols or (),
        dataset or "",
    )
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        check_period(store.rows, datetime.combine(chosen[0], time(), UTC))
        check_markets(store.rows, chosen[1])
        days = module.coverage(store, *chosen)
        gaps = module.symbol_gaps(store, *chosen) if symbols or as_json else []
    finally:
        store.close()
    if as_json:
        say_json(module.facts(days, gaps))
    else:
        say(*module.describe(days, gaps))


@app.command()
def disk(*, as_json: AsJson = False) -> None:
    """Show how much room each table and each market takes in ClickHouse.

    A market's size is its share of the table's, by rows and levels of books: an estimate.
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
    """Check what radar runs on: disk, ports, clock, Kafka, ClickHouse, exchange; name remedies.

    One line for each check; nothing is changed. Exit code 0 unless there is a problem; warnings do
    not count.
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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Only what was recorded from the simulation.")
    ] = False,
) -> None:
    """Delete the embedded data: topics, tables and logs. Nothing outside RADAR_DATA_DIR."""
    from radar.local.pipeline import check_unused, data_directory, delete_data

    settings = _settings("reset")
    directory = data_directory(settings, simulated=simulated)
    check_unused(directory)
    if not yes:
        confirm(f"Delete everything in {directory}?")
    delete_data(directory)
    typer.echo(f"deleted {directory}")


@app.command()
def config(
    *,
    env_example: Annotated[
        bool, typer.Option("--env-example", help="Print every option with its default.")
    ] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print every option as docs/configuration.md.")
    ] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only options that are set somewhere.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the effective options and where each comes from; secrets are masked."""
    from radar import settings as module

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
    """What a secret opens."""

    CLICKHOUSE = "clickhouse"
    DASHBOARD = "dashboard"


@app.command()
def password(
    door: Annotated[Door, typer.Argument(help="What the secret opens.")] = Door.CLICKHOUSE,
) -> None:
    """Show the password of the embedded ClickHouse, or the token of the dashboard.

    For other clients, e.g. curl -u default:$(radar password) http://127.0.0.1:8123/. The commands
    of radar find both themselves.
    """
    from radar.errors import ConfigurationError
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


def _login(settings: "Settings", url: str) -> str:
    """Return the address of the dashboard, with the token only where a person reads it."""
    from urllib.parse import urlsplit

    from radar.ui.web.address import login_url

    if not sys.stdout.isatty():
        return url
    parts = urlsplit(url)
    return login_url(settings, parts.hostname or "", parts.port or 0)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _running_ledger(settings: "Settings") -> Path | None:
    from radar.status.state import running_pipeline

    running = running_pipeline(settings.radar_data_dir)
    if running is None or not running["simulated"]:
        return None
    from radar.local.pipeline import LEDGER, data_directory

    return data_directory(settings, simulated=True) / LEDGER


def _addresses(pipeline: "Pipeline") -> list[tuple[str, str]]:
    from radar.addresses import url

    broker, database, dashboard = pipeline.broker, pipeline.database, pipeline.dashboard
    foreign = {True: "", False: " (not ours)"}
    where = url(dashboard.host, dashboard.port) if dashboard else ""
    return [
        *([("Dashboard", _login(pipeline.settings, where))] if dashboard else []),
        ("Kafka", f"{host_port(broker.host, broker.port)}{foreign[broker.embedded]}"),
        ("ClickHouse", f"{url(database.host, database.port)}{foreign[database.embedded]}"),
        *_examples(pipeline.settings, embedded=database.embedded),
        ("Logs", str(pipeline.data_dir / "logs")),
    ]


def _addresses_of_running(settings: "Settings") -> list[tuple[str, str]]:
    """Return the addresses of the `radar up` that runs on this machine; none without one."""
    from radar.status.deployment import find

    found = find(settings)
    if found.started_at_s is None:
        return []
    return [
        *([("Dashboard", _login(settings, found.dashboard))] if found.dashboard else []),
        ("Kafka", found.kafka),
        ("ClickHouse", f"http://{found.clickhouse}"),
        *_examples(settings, embedded=True),
        ("Logs", str(found.log_dir)),
    ]


def _examples(settings: "Settings", *, embedded: bool) -> list[tuple[str, str]]:
    """Return how to ask the database, from a terminal and with another client."""
    sql = f'{_command()} query "SELECT * FROM trades ORDER BY event_time DESC LIMIT 10"'
    where = f"http://{host_port(settings.clickhouse_host, settings.clickhouse_port)}/"
    curl = f'curl -u "{settings.clickhouse_user}:$({_command()} password)" {where}'
    return [("SQL", sql), *([("Password", curl)] if embedded else [])]


def _command() -> str:
    """Return how this command was called, to show it in examples."""
    called = Path(sys.argv[0])
    return "radar" if called.name != "radar" or shutil.which("radar") else str(called)


def _summary(summary: "RunSummary") -> str:
    from radar.local.stopping import describe

    lines = [f"ran for {summary.duration_s:.0f} s"]
    if (trades := summary.trades) is not None:
        lines.append(
            f"trades: sent by the exchange {trades.sent:,}, stored {trades.stored:,}"
            f" ({trades.fetched:,} of them only over REST), lost {trades.lost:,},"
            f" duplicates {trades.unexpected:,}"
        )
    if (depth := summary.depth) is not None:
        lines.append(
            f"depth: {depth.snapshots:,} snapshots of {depth.books_stored:,} of {depth.books:,}"
            f" books (a market's side), at most {depth.longest_interval_s:.1f} s apart"
        )
    waiting, letters = (
        "unknown" if count is None else f"{count:,}"
        for count in (summary.left.messages, summary.dead_letters)
    )
    lines.append(f"waiting in Kafka {waiting}, dead letters {letters}")
    if waiting != "0":
        lines.append(
            f"{describe(summary.left)}; what is in Kafka stays there, the next start stores it"
        )
    lines += summary.notes
    if summary.invalid_frames:
        lines.append(
            f"invalid frames of the exchange {summary.invalid_frames:,}, not stored"
            " (the producers' logs show the first of each connection)"
        )
    if summary.restarts:
        restarts = ", ".join(f"{name} {count}×" for name, count in summary.restarts.items())
        lines.append(f"restarted: {restarts}")
    lines.append(
        "everything that was produced is stored"
        if summary.complete
        else "NOT everything that was produced is stored"
    )
    return "\n".join(lines)
