"""The keys of a replay in a terminal."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from radar.replay.control import SLOWEST
from radar.replay.pace import FASTEST
from radar.replay.player import Player, Stage

HELP = "keys: space pauses, + and - change the speed, m plays at once, b and n go a minute, q quits"
STEP_US = 60_000_000


@contextmanager
def keys(player: Player, stop: asyncio.Event) -> Iterator[bool]:
    """Obey keys while a block lasts, in the running event loop.

    Yields:
        Whether there is a terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield False
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    loop = asyncio.get_running_loop()
    tty.setcbreak(terminal)
    loop.add_reader(terminal, lambda: _read(terminal, player, stop))
    try:
        yield True
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _read(terminal: int, player: Player, stop: asyncio.Event) -> None:
    for key in os.read(terminal, 64).decode(errors="replace"):
        press(key, player, stop)


def press(key: str, player: Player, stop: asyncio.Event) -> None:
    """Obey one key; others have no effect."""
    at = player.position
    match key:
        case " ":
            (player.resume if at.is_paused else player.pause)()
        case "+":
            player.set_speed(at.speed * 2)
        case "-":
            player.set_speed(1.0 if at.speed == FASTEST else max(SLOWEST, at.speed / 2))
        case "m":
            player.set_speed(FASTEST)
        case "b" | "n" if at.stage is not Stage.LOADING:
            player.seek(at.moment_us + (STEP_US if key == "n" else -STEP_US))
        case "q":
            stop.set()
