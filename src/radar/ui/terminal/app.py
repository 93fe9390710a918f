"""The full-screen view of a running pipeline; every shown fact comes from an overview."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from radar.status.judgement import OVERVIEW_HOLDS_S
from radar.status.model import Overview
from radar.ui.terminal import flow, help_text, sections
from radar.ui.terminal.cells import cell
from radar.ui.terminal.marks import StatusMark
from radar.ui.terminal.sections import SECTIONS, Row, Section

LOOK_EVERY_S = 0.2
WIDE_COLUMNS, WIDE_ROWS = 120, 38  # from this size on, all sections fit side by side
SEEN_LAGS = 120  # of each partition: observations that the trend shows
ADDRESSES = "addresses"
_SHORT = {"partitions": "lag", "connections": "connects", ADDRESSES: "where", "letters": "dead"}
_LONG = {"letters": "dead letters"}

Newest = Callable[[], Overview | None]
Addresses = Sequence[tuple[str, str]]


class Pane(VerticalScroll):
    """One section, which may be scrolled."""

    can_focus = True

    def __init__(self, section: Section | None, number: int) -> None:
        name = section.name if section else ADDRESSES
        super().__init__(Static(id=f"{name}-text"), id=name, classes="pane")
        self.section = section
        self.number = number
        self.order = section.order if section else -1
        self._rows: list[Row] = []
        self._text = section.empty if section else ""
        self._words = ""

    def show(self, rows: list[Row], words: str, nothing: str) -> None:
        """Show the rows that hold all the words; `nothing` is the text without rows."""
        self._text = nothing
        self._rows, self._words = [row for row in rows if row.holds(words)], words
        self.redraw()

    def redraw(self) -> None:
        """Draw again at the present width."""
        if self.section is None:
            return
        title = f"{self.number} {self.section.title}"
        if self._words:
            title += f" · filter: {self._words}"
        if self.order != self.section.order and self.order >= 0:
            title += f" · by {self.section.columns[self.order].title}"
        self.border_title = Content(cell(title).plain)  # a string would be markup
        static = self.query_one(Static)
        if not self._rows:
            static.update(Text("no row matches the filter" if self._words else self._text, "dim"))
            return
        width = max(20, self.scrollable_content_region.width - 1)
        static.update(sections.draw(self.section, self._rows, width, self.order))

    def sort_by_next(self) -> None:
        """Sort by the next shown column."""
        if self.section is None or not self._rows:
            return
        fitting = sections.fitting(
            self.section, self._rows, max(20, self.scrollable_content_region.width - 1), self.order
        )
        named = [n for n in fitting if self.section.columns[n].title]
        orders = [-1, *named]
        at = orders.index(self.order) if self.order in orders else 0
        self.order = orders[(at + 1) % len(orders)]
        self.redraw()


class HelpScreen(ModalScreen[None]):
    """Explains the screen and its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter,space", "app.pop_screen", show=False)
    ]

    def __init__(self, *, owns: bool) -> None:
        super().__init__()
        self._owns = owns

    def compose(self) -> ComposeResult:
        """Show the text in a box of its own."""
        with VerticalScroll(id="help") as box:
            box.border_title = "radar monitor: help (Esc closes)"
            yield Static(help_text.text(owns=self._owns))


