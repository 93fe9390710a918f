"""Assembles a replay: the records, the exchange, the player, the control and the server."""

import asyncio
import signal
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

from radar.errors import ConfigurationError, InvalidPeriod
from radar.reading.formats.base import rows_of
from radar.reading.query import Ask, opened
from radar.reading.recorded import check_markets
from radar.replay.control import control, iso
from radar.replay.keys import keys
from radar.replay.player import Player, Position
from radar.replay.records import Period, Records
from radar.settings import Settings
from radar_simulator.errors import InvalidOption
from radar_simulator.ledger import Ledger
from radar_simulator.options import SimulatorOptions
from radar_simulator.replay import replayed
from radar_simulator.server import Simulator, serving

RECENT_TRADES = 1_000
LEDGER_TRADES = 10_000
REPORT_S = 0.5


class ReplayOptions(NamedTuple):
    """How a period is replayed.

    Attributes:
        host: Address to listen on.
        port: TCP port; 0 picks a free one.
        speed: Recorded seconds a second; infinite: as fast as the clients read.
        settle_s: Begin when no new subscription has come for so long; 0: at once.
        is_paused: Begin with a pause.
        ends: End after the period, when the clients have read everything.
    """

    host: str
    port: int
    speed: float
    settle_s: float
    is_paused: bool
    ends: bool


class Running(NamedTuple):
    """A replay that accepts connections.

    Attributes:
        host: Address that it listens on.
        port: Its port.
        records: The records that it shows.
        player: Takes commands.
        has_keys: Keys of the terminal are obeyed.
    """

    host: str
    port: int
    records: Records
    player: Player
    has_keys: bool


async def run(
    settings: Settings,
    period: Period,
    options: ReplayOptions,
    ready: Callable[[Running], None],
    show: Callable[[Position], None],
    stop: asyncio.Event,
) -> None:
    """Serve a period until the stop event, or until its end.

    Args:
        settings: The options, with the address of the database.
        period: What to replay.
        options: How.
        ready: Called once when connections are accepted.
        show: Called now and then with the position.
        stop: Ends the replay.

    Raises:
        UnknownMarket: A market has no records; the message names similar ones.
        InvalidPeriod: Nothing was recorded in the period.
        ConfigurationError: The port is taken.
        StoreUnavailable: The database does not answer.
        QueryFailed: It refuses a query.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "records") as reader:
        stack = ExitStack()
        try:
            ask = await loop.run_in_executor(reader, stack.enter_context, opened(settings))
            await loop.run_in_executor(reader, _check_markets, ask, period)
            records = await loop.run_in_executor(reader, Records, ask, period)
            if not records.markets:
                raise InvalidPeriod(
                    f"no trade and no book of {period.exchange} was recorded from"
                    f" {iso(period.begin_us)} to {iso(period.end_us)}: give another period, or"
                    " run `radar coverage`"
                )
            await _serve(records, reader, options, ready, show, stop)
        finally:
            await loop.run_in_executor(reader, stack.close)


def _check_markets(ask: Ask, period: Period) -> None:
    names = [f"{period.exchange}:{symbol}" for symbol in period.symbols]
    check_markets(lambda sql, values: rows_of(ask, sql, values), names)


async def _serve(
    records: Records,
    reader: ThreadPoolExecutor,
    options: ReplayOptions,
    ready: Callable[[Running], None],
    show: Callable[[Position], None],
    stop: asyncio.Event,
) -> None:
    simulated = SimulatorOptions(
        exchange=records.period.exchange,
        host=options.host,
        port=options.port,
        recent_trades=RECENT_TRADES,
        ledger_memory_trades=LEDGER_TRADES,
    )
    with Ledger(None, LEDGER_TRADES) as ledger:
        listings = [market.listing for market in records.markets]
        exchange = replayed(simulated, ledger, listings)
        player = Player(
            records,
            reader,
            exchange,
            options.speed,
            settle_s=options.settle_s,
            paused=options.is_paused,
        )
        server = Simulator(exchange, simulated, control(player, records))
        try:
            async with serving(server):
                port = urlsplit(server.rest_url).port or 0
                with keys(player, stop) as in_terminal:
                    ready(Running(options.host, port, records, player, in_terminal))
                    await _until_end(player, server, options, show, stop)
        except InvalidOption as error:
            raise ConfigurationError(str(error)) from error


async def _until_end(
    player: Player,
    server: Simulator,
    options: ReplayOptions,
    show: Callable[[Position], None],
    stop: asyncio.Event,
) -> None:
    playing = asyncio.create_task(player.run())
    asked = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(player.ended.wait())
    awaited = {playing, asked, *([ended] if options.ends else [])}
    try:
        while not any(task.done() for task in awaited):
            show(player.position)
            await asyncio.wait(awaited, timeout=REPORT_S, return_when=asyncio.FIRST_COMPLETED)
        show(player.position)
        if playing.done():
            playing.result()
        if ended.done() and options.ends:
            await server.quiesce()
    finally:
        tasks = {playing, asked, ended}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def main(
    settings: Settings,
    period: Period,
    options: ReplayOptions,
    ready: Callable[[Running], None],
    show: Callable[[Position], None],
    signals: Collection[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """Serve a period until a signal, or until its end; blocks. See `run`."""

    async def until_signal() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, stop.set)
        await run(settings, period, options, ready, show, stop)

    asyncio.run(until_signal())
