"""The command `radar replay`: a recorded period in the exchange's own protocol."""

import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import say, settings_for
from radar.cli.markets import MarketOption, symbols_of
from radar.errors import ConfigurationError, InvalidPeriod
from radar.periods import EXAMPLES, iso, parse_period, parse_time
from radar.text import host_port

if TYPE_CHECKING:
    from radar.replay.player import Position
    from radar.replay.records import Period
    from radar.replay.run import Running


CONTENT = {
    "rebuilt": "frames are rebuilt from records: they are not the bytes that the exchange sent",
    "frames": "recorded frames are shown byte for byte, to clients that subscribe as the recorder;"
    " all others are rebuilt from records",
}


def replay(
    exchange: Annotated[str, typer.Argument(help="Exchange, e.g. binance.")],
    day: Annotated[
        str, typer.Argument(help="Day (UTC); none: --from names it.", metavar="DAY")
    ] = "",
    *,
    first: Annotated[
        str,
        typer.Option(
            "--from",
            "--since",
            help=f"Begin (UTC): 09:30, {EXAMPLES}; default: 00:00.",
            metavar="TIME",
        ),
    ] = "",
    last: Annotated[
        str,
        typer.Option(
            "--to",
            help="End (UTC), not included; default: the end of DAY, else now.",
            metavar="TIME",
        ),
    ] = "",
    speed: Annotated[
        str, typer.Option(help="Recorded seconds a second, or max: as fast as clients read.")
    ] = "1",
    markets: MarketOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8766,
    wait: Annotated[
        float,
        typer.Option(
            min=0, help="Begin this many seconds after the newest subscription; 0: at once."
        ),
    ] = 2.0,
    paused: Annotated[
        bool, typer.Option("--paused", help="Begin with a pause; /replay/resume ends it.")
    ] = False,
    leave: Annotated[
        bool,
        typer.Option("--exit", help="Exit at the end of the period, instead of answering on."),
    ] = False,
) -> None:
    """Serve a recorded period in the exchange's own protocol, WebSocket and REST.

    Any client of the exchange can be tested with it: give the client the printed addresses. The
    replay begins when the first client has subscribed. A client that subscribes later begins at
    the present moment of the replay. No record is left out: at any speed the replay waits for the
    slowest client. At the end it keeps answering.

    GET /replay/status, /replay/pause, /replay/resume, /replay/speed?value=10 and
    /replay/seek?to=2026-07-01T12:00 control it; a seek ends all connections. Frames are rebuilt
    from the stored records, and each answer says so with the header X-Radar-Replayed.
    """
    from radar.exchanges import load
    from radar.process import handled
    from radar.replay.control import content, parse_speed
    from radar.replay.control import iso as to_ms
    from radar.replay.keys import HELP
    from radar.replay.run import ReplayOptions
    from radar.replay.run import main as run
    from radar.status.deployment import find

    settings = settings_for("replay")
    name = load(exchange).name
    period = _period(name, symbols_of(name, markets or ()), day, first, last)
    try:
        chosen = parse_speed(speed)
    except ValueError as error:
        raise ConfigurationError(f"--speed: {error}") from error
    options = ReplayOptions(host, port, chosen, wait, paused, leave)

    def ready(running: "Running") -> None:
        upper, where = name.upper(), host_port(running.host, running.port)
        path = "/ws" if name == "wallex" else ""
        typer.echo(f"{upper}_WS_URL=ws://{where}{path}")
        typer.echo(f"{upper}_REST_URL=http://{where}")
        found = running.records.markets
        trades = sum(market.trades for market in found)
        books = sum(market.snapshots for market in found)
        say(
            f"replays {name} from {to_ms(period.begin_us)} to {to_ms(period.end_us)}:"
            f" {len(found):,} markets, {trades:,} trades, {books:,} snapshots of books",
            CONTENT[content(running.records)],
            *([HELP] if running.has_keys else []),
        )

    shown = _Shown()
    run(
        find(settings).reach(settings),
        period,
        options,
        ready,
        shown.show,
        handled(signal.SIGTERM, signal.SIGINT),
    )


class _Shown:
    """Prints each change of the stage on a line."""

    def __init__(self) -> None:
        self._stage = ""

    def show(self, position: "Position") -> None:
        from radar.replay.control import iso as to_ms

        if position.stage.value != self._stage:
            self._stage = position.stage.value
            say(f"{self._stage} at {to_ms(position.moment_us)}: {position.events:,} events shown")


def _period(exchange: str, symbols: tuple[str, ...], day: str, first: str, last: str) -> "Period":
    """Return the period of the arguments.

    Raises:
        ConfigurationError: An argument is no time, or the begin is missing.
        InvalidPeriod: The period is empty, reversed or in the future.
    """
    from radar.replay.records import Period

    now = datetime.now(UTC)
    default, date = None, None
    if day:
        midnight = parse_time(day, now).replace(hour=0, minute=0, second=0, microsecond=0)
        default, date = (midnight, midnight + timedelta(days=1)), midnight.date()
    elif not first:
        raise ConfigurationError("name a DAY, such as 2026-07-01, or give --from and --to")
    if default is not None and default[0] > now:
        raise InvalidPeriod(f"{day} is in the future: it is {iso(now)} now")
    period = parse_period(first, last, now, default=default, day=date, may_be_future=True)
    if period.begin > now:
        raise InvalidPeriod(f"--from {iso(period.begin)} is in the future: it is {iso(now)} now")
    return Period(exchange, symbols, period.begin_us, period.end_us)
