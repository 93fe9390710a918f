"""Draw the pipeline as a flow, and write in one line whether it flows. Pure."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from radar.datasets import BOOK_UPDATES, EXCHANGE_CANDLES, FRAMES, RECORDED
from radar.status import judgement
from radar.status.model import Flow, Overview, TableState
from radar.ui.terminal import figures
from radar.ui.terminal.cells import cell
from radar.ui.terminal.marks import StatusMark, of_stage, of_verdict

WIDE = 110  # from this many columns on, words are written out
# Each stage with the columns that it needs; the other columns are divided.
STAGES = {"exchange": 11, "connections": 13, "partitions": 12, "workers": 11, "tables": 11}
DATASET_WIDTH = 8
# Names of datasets that are only shown if they are used.
SHORT = {BOOK_UPDATES.name: "updates", EXCHANGE_CANDLES.name: "candles", FRAMES.name: "frames"}


_WORDS = {"problem": "STUCK AT", "unknown": "UNKNOWN AT", "warning": "LOOK AT", "passes": "LOOK AT"}


def title(overview: Overview | None, name: str, width: int, note: str, dashboard: str = "") -> Text:
    """Write the top line: the exchange, the uptime, the dashboard and the time of the facts."""
    left = Text.assemble((" radar ", "reverse bold"), cell(f" {name}"))
    if overview is None:
        return left
    if overview.uptime_s is not None:
        left.append(f"  up {figures.uptime(overview.uptime_s)}", style="dim")
    if dashboard:
        left.append_text(cell(f"  {dashboard}"))
    if width >= WIDE:
        left.append_text(cell(f"  Kafka {overview.kafka}  ClickHouse {overview.clickhouse}", "dim"))
    right = Text.assemble((note, "bold reverse"), f" {figures.clock(overview.at_s)} UTC ")
    left.truncate(max(0, width - right.cell_len - 1), overflow="ellipsis")
    return Text.assemble(left, " " * max(1, width - left.cell_len - right.cell_len), right)


def verdict(
    overview: Overview | None, *, stopping: str = "", now_s: float | None = None
) -> tuple[StatusMark, Text]:
    """Write whether the pipeline flows, else where it is stuck and why.

    Args:
        overview: The facts; None before there are some.
        stopping: The step for which a stop waits; empty while the pipeline runs.
        now_s: Unix time, by which facts may be too old to be evidence.
    """
    if stopping:
        words = cell(f"▲ STOPPING: {stopping}. Ctrl-C again ends at once", "bold")
        return StatusMark.PASSES, words
    if overview is None:
        return StatusMark.IDLE, Text("○ waiting for answers …", style="dim")
    said = judgement.verdict(overview, now_s)
    mark = of_verdict(said)
    if said == "unknown" and overview.verdict != "unknown" and now_s is not None:
        old = f"these facts are {figures.age(now_s - overview.at_s)} old"
        return mark, Text.assemble((f"{mark.sign} UNKNOWN: ", "bold"), old)
    if overview.bottleneck is not None:
        more = len(overview.obstacles) - 1
        where = overview.bottleneck.stage.upper()
        word = _WORDS[overview.bottleneck.severity]
        text = Text.assemble(
            (f"{mark.sign} {word} {where}: ", "bold"), cell(overview.bottleneck.text)
        )
        if more:
            text.append(f" (and {more} more)")
        return mark, text
    if said == "idle":
        return mark, Text(
            "○ Kafka and ClickHouse answer; no process is known:"
            " name them in MONITOR_PROCESSES, or start `radar up`"
        )
    latencies = [flow.latency_s for flow in overview.flows if flow.latency_s is not None]
    text = Text.assemble((f"{mark.sign} EVERYTHING FLOWS", "bold"))
    if latencies:
        text.append(f": records are stored within {figures.age(max(latencies))}")
    return mark, text


def flow(overview: Overview, width: int) -> Table:
    """Draw the way of the data: a column for each stage, a row for each dataset."""
    wide = width >= WIDE
    arrow = Text(" ─▶ " if wide else " ▸ ", style="dim")
    table = Table.grid()
    table.add_column(no_wrap=True, width=DATASET_WIDTH)
    arrows = arrow.cell_len * (len(STAGES) - 1)
    spare = max(0, width - DATASET_WIDTH - sum(STAGES.values()) - arrows) // len(STAGES)
    for number, needed in enumerate(STAGES.values()):
        if number:
            table.add_column(no_wrap=True, width=arrow.cell_len)
        table.add_column(no_wrap=True, width=needed + spare, overflow="ellipsis")

    def add(first: Text, cells: Sequence[Text], between: Text) -> None:
        spaced = [each for cell in cells for each in (between, cell)]
        table.add_row(first, *spaced[1:])

    nothing = Text()
    add(nothing, [_heading(overview, stage, wide=wide) for stage in STAGES], arrow)
    add(nothing, [cell(text, "dim") for text in _subtitles(overview, wide=wide)], nothing)
    tables = {each.dataset: each for each in overview.tables}
    for each in overview.flows:
        first, second = _cells(overview, each, tables.get(each.dataset), wide=wide)
        if each.dataset in RECORDED:
            add(Text(each.dataset, style="bold"), first, nothing)
            add(nothing, second, nothing)
        elif each.is_used or each.dataset not in SHORT:
            cells = [nothing, nothing, second[2], first[3], first[4]]
            add(Text(SHORT.get(each.dataset, each.dataset), style="dim"), cells, nothing)
    return table


def _heading(overview: Overview, stage: str, *, wide: bool) -> Text:
    mark = of_stage(overview, stage)
    here = overview.bottleneck is not None and overview.bottleneck.stage == stage
    name = f" {stage.upper()} " if here and wide else stage.upper()
    style = f"{mark.style} reverse" if here else "bold"
    return Text.assemble((f"{mark.sign} ", mark.style), (name, style))


def _subtitles(overview: Overview, *, wide: bool) -> list[str]:
    # A process that stores several datasets counts once.
    workers = {each.name: each.ready for each in overview.workers}
    ready = sum(workers.values())
    parts = len(overview.partitions)
    tables_age_s = overview.at_s - (overview.tables_at_s or overview.at_s)
    simulated = f"{overview.exchange}, simulated" if wide else "simulated"
    return [
        simulated if overview.simulated else overview.exchange,
        f"{_open(overview)} open",
        f"Kafka, {parts}" if wide else f"{parts} in Kafka",
        f"{ready}/{len(workers)} ready" if workers else "none known",
        "ClickHouse"
        + (f", {figures.age(tables_age_s)} old" if wide and overview.tables_old else ""),
    ]


def _open(overview: Overview) -> str:
    """Return the number of open connections, as far as producers have answered."""
    heard = [each.connections for each in overview.flows if each.heard]
    return f"{sum(heard)}" if heard or not overview.producers else figures.NONE


def _cells(
    overview: Overview, each: Flow, table: TableState | None, *, wide: bool
) -> tuple[list[Text], list[Text]]:
    def cell(stage: str, text: str, alarm: bool = False) -> Text:
        mark = of_stage(overview, stage, each.dataset)
        style = "" if mark is StatusMark.FLOWS else mark.style
        return Text(text, style=style or ("yellow" if alarm else ""))

    producers = [producer for producer in overview.producers if producer.dataset == each.dataset]
    reconnects = sum(producer.reconnects for producer in producers)
    known = bool(producers) and each.heard
    rows = figures.NONE if table is None else (figures.count if wide else figures.brief)(table.rows)
    waiting = figures.count(each.lag)
    arrow = figures.trend(each.trend) if each.lag else ""
    bad = each.invalid_frames
    letters = each.open_letters or 0
    newest = None
    if table is not None and table.newest_at_s is not None:
        newest = max(0.0, (overview.tables_at_s or overview.at_s) - table.newest_at_s)
    rated = overview.rates_over_s > 0
    ago = " ago"
    frames = figures.rate(each.frames_per_s if known and rated else None)
    published = figures.rate(each.published_per_s if rated else None)
    stored = figures.rate(each.stored_per_s if rated else None)
    connections = cell("connections", f"{each.connections if known else figures.NONE} open")
    if known and not each.connections:
        connections.stylize(StatusMark.STUCK.style)
    first = [
        cell("exchange", f"{frames} frames/s" if wide else f"{frames}/s"),
        connections,
        cell("partitions", f"{published}/s {'published' if wide else 'in'}"),
        cell("workers", f"{stored}/s{' stored' if wide else ''}"),
        cell("tables", f"{rows} rows"),
    ]
    second = [
        cell(
            "exchange",
            f"last {figures.age(each.last_frame_age_s)}{ago}"
            if wide
            else f"{figures.age(each.last_frame_age_s)}{ago}",
            each.silent,
        ),
        cell(
            "connections",
            f"{reconnects} lost, {bad} bad" if wide else f"{reconnects} lost {bad} bad",
            bad > 0,
        ),
        cell(
            "partitions",
            f"{waiting} waiting {arrow}" if wide else f"{waiting} wait {arrow}",
            each.backlog,
        ),
        cell(
            "workers",
            (f"{figures.age(each.latency_s)} latency" if wide else figures.age(each.latency_s))
            + (
                f", {letters} dead letters"
                if letters and wide
                else f" {letters} dead"
                if letters
                else ""
            ),
            letters > 0 or each.slow,
        ),
        cell(
            "tables",
            f"newest {figures.age(newest)}{ago}" if wide else f"{figures.age(newest)}{ago}",
        ),
    ]
    return first, second
