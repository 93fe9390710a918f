"""The texts of a running pipeline on a terminal: its addresses, and its summary at the end."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from radar.store.queries.reading import EXAMPLE
from radar.text import host_port

if TYPE_CHECKING:
    from radar.local.pipeline import Pipeline, RunSummary
    from radar.settings import Settings


def dashboard_address(settings: "Settings", url: str) -> str:
    """Return the address of the dashboard, with the token only on a terminal."""
    from urllib.parse import urlsplit

    from radar.ui.web.address import login_url

    if not sys.stdout.isatty():
        return url
    parts = urlsplit(url)
    return login_url(settings, parts.hostname or "", parts.port or 0)


def addresses(pipeline: "Pipeline") -> list[tuple[str, str]]:
    """Return the addresses of a pipeline of this process, by name."""
    from radar.addresses import url

    broker, database, dashboard = pipeline.broker, pipeline.database, pipeline.dashboard
    foreign = {True: "", False: " (not ours)"}
    where = url(dashboard.host, dashboard.port) if dashboard else ""
    return [
        *([("Dashboard", dashboard_address(pipeline.settings, where))] if dashboard else []),
        ("Kafka", f"{host_port(broker.host, broker.port)}{foreign[broker.embedded]}"),
        ("ClickHouse", f"{url(database.host, database.port)}{foreign[database.embedded]}"),
        *_examples(pipeline.settings, embedded=database.embedded),
        ("Logs", str(pipeline.data_dir / "logs")),
    ]


def addresses_of_running(settings: "Settings") -> list[tuple[str, str]]:
    """Return the addresses of the `radar up` that runs on this machine; none without one."""
    from radar.status.deployment import find

    found = find(settings)
    if found.started_at_s is None:
        return []
    return [
        *([("Dashboard", dashboard_address(settings, found.dashboard))] if found.dashboard else []),
        ("Kafka", found.kafka),
        ("ClickHouse", f"http://{found.clickhouse}"),
        *_examples(settings, embedded=True),
        ("Logs", str(found.log_dir)),
    ]


def _examples(settings: "Settings", *, embedded: bool) -> list[tuple[str, str]]:
    """Return example queries, for a terminal and for another client."""
    sql = f'{_command()} query "{EXAMPLE}"'
    where = f"http://{host_port(settings.clickhouse_host, settings.clickhouse_port)}/"
    curl = f'curl -u "{settings.clickhouse_user}:$({_command()} password)" {where}'
    return [("SQL", sql), *([("Password", curl)] if embedded else [])]


def _command() -> str:
    """Return the path by which this command was called, to show it in examples."""
    called = Path(sys.argv[0])
    return "radar" if called.name != "radar" or shutil.which("radar") else str(called)


def summary_text(summary: "RunSummary") -> str:
    """Return the lines at the end of `radar up`."""
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
            f"{describe(summary.left)}; they stay in Kafka, and the next start stores them"
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