class Monitor(App[None]):
    """Shows the observations until the user quits."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; overflow: hidden; }
    #title { height: 1; }
    #verdict { height: auto; max-height: 3; padding: 0 1; }
    #verdict.-flows { color: ansi_green; }
    #verdict.-passes { color: ansi_yellow; }
    #verdict.-unknown { color: ansi_yellow; text-style: bold; }
    #verdict.-stuck { background: ansi_red; color: ansi_bright_white; text-style: bold; }
    #flow { height: auto; padding: 0 1; margin: 0 0 0 0; }
    #sections { height: 1fr; }
    .pane { border: round ansi_bright_black; padding: 0 1; display: none; height: 1fr;
            scrollbar-size-vertical: 1; scrollbar-color: ansi_bright_black;
            border-title-color: ansi_default; }
    .pane Static { padding: 0 1 0 0; }
    .pane:focus { border: round ansi_cyan; border-title-style: bold; }
    .pane.-current { display: block; }
    #tabs { height: 1; padding: 0 1; }
    #keys { height: 1; padding: 0 1; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    .-filtering #filter { display: block; }
    .-filtering #keys { display: none; }
    .-wide #sections { layout: grid; grid-size: 2; grid-rows: 3fr 2fr 2fr 2fr; grid-gutter: 0; }
    .-wide .pane { display: block; height: 100%; }
    .-wide #problems.-alone { column-span: 2; }
    .-wide #tabs { display: none; }
    HelpScreen { align: center middle; }
    #help { width: 84; max-width: 100%; height: auto; max-height: 100%; padding: 0 2;
            border: round ansi_cyan; background: ansi_default;
            scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,h,f1", "help", "help"),
        Binding("slash", "filter", "filter"),
        Binding("s", "sort", "sort"),
        Binding("p", "pause", "pause"),
        Binding("z", "zoom", "one section"),
        Binding("escape", "clear", show=False),
        Binding("q", "leave", "quit"),
        Binding("ctrl+c,ctrl+q", "interrupt", show=False, priority=True),
        Binding("tab,right", "next(1)", show=False, priority=True),
        Binding("shift+tab,left", "next(-1)", show=False, priority=True),
        *(Binding(str(n), f"go({n})", show=False) for n in range(1, 9)),
    ]

    def __init__(
        self,
        name: str,
        newest: Newest,
        *,
        addresses: Addresses = (),
        stopping: Callable[[], str] = str,
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            name: The recorded exchange.
            newest: Returns the newest observation; must not block.
            addresses: The addresses of the services, by name.
            stopping: Returns the step for which a stop waits; empty while the pipeline runs.
            interrupt: Stops the pipeline, where this view belongs to it; else Ctrl-C quits.
        """
        super().__init__(ansi_color=True)
        self._subject = name
        self._newest = newest
        self._addresses = addresses
        self._stopping = stopping
        self._interrupt = interrupt
        self._seen: Overview | None = None
        self._seen_at_s = time.monotonic()  # when the newest overview came
        self._was_old = False
        self._was_stopping = ""
        self._lags: dict[tuple[str, int], deque[float]] = {}
        self._words = ""
        self._paused = self._zoomed = False
        self._current = 0
        self._panes = [Pane(section, n + 1) for n, section in enumerate(SECTIONS)]
        if addresses:
            self._panes.append(Pane(None, len(SECTIONS) + 1))

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield Static(id="title")
        yield Static(id="verdict")
        yield Static(id="flow")
        with Container(id="sections"):
            yield from self._panes
        yield Static(id="tabs")
        yield Static(id="keys")
        yield Input(
            id="filter", placeholder="filter: words that a row must hold; Enter, Esc clears"
        )

    def on_mount(self) -> None:
        """Start to observe."""
        self.theme = "ansi-dark"
        if not self._addresses:
            self.query_one("#problems").add_class("-alone")
        else:
            pane = self._panes[-1]
            pane.border_title = f"{pane.number} Addresses"
            table = Table.grid(padding=(0, 2, 0, 0))
            for what, where in self._addresses:
                address = cell(where)
                address.overflow = "fold"
                table.add_row(cell(what, "bold"), address)
            pane.query_one(Static).update(table)
        self._lay_out()
        self._draw()
        self._look()
        self.set_interval(LOOK_EVERY_S, self._look)

    def on_resize(self, _: Resize) -> None:
        """Use the present size."""
        self._lay_out()
        self.call_after_refresh(self._draw)

    def action_help(self) -> None:
        """Explain the screen."""
        self.push_screen(HelpScreen(owns=self._interrupt is not None))

    def action_filter(self) -> None:
        """Open the input for the words that rows must hold."""
        self.screen.add_class("-filtering")
        self.query_one("#filter", Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the user types."""
        self._words = event.value.strip()
        self._draw()

    def on_input_submitted(self, _: Input.Submitted) -> None:
        """Keep the filter."""
        self.screen.remove_class("-filtering")
        self._focus()

    def action_clear(self) -> None:
        """Remove the filter."""
        self.screen.remove_class("-filtering")
        self.query_one("#filter", Input).value = ""
        self._focus()

    def action_sort(self) -> None:
        """Sort the chosen section by its next column."""
        self._panes[self._current].sort_by_next()

    def action_pause(self) -> None:
        """Pause or resume the screen."""
        self._paused = not self._paused
        self._draw()

    def action_zoom(self) -> None:
        """Show only the chosen section, or all of them."""
        self._zoomed = not self._zoomed
        self._lay_out()
        self.call_after_refresh(self._draw)

    def action_go(self, number: int) -> None:
        """Choose a section."""
        if number <= len(self._panes):
            self._current = number - 1
            self._lay_out()
            self.call_after_refresh(self._draw)

    def action_next(self, step: int) -> None:
        """Choose the next section, or the one before."""
        if len(self.screen_stack) == 1:
            self.screen.remove_class("-filtering")
            self.action_go((self._current + step) % len(self._panes) + 1)

    def action_leave(self) -> None:
        """Quit; where the pipeline belongs to this view, show how to stop it."""
        if self._interrupt is None:
            self.exit()
        else:
            self.notify("Ctrl-C stops the pipeline; everything is stored before it ends")

    def action_interrupt(self) -> None:
        """Handle Ctrl-C."""
        if self._interrupt is None:
            self.exit()
        else:
            self._interrupt()

    def on_descendant_focus(self) -> None:
        """Follow the section that the user chose with the mouse."""
        for n, pane in enumerate(self._panes):
            if pane.has_focus and n != self._current:
                self._current = n

    def _focus(self) -> None:
        self.set_focus(self._panes[self._current])

    def _lay_out(self) -> None:
        room = self.size.width >= WIDE_COLUMNS and self.size.height >= WIDE_ROWS
        self.screen_stack[0].set_class(room and not self._zoomed, "-wide")
        for n, pane in enumerate(self._panes):
            pane.set_class(n == self._current, "-current")
        if not self.screen_stack[0].has_class("-filtering") and len(self.screen_stack) == 1:
            self._focus()

    def _look(self) -> None:
        newest, stopping = self._newest(), self._stopping()
        if newest is not self._seen:
            self._seen_at_s = time.monotonic()
        old = time.monotonic() - self._seen_at_s > OVERVIEW_HOLDS_S
        if newest is self._seen and stopping == self._was_stopping and old == self._was_old:
            return
        self._was_stopping, self._was_old = stopping, old
        if newest is not None and newest is not self._seen:
            for each in newest.partitions:
                seen = self._lags.setdefault(
                    (each.dataset, each.partition), deque(maxlen=SEEN_LAGS)
                )
                seen.append(each.lag)
        if not self._paused:
            self._seen = newest
            self._draw()

    def _now_s(self) -> float | None:
        """Return the time by which the overview may be too old; None while the screen is paused."""
        if self._seen is None or self._paused:
            return None
        return self._seen.at_s + time.monotonic() - self._seen_at_s

    def _draw(self) -> None:
        screen = self.screen_stack[0]
        if not screen.query("#keys"):
            return  # not built yet, or gone already
        width, overview = self.size.width, self._seen
        note = " PAUSED, p goes on " if self._paused else ""
        # Without the token, which only the section of the addresses shows.
        dashboard = dict(self._addresses).get("Dashboard", "").partition("?")[0]
        title = flow.title(overview, self._subject, width, note, dashboard)
        screen.query_one("#title", Static).update(title)
        mark, text = flow.verdict(overview, stopping=self._was_stopping, now_s=self._now_s())
        verdict = screen.query_one("#verdict", Static)
        verdict.set_classes(f"-{mark.name.lower()}")
        verdict.update(text)
        screen.query_one("#keys", Static).update(self._keys())
        if overview is None:
            return
        screen.query_one("#flow", Static).update(flow.flow(overview, width - 2))
        screen.query_one("#tabs", Static).update(self._tabs(overview))
        lags = {key: tuple(seen) for key, seen in self._lags.items()}
        for pane in self._panes:
            if pane.section is not None and pane.display:
                pane.show(
                    pane.section.rows(overview, lags), self._words, pane.section.nothing(overview)
                )

    def _tabs(self, overview: Overview) -> Text:
        counts = {"letters": len(overview.letters), "gaps": len(overview.gaps)}
        counts["problems"] = len(overview.problems)
        text = Text(no_wrap=True, overflow="ellipsis")
        names = _SHORT if self.size.width < flow.WIDE else _LONG
        for n, pane in enumerate(self._panes):
            name = pane.id or ""
            style = StatusMark.PASSES.style if counts.get(name) else ""
            if n == self._current:
                style = f"{style} reverse"
            text.append(f"{pane.number} {names.get(name, name)}", style=style)
            text.append(" ")
        return text

    def _keys(self) -> Text:
        ends = ("q", "quit") if self._interrupt is None else ("Ctrl-C", "stop")
        text = Text(no_wrap=True, overflow="ellipsis")
        for key, what in (
            *(("?", "help"), ("1-8", "section"), ("s", "sort"), ("/", "filter")),
            *(("p", "pause"), ("z", "zoom"), ends),
        ):
            text.append(f" {key} ", style="reverse")
            text.append(f" {what}  ")
        return text
