"""The full-screen view: what is seen at the sizes of terminals, and what keys do."""

import asyncio
import html
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from observed import NOW_S, overview, partition, producer, worker
from radar.status.model import (
    Bottleneck,
    MarketState,
    Overview,
    Problem,
    RecentDeadLetter,
    RecentGap,
)
from radar.ui.terminal.app import Monitor

SIZES = [(80, 24), (140, 45)]
MARKETS = [
    MarketState("BTCUSDT", "62525.500000", 62525.0, 62526.0, NOW_S - 2, NOW_S - 1, 1.0, 1.1),
    MarketState("USDTTMN", "98765.100000", 98765.0, 98766.0, NOW_S - 90, NOW_S - 1, 1.0, 1.1),
]
GAPS = [RecentGap("trades", "silent", ["BTCUSDT", "USDTTMN"], NOW_S - 100, NOW_S - 60, True)]
LETTERS = [
    RecentDeadLetter("depth", NOW_S - 30, "levels", "not falling", "radar_depths", 2, 77, False)
]
PROBLEMS = [Problem(NOW_S - 5, "trades-consumer-2", "block waits")]
BUSY: dict[str, Any] = {
    "markets": MARKETS,
    "gaps": GAPS,
    "letters": LETTERS,
    "problems": PROBLEMS,
    "tables_at_s": NOW_S,
    "markets_at_s": NOW_S,
}

Use = Callable[[Monitor, Pilot[None]], Awaitable[None]]


def use(size: tuple[int, int], use_it: Use, found: Overview | None, **options: Any) -> Monitor:
    """Run the view of an overview without a terminal."""
    app = Monitor("simulated exchange", lambda: found, **options)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await use_it(app, pilot)

    asyncio.run(run())
    return app


def seen(app: Monitor) -> str:
    """Return the text that is on the screen."""
    picture = app.export_screenshot()
    drawn = picture[picture.index("</style>") :]
    return html.unescape(re.sub(r"<[^>]+>", "", drawn)).replace("\xa0", " ")


def look(size: tuple[int, int], *keys: str, found: Overview | None = None, **options: Any) -> str:
    """Return what is on the screen after some keys."""
    texts = []

    async def press(app: Monitor, pilot: Pilot[None]) -> None:
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        texts.append(seen(app))

    use(size, press, found or overview(**BUSY), **options)
    return texts[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", ["[/boom]", "[@click=app.quit]x"])
def test_nothing_that_others_wrote_is_markup(size: tuple[int, int], text: str) -> None:
    found = overview(
        markets=[MarketState(text, "1", 1.0, 1.0, NOW_S, NOW_S, 1.0, 1.0)],
        gaps=[RecentGap(text, text, [text], NOW_S - 9, NOW_S - 8, True)],
        letters=[RecentDeadLetter(text, NOW_S, text, text, text, 2, 77, False)],
        problems=[Problem(NOW_S, text, text)],
        partitions=[partition("trades", 0, owner=text)],
        workers=[worker("trades", 0, name=text)],
        producers=[producer("trades", name=text, reasons=[text], connections=[])],
        bottleneck=Bottleneck("workers", "trades", text, subject=text),
        obstacles=[Bottleneck("workers", "trades", text, subject=text)],
        exchange=text,
        kafka=text,
        clickhouse=text,
        tables_at_s=NOW_S,
        markets_at_s=NOW_S,
    )
    screen = look(size, *"12345678", found=found, addresses=[(text, text)])
    assert "8 Addresses" in screen
    assert size[0] < 100 or text in screen
    # What somebody types stands in the titles.
    assert "filter: [/boom]" in look(size, *"6/[/boom]", found=found)


def test_nothing_that_others_wrote_is_obeyed_by_the_terminal() -> None:
    hostile = "\x1b]0;PWNED\x07\x9b2J\u202eevil"
    letter = RecentDeadLetter(hostile, NOW_S, hostile, hostile, hostile, 2, 77, False)
    problem = Problem(NOW_S, hostile, hostile)
    found = overview(**BUSY | {"letters": [letter], "problems": [problem]})
    text = look((400, 60), found=found)
    assert text.count(r"\x1b]0;PWNED\x07\x9b2J\u202eevil") >= 4
    assert not re.search("[\x1b\x07\x9b\u202e]", text)


@pytest.mark.parametrize("size", SIZES)
def test_screen_of_a_pipeline_that_flows_says_so_and_shows_every_stage(
    size: tuple[int, int],
) -> None:
    text = look(size)
    assert "● EVERYTHING FLOWS: records are stored within 1.1 s" in text
    for stage in ("EXCHANGE", "CONNECTIONS", "PARTITIONS", "WORKERS", "TABLES"):
        assert f"● {stage}" in text
    assert "4,980 rows" in text
    assert "trades-consumer-2" in text
    assert "PAUSED" not in text


@pytest.mark.parametrize("size", SIZES)
def test_screen_of_a_pipeline_that_is_stuck_marks_the_place_and_says_why(
    size: tuple[int, int],
) -> None:
    dead = worker("trades", 1, alive=False, ready=False, reasons=["no answer within 1 s"])
    text = look(
        size,
        found=overview(workers=[dead], partitions=[partition("trades", 1, lag=321)]),
    )
    assert "✖ STUCK AT WORKERS: trades-consumer-2 does not work, 321 messages" in text
    assert "● TABLES" in text
    assert "● WORKERS" not in text


def test_screen_small_shows_the_address_of_the_dashboard() -> None:
    addresses = [("Dashboard", "http://127.0.0.1:8080/?token=abc"), ("Kafka", "127.0.0.1:9092")]
    assert "http://127.0.0.1:8080/" in look((80, 24), addresses=addresses)


def test_screen_before_the_first_facts_says_what_it_does() -> None:
    async def check(app: Monitor, _: Pilot[None]) -> None:
        assert "waiting for answers" in seen(app)

    use((80, 24), check, None)


def test_screen_without_known_processes_does_not_claim_that_everything_flows() -> None:
    text = look((80, 24), found=overview(workers=[], producers=[], processes=[]))
    assert "EVERYTHING FLOWS" not in text
    assert "MONITOR_PROCESSES" in text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("2", ["● wallex-depth", "partition 1"]),
        ("3", ["trades #1", "100 s"]),
        ("4", ["USDTTMN", "98,765.1", "90 s"]),
        ("5", ["silent", "40.0 s", "2: BTCUSDT, USDTTMN"]),
        ("6", ["levels", "not falling"]),
        ("7", ["trades-consumer-2", "block waits"]),
    ],
)
def test_screen_small_shows_the_section_of_a_key(key: str, words: list[str]) -> None:
    text = look((80, 24), key)
    for word in words:
        assert word.replace("40.0 s", "40 s") in text, text


