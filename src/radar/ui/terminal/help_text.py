"""The help of the full-screen view."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_STAGES = (
    ("exchange", "frames a second that it sends, and when the last one came"),
    ("connections", "open WebSockets, how many were lost, frames that are bad"),
    ("partitions", "Kafka: published a second, and how many messages wait"),
    ("workers", "stored a second; latency: from the frame to the row"),
    ("tables", "ClickHouse: rows, each once, and how old the newest is"),
)
_PLACES = (
    ("a last price?", "section 4, markets; / and its name finds one"),
    ("a lag?", "the flow, below PARTITIONS; by partition in section 1"),
    ("a gap?", "section 5: when no connection brought some markets"),
)
_KEYS = (
    ("1 … 8, Tab, ← →", "choose a section; ↑ ↓ PgUp PgDn scroll in it"),
    ("s", "sort it by the next column (▾)"),
    ("/", "only rows that hold all words, e.g. usdt; Esc: all again"),
    ("z", "one section in full height, or all of them"),
    ("p", "pause the screen; the pipeline goes on"),
)


def text(*, owns: bool) -> RenderableType:
    """Return the help; `owns` means that Ctrl-C stops the pipeline itself."""
    ends = (
        ("Ctrl-C", "stop the pipeline when everything is stored; again: at once")
        if owns
        else ("q, Ctrl-C", "quit; the pipeline goes on")
    )
    return Group(
        Text("Data flows from left to right:", style="bold"),
        _table(_STAGES),
        Text.assemble(
            *(("● ", "green"), "flows   ", ("▲ ", "yellow"), "passes by itself   "),
            *(("✖ ", "bold red"), "stuck: see the top line   ", ("○ ", "dim"), "not known"),
        ),
        Text("A small, steady lag is normal: a batch is being filled.  ↗ grows  ↘ shrinks"),
        Text("Where is …", style="bold"),
        _table(_PLACES),
        Text("Keys", style="bold"),
        _table((*_KEYS, ends)),
    )


def _table(rows: tuple[tuple[str, str], ...]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
