"""The command `radar replay`: a recorded period in the exchange's own protocol."""

import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import market_names, say, settings_for
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
        datetime, typer.Argument(formats=["%Y-%m-%d"], help="Day (UTC).", metavar="DAY")
    ],
    *,
    first: Annotated[
        str, typer.Option("--from", help="Begin (UTC): 09:30, or 2026-07-01T09:30; default: 00:00.")
    ] = "",
    last: Annotated[
        str, typer.Option("--to", help="End (UTC), not included; default: the end of the day.")
    ] = "",
    speed: Annotated[
        str, typer.Option(help="Recorded seconds a second, or max: as fast as clients read.")
    ] = "1",
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            help="Market to replay; repeat for more; default: all.", autocompletion=market_names
        ),
    ] = None,
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
    from radar.errors import ConfigurationError
    from radar.exchanges import load
    from radar.process import handled
    from radar.replay.control import content, iso, parse_speed
    from radar.replay.keys import HELP
    from radar.replay.run import ReplayOptions
    from radar.replay.run import main as run
    from radar.status.deployment import find

    settings = settings_for("replay")
    name = load(exchange).name
    period = _period(name, tuple(symbol or ()), day, first, last)
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
        markets = running.records.markets
        trades = sum(market.trades for market in markets)
        books = sum(market.snapshots for market in markets)
        say(
            f"replays {name} from {iso(period.begin_us)} to {iso(period.end_us)}:"
            f" {len(markets):,} markets, {trades:,} trades, {books:,} snapshots of books",
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
        from radar.replay.control import iso

        if position.stage.value != self._stage:
            self._stage = position.stage.value
            say(f"{self._stage} at {iso(position.moment_us)}: {position.events:,} events shown")


def _period(
    exchange: str, symbols: tuple[str, ...], day: datetime, first: str, last: str
) -> "Period":
    """Return the period of the arguments.

    Raises:
        ConfigurationError: An argument is no time.
        InvalidPeriod: The period is empty.
    """
    from radar.errors import InvalidPeriod
    from radar.replay.control import iso, unix_us_of
    from radar.replay.records import Period

    begin = _time(first, day) if first else day
    end = _time(last, day) if last else day + timedelta(days=1)
    period = Period(exchange, symbols, unix_us_of(begin), unix_us_of(end))
    if period.end_us <= period.begin_us:
        raise InvalidPeriod(
            f"--to {iso(period.end_us)} is not after --from {iso(period.begin_us)}:"
            " give a later end"
        )
    return period


def _time(text: str, day: datetime) -> datetime:
    from radar.errors import ConfigurationError

    try:
        if len(text) <= len("09:30:00.000000") and "T" not in text:
            text = f"{day:%Y-%m-%d}T{text}"
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no time (allowed: 09:30, 09:30:15, 2026-07-01T09:30)"
        ) from error
    return found.replace(tzinfo=found.tzinfo or UTC)
