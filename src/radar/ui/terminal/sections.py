"""The sections below the flow: each a table of an overview's facts. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

from radar.status.judgement import is_known, is_skewed
from radar.status.model import Overview, ProcessState, Subject, WorkerState
from radar.ui.terminal import figures
from radar.ui.terminal.cells import cell
from radar.ui.terminal.marks import StatusMark, of_process

SPARK_WIDTH = 12
Series = Mapping[tuple[str, int], Sequence[float]]  # lags seen so far, by dataset and partition


@dataclass(frozen=True)
class TableColumn:
    """A column; those with the highest rank are left out first if the screen is too narrow."""

    title: str
    right: bool = False
    rank: int = 0


@dataclass(frozen=True)
class Row:
    """A row: the shown cells and the sort keys, column by column."""

    cells: Sequence[Text]
    keys: Sequence[Any]

    @classmethod
    def of(cls, cells: Sequence[str | Text], keys: Sequence[Any]) -> "Row":
        """Return a row, also of foreign text: the only way to make one."""
        return cls(tuple(map(cell, cells)), keys)

    def holds(self, words: str) -> bool:
        """Return whether the row holds every word of a filter."""
        text = " ".join(str(cell) for cell in self.cells).lower()
        return all(word in text for word in words.lower().split())


@dataclass(frozen=True)
class Section:
    """A table with a name, its key, and its text without rows."""

    name: str
    title: str
    columns: Sequence[TableColumn]
    rows: Callable[[Overview, Series], list[Row]]
    empty: str
    order: int = -1  # the first sort column; -1: as the rows come
    falling: frozenset[int] = field(default_factory=frozenset)  # columns with the largest first
    evidence: Subject | None = None  # the subject whose answer proves that there are no rows

    def nothing(self, overview: Overview) -> str:
        """Return the text without rows: that there are none, or that it is not known."""
        if self.evidence is None or is_known(overview, self.evidence):
            return self.empty
        return "not known: there is no fresh answer"


def fitting(section: Section, rows: Sequence[Row], width: int, order: int = -1) -> list[int]:
    """Return the columns that fit."""
    return _fitting(section, rows, width, order)[0]


def _fitting(
    section: Section, rows: Sequence[Row], width: int, order: int
) -> tuple[list[int], list[int]]:
    shown = list(range(len(section.columns)))
    widths = [
        max([len(column.title) + 2 * (n == order), *(row.cells[n].cell_len for row in rows)])
        for n, column in enumerate(section.columns)
    ]
    last = shown[-1]
    widths[last] = min(widths[last], 16)  # its text is cut
    for rank in range(9, 0, -1):
        for n in [n for n in shown if section.columns[n].rank == rank]:
            if sum(widths[each] + 2 for each in shown) > width:
                shown.remove(n)
    return shown, widths


def draw(section: Section, rows: Sequence[Row], width: int, order: int) -> Table:
    """Draw rows at the given width, sorted by a column; -1 keeps their order."""
    shown, widths = _fitting(section, rows, width, order)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", expand=True)
    for n in shown:
        column = section.columns[n]
        table.add_column(
            f"{column.title}{' ▾' if n == order else ''}",
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if n == shown[-1] else widths[n],
            ratio=1 if n == shown[-1] and not column.right else None,
        )
    for row in arranged(section, rows, order):
        table.add_row(*(row.cells[n] for n in shown))
    return table


def arranged(section: Section, rows: Sequence[Row], order: int) -> list[Row]:
    """Sort rows by a column; unknown values come first, because they need attention."""
    if order < 0:
        return list(rows)
    known = [row for row in rows if row.keys[order] is not None]
    unknown = [row for row in rows if row.keys[order] is None]
    return unknown + sorted(
        known, key=lambda row: row.keys[order], reverse=order in section.falling
    )


def _partitions(overview: Overview, series: Series) -> list[Row]:
    stuck = {
        each.subject for each in overview.obstacles if each.stage == "workers" and not each.passes
    }
    found = []
    for each in overview.partitions:
        bad = each.owner in stuck and each.lag > 0
        bad = bad or (each.owner is None and each.owner_known and each.lag > 0)
        style = "bold red" if bad else "" if each.lag else "dim"
        owner = each.owner or ("none" if each.owner_known else "not known yet")
        arrow = figures.trend(each.trend)
        change = "" if each.lag_per_s is None else f"{each.lag_per_s:+,.1f}/s {arrow}"
        lags = series.get((each.dataset, each.partition), ())
        cells = (
            Text(f"{each.dataset} {each.partition}", style=style),
            Text(f"{each.lag:,}", style=style),
            Text(figures.spark(lags, SPARK_WIDTH), style=style or "cyan"),
            change,
            figures.rate(each.published_per_s),
            figures.rate(each.stored_per_s),
            f"{each.end:,}",
            Text(owner, style=style if bad or each.owner is None else ""),
        )
        keys = (
            *((each.dataset, each.partition), each.lag, each.lag, each.lag_per_s),
            *(each.published_per_s, each.stored_per_s, each.end, owner),
        )
        found.append(Row.of(cells, keys))
    return found


def _connections(overview: Overview, _: Series) -> list[Row]:
    found = []
    for producer in overview.producers:
        for each in producer.connections:
            silent = each.last_frame_age_s
            last = Text(f"{figures.age(silent)} ago", style="yellow" if each.stale else "")
            cells = (
                f"{producer.dataset} #{each.name}",
                f"{each.markets}",
                figures.age(each.age_s),
                last,
                f"{each.frames:,}",
                producer.name,
            )
            keys = (
                *((producer.dataset, each.name.zfill(9)), each.markets, each.age_s, silent),
                *(each.frames, producer.name),
            )
            found.append(Row.of(cells, keys))
        if not producer.connections:
            why = producer.reasons[0] if producer.reasons else "no connection"
            cells = (producer.dataset, "0", "–", Text("–", style="bold red"), "–", why)
            found.append(Row.of(cells, ((producer.dataset, ""), 0, 0.0, 1e9, 0, why)))
    return found


def _processes(overview: Overview, _: Series) -> list[Row]:
    workers: dict[str, list[WorkerState]] = {}
    for worker in overview.workers:
        workers.setdefault(worker.name, []).append(worker)
    producers = {each.name: each for each in overview.producers}
    found = []
    for each in overview.processes:
        memory = rate = latency = None
        what = ", ".join((*each.reasons, *each.warnings))
        if found_workers := workers.get(each.name):
            memory, rate = found_workers[0].memory_bytes, sum(w.rows_per_s for w in found_workers)
            latency = max((w.latency_s for w in found_workers if w.latency_s), default=None)
            what = what or _work(found_workers)
        elif (producer := producers.get(each.name)) is not None:
            memory, rate = producer.memory_bytes, producer.published_per_s
            what = what or _feed(producer.queue, producer.clock_skew_s)
        found.append(_process(each, rate, latency, memory, what))
    return found


def _work(workers: list[WorkerState]) -> str:
    """Describe one process, which may store several datasets."""
    retries = sum(each.insert_retries for each in workers)
    dead_letters = sum(each.dead_letters for each in workers)
    counts = ((retries, "retries"), (dead_letters, "dead letters"))
    owned = [_owned(each, named=len(workers) > 1) for each in workers]
    return "; ".join([*owned, *(f"{count} {name}" for count, name in counts if count)])


def _owned(worker: WorkerState, *, named: bool) -> str:
    numbers = ", ".join(str(number) for number in worker.partitions) or "none"
    noun = "partition" if len(worker.partitions) == 1 else "partitions"
    return f"{worker.dataset} {numbers}" if named else f"{noun} {numbers}"


def _feed(queue: int, skew_s: float | None) -> str:
    shown = [f"{queue:,} queued"] if queue else []
    if skew_s is not None and is_skewed(skew_s):
        shown.append(f"clock {skew_s:+.1f} s")
    return ", ".join(shown)


def _process(
    each: ProcessState, rate: float | None, latency: float | None, memory: int | None, what: str
) -> Row:
    mark = of_process(each)
    style = "" if mark is StatusMark.FLOWS else mark.style
    cells = (
        Text.assemble((f"{mark.sign} ", mark.style), (each.name, style)),
        "" if rate is None else f"{figures.rate(rate)}/s",
        "" if latency is None else figures.age(latency),
        "" if memory is None else figures.size(memory),
        Text(str(each.restarts), style="yellow" if each.restarts else "dim"),
        str(each.pid or each.address),
        Text(what, style=style),
    )
    keys = (each.name, rate or 0.0, latency or 0.0, memory or 0, each.restarts, each.pid or 0, what)
    return Row.of(cells, keys)


def _markets(overview: Overview, _: Series) -> list[Row]:
    found = []
    for each in overview.markets:
        trade, book = (
            None if at_s is None else max(0.0, (overview.markets_at_s or overview.at_s) - at_s)
            for at_s in (each.trade_at_s, each.book_at_s)
        )
        latencies = [d for d in (each.trade_latency_s, each.book_latency_s) if d is not None]
        latency = max(latencies, default=None)
        cells = (
            Text(each.symbol, style="bold"),
            figures.price(each.last_price),
            figures.price(each.best_bid),
            figures.price(each.best_ask),
            figures.age(trade),
            figures.age(book),
            figures.age(latency),
        )
        number = float(each.last_price) if each.last_price else None
        keys = (each.symbol, number, each.best_bid, each.best_ask, trade, book, latency or 0.0)
        found.append(Row.of(cells, keys))
    return found


def _gaps(overview: Overview, _: Series) -> list[Row]:
    found = []
    for each in overview.gaps:
        ago, lasted = overview.at_s - each.ended_at_s, each.ended_at_s - each.began_at_s
        some = ", ".join(each.symbols[:3]) + (", …" if len(each.symbols) > 3 else "")
        repaired = Text("fetched", style="green") if each.repaired else Text("open", style="yellow")
        cells = (
            f"{figures.age(ago)} ago",
            figures.age(lasted),
            each.dataset,
            each.cause,
            repaired if each.dataset == "trades" else "–",
            f"{len(each.symbols)}: {some}",
        )
        keys = (ago, lasted, each.dataset, each.cause, each.repaired, len(each.symbols))
        found.append(Row.of(cells, keys))
    return found


def _letters(overview: Overview, _: Series) -> list[Row]:
    return [
        Row.of(
            (
                f"{figures.age(overview.at_s - each.at_s)} ago",
                each.dataset,
                Text(each.reason, style="dim" if each.replayed else "red"),
                "replayed" if each.replayed else "",
                f"{each.topic}:{each.partition}:{each.offset}",
                each.detail,
            ),
            (-each.at_s, each.dataset, each.reason, each.replayed, each.offset, each.detail),
        )
        for each in overview.letters
    ]


def _problems(overview: Overview, _: Series) -> list[Row]:
    return [
        Row.of(
            (figures.clock(each.at_s), Text(each.process, style="yellow"), each.text),
            (-each.at_s, each.process, each.text),
        )
        for each in reversed(overview.problems)
    ]


SECTIONS = (
    Section(
        "partitions",
        "Lag by partition",
        (
            *(TableColumn("partition"), TableColumn("waiting", right=True)),
            *(TableColumn("trend", rank=2), TableColumn("change", right=True, rank=3)),
            *(TableColumn("in/s", right=True, rank=5), TableColumn("stored/s", right=True, rank=5)),
            *(TableColumn("end", right=True, rank=8), TableColumn("worker")),
        ),
        _partitions,
        "Kafka has not answered yet",
        falling=frozenset((1, 2, 3, 4, 5, 6)),
    ),
    Section(
        "processes",
        "Processes",
        (
            *(TableColumn("process"), TableColumn("rate", right=True, rank=2)),
            *(
                TableColumn("latency", right=True, rank=3),
                TableColumn("memory", right=True, rank=5),
            ),
            *(TableColumn("restarts", right=True, rank=4), TableColumn("pid", right=True, rank=6)),
            TableColumn("what"),
        ),
        _processes,
        "none known: set MONITOR_PROCESSES, or start `radar up`",
        falling=frozenset((1, 2, 3, 4)),
    ),
    Section(
        "connections",
        "Connections to the exchange",
        (
            *(TableColumn("connection"), TableColumn("markets", right=True, rank=3)),
            *(TableColumn("age", right=True), TableColumn("last frame", right=True)),
            *(TableColumn("frames", right=True, rank=4), TableColumn("producer", rank=2)),
        ),
        _connections,
        "no producer has reported any",
        falling=frozenset((1, 2, 3, 4)),
    ),
    Section(
        "markets",
        "Markets, the stalest first",
        (
            *(TableColumn("market"), TableColumn("last price", right=True)),
            *(TableColumn("bid", right=True, rank=5), TableColumn("ask", right=True, rank=5)),
            *(TableColumn("trade ago", right=True), TableColumn("book ago", right=True)),
            TableColumn("latency", right=True, rank=4),
        ),
        _markets,
        "ClickHouse has not answered yet",
        order=4,
        falling=frozenset((1, 2, 3, 4, 5, 6)),
    ),
    Section(
        "gaps",
        "Gaps of the last day",
        (
            *(
                TableColumn("ended"),
                TableColumn("lasted", right=True),
                TableColumn("dataset"),
                TableColumn("cause"),
            ),
            *(TableColumn("trades", rank=3), TableColumn("markets")),
        ),
        _gaps,
        "none: no record was missed",
        evidence="markets",
        falling=frozenset((1, 5)),
    ),
    Section(
        "letters",
        "Dead letters",
        (
            *(
                TableColumn("sent"),
                TableColumn("dataset", rank=2),
                TableColumn("reason"),
                TableColumn("", rank=5),
            ),
            *(TableColumn("place", rank=4), TableColumn("detail")),
        ),
        _letters,
        "none: every message became a row",
        evidence="letters",
    ),
    Section(
        "problems",
        "Problems",
        (TableColumn("at"), TableColumn("process"), TableColumn("what")),
        _problems,
        "none",
    ),
)