def test_screen_large_shows_all_sections_at_once() -> None:
    text = look((140, 45), addresses=[("Logs", "/var/lib/radar/logs")])
    for words in ("trades 0", "● wallex-depth", "trades #1", "98,765.1", "silent", "not falling"):
        assert words in text
    assert "/var/lib/radar/logs" in text


def test_screen_stalest_market_comes_first_and_sorting_changes_that() -> None:
    text = look((80, 24), "4")
    assert text.index("USDTTMN") < text.index("BTCUSDT")
    text = look((80, 24), "4", "s", "s", "s", "s")  # … book ago, latency, none, market
    assert text.index("BTCUSDT") < text.index("USDTTMN")


def test_screen_filter_shows_only_rows_that_hold_the_words_until_escape() -> None:
    text = look((80, 24), "4", "slash", *"usdtt", "enter")
    assert "USDTTMN" in text
    assert "BTCUSDT" not in text
    assert "filter: usdtt" in text
    text = look((80, 24), "4", "slash", *"usdtt", "enter", "escape")
    assert "BTCUSDT" in text


def test_screen_tab_goes_through_the_sections() -> None:
    assert "not falling" in look((80, 24), *["tab"] * 5)
    assert "block waits" in look((80, 24), "shift+tab")


def test_screen_zoom_shows_one_section_of_a_large_terminal() -> None:
    text = look((140, 45), "4", "z")
    assert "98,765.1" in text
    assert "trades-consumer-2" not in text


def test_screen_paused_stands_still_until_it_goes_on() -> None:
    states = [overview(), overview(producers=[producer("trades", alive=False, reasons=["gone"])])]
    app = Monitor("simulated exchange", lambda: states[0])

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("p")
            states.pop(0)
            await pilot.pause(0.5)
            assert "EVERYTHING FLOWS" in seen(app)
            assert "PAUSED" in seen(app)
            await pilot.press("p")
            await pilot.pause(0.5)
            assert "STUCK AT CONNECTIONS" in seen(app)

    asyncio.run(run())


def test_screen_help_explains_and_closes() -> None:
    assert "Where is" in look((80, 24), "question_mark")
    assert "Where is" not in look((80, 24), "question_mark", "escape")


def test_screen_quits_but_not_the_pipeline_that_it_belongs_to() -> None:
    async def press(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("q")
        await pilot.pause()

    asked: list[str] = []
    app = use((80, 24), press, overview())
    assert not app.is_running

    async def press_all(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("q", "ctrl+c")
        await pilot.pause()
        assert app.is_running

    use((80, 24), press_all, overview(), interrupt=lambda: asked.append("stop"))
    assert asked == ["stop"]


def test_screen_while_it_stops_says_what_it_waits_for() -> None:
    waits = "60 messages are not stored yet (trades 1: 60)"
    text = look((140, 45), stopping=lambda: waits, interrupt=lambda: None)
    assert f"STOPPING: {waits}. Ctrl-C again ends at once" in text
