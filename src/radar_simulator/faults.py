"""Faults of the simulated exchange, and how to request one.

A fault is written `kick:count=1,close_frame=false` on the command line and as the query of
`/simulator/faults?fault=kick&count=1&close_frame=false` at run time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import cycle


class FaultName(StrEnum):
    """The faults. Those on connections hit the oldest `count` ones, or all if it is 0."""

    KICK = "kick"
    """Close connections, with a close frame or (`close_frame=false`) by cutting TCP."""

    STALL = "stall"
    """Send no frame for `seconds`; protocol pings are answered, trades meanwhile are lost."""

    MUTE = "mute"
    """Send no trades of `symbol` to the present subscriptions for `seconds`; new ones get them."""

    HALF_OPEN = "half_open"
    """Neither send nor read for `seconds`, without a FIN; then cut the connection."""

    GARBAGE = "garbage"
    """Send each connection `repeat` frames that make no sense; `kind` names one, else all."""

    RESEND = "resend"
    """From now on resend the newest `count` trades to each new subscription; 0 ends it."""

    REFUSE = "refuse"
    """Refuse new WebSocket connections for `seconds` with HTTP `status`, 0 for a cut."""

    REST_ERROR = "rest_error"
    """Answer REST requests with HTTP `status` for `seconds`."""

    REST_HANG = "rest_hang"
    """Answer REST requests that arrive within `seconds` byte by byte, without an end."""

    REQUIRE_PONG = "require_pong"
    """From now on close connections that do not answer a ping within `seconds`; 0 ends it."""

    NO_PING = "no_ping"
    """Send none of the exchange's own pings for `seconds`."""

    MAX_AGE = "max_age"
    """From now on close connections older than `seconds`."""

    DROP = "drop"
    """Lose the next `count` frames of trades (or, with `kind=book`, of the book) of `symbol`."""

    ALTER = "alter"
    """Send the next `count` trades of `symbol` with another quantity than they have."""

    CHECKSUM = "checksum"
    """Send one wrong checksum of `symbol`'s book."""

    HTML = "html"
    """Answer REST and handshakes with a page and HTTP `status` for `seconds`."""

    BAN = "ban"
    """Answer REST with 429 and Retry-After for `seconds`; then 418 if the client goes on."""

    GOODBYE = "goodbye"
    """Announce the end of the connections, and close them after `seconds`."""

    REPEAT = "repeat"
    """Send the newest `count` trades of `symbol` again."""

    EPOCH = "epoch"
    """Restart the exchange's server: its channels count from 1 again."""

    CLEAR = "clear"
    """End stalls, muting, refusals, REST errors, missing pings, resends and repetitions."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault with its parameters; a fault ignores the parameters that it does not use.

    Attributes:
        name: The fault.
        count: Connections to hit, oldest first, 0 for all; for `resend`, `repeat` and `alter` the
            number of trades, for `drop` that of frames.
        seconds: Duration or limit in seconds.
        close_frame: Whether `kick` sends a close frame.
        code: Close code of a `kick` with a close frame.
        symbol: The market that `mute`, `drop`, `alter`, `checksum` and `repeat` concern.
        kind: Kind of garbage, one of `GARBAGE`, or empty for each in turn; for `drop` one of
            `DROPPED`, or empty for trades.
        repeat: Frames of garbage for each connection.
        bytes: Size of a `huge` frame.
        status: HTTP status of `refuse` and `rest_error`; 0 cuts the TCP connection (`refuse`).
        every_s: Repeat the fault with this period in seconds; 0 applies it once.
    """

    name: FaultName
    count: int = 0
    seconds: float = 5.0
    close_frame: bool = True
    code: int = 1001
    symbol: str = ""
    kind: str = ""
    repeat: int = 1
    bytes: int = 2 * 1024 * 1024
    status: int = 503
    every_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            ValueError: If one makes no sense.
        """
        if self.kind and self.kind not in (GARBAGE if self.name is not FaultName.DROP else DROPPED):
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(GARBAGE)}")
        for value in (self.count, self.seconds, self.repeat, self.bytes, self.every_s):
            if not 0 <= value < float("inf"):  # false for NaN too
                raise ValueError(f"a parameter of a fault cannot be {value}")
        if not (self.code in _CLOSE_CODES or 3000 <= self.code <= 4999):
            raise ValueError(f"code {self.code} cannot be sent in a close frame")
        if self.status and not 400 <= self.status <= 599:
            raise ValueError(f"status must be 0 or 400..599, got {self.status}")
        if self.name is FaultName.MUTE and not self.symbol:
            raise ValueError("mute needs a symbol")
        if self.name is FaultName.REST_ERROR and not self.status:
            raise ValueError("rest_error needs a status")


# RFC 6455, 7.4: those that an endpoint may send; 1005, 1006 and 1015 never go over the wire.
_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015)})


def fault(name: str, parameters: Mapping[str, object]) -> Fault:
    """Make a fault of names and values, text or typed.

    Args:
        name: Name of the fault.
        parameters: Attributes of `Fault` by name.

    Returns:
        The fault.

    Raises:
        ValueError: If the name, a parameter or a value is unknown.
    """
    if name not in set(FaultName):
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FaultName)}")
    values: dict[str, object] = {}
    for key, value in parameters.items():
        if key not in _PARAMETERS:
            raise ValueError(f"unknown parameter {key!r}; known: {', '.join(_PARAMETERS)}")
        try:
            values[key] = _PARAMETERS[key](str(value))
        except ValueError as error:
            raise ValueError(f"{key}: {value!r} is not understood") from error
    if name == FaultName.RESEND:
        values.setdefault("count", 50)
    return Fault(FaultName(name), **values)  # type: ignore[arg-type]  # converted just above


def parse_fault(text: str) -> Fault:
    """Parse `kick:count=1,every_s=30`.

    Raises:
        ValueError: It has another form.
    """
    name, _, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",") if part]
    return fault(name.strip(), {key.strip(): value.strip() for key, _, value in pairs})


def _flag(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes":
            return True
        case "0" | "false" | "no":
            return False
        case _:
            raise ValueError(text)


_CONVERTERS: dict[object, Callable[[str], object]] = {
    int: int,
    float: float,
    bool: _flag,
    str: str,
}
_PARAMETERS = {
    field.name: _CONVERTERS[field.type] for field in fields(Fault) if field.name != "name"
}

DROPPED = ("trades", "book")
"""Kinds of frames that `drop` loses."""

GARBAGE: dict[str, str | bytes] = {
    "invalid_json": '["USDTTMN@trade",{"isBuyOrder":tru',
    "empty": "",
    "binary": b"\x00\xff\xfe\x01binary",
    "scalar": "42",
    "wrong_types": '["USDTTMN@trade",{"isBuyOrder":"yes","quantity":[],"price":{},"timestamp":0}]',
    "missing_keys": '["USDTTMN@trade",{"price":"1.0"}]',
    "nan": '["BTCUSDT@buyDepth",[{"price":NaN,"quantity":Infinity,"sum":-Infinity}]]',
    "nan_text": (
        '["USDTTMN@trade",{"isBuyOrder":true,"quantity":"NaN","price":"Infinity",'
        '"timestamp":"2022-06-26T11:14:09Z"}]'
    ),
    "negative": (
        '["USDTTMN@trade",{"isBuyOrder":true,"quantity":"-1.0","price":"0",'
        '"timestamp":"2022-06-26T11:14:09Z"}]'
    ),
    "exponent": (
        '["USDTTMN@trade",{"isBuyOrder":true,"quantity":"1e1000000","price":"1e1000000",'
        '"timestamp":"2022-06-26T11:14:09Z"}]'
    ),
    "unicode_digits": (
        '["USDTTMN@trade",{"isBuyOrder":true,"quantity":"۱۲","price":"1_000",'
        '"timestamp":"2022-06-26T11:14:09Z"}]'
    ),
    "absurd_time": (
        '["USDTTMN@trade",{"isBuyOrder":true,"quantity":"1.0","price":"1.0",'
        '"timestamp":"9999-12-31T23:59:59Z"}]'
    ),
    "unknown_channel": '["NOSUCHCOIN@trade",{"isBuyOrder":true}]',
    "nested": "[" * 2000 + "]" * 2000,
    "huge": "",  # of the requested size, made in `garbage`
}
"""Frames that make no sense, by kind."""


def garbage(applied: Fault) -> Iterator[str | bytes]:
    """Yield the frames of garbage for a fault."""
    kinds = cycle([applied.kind] if applied.kind else GARBAGE)
    frames = applied.repeat if applied.kind else max(applied.repeat, len(GARBAGE))
    for _ in range(frames):
        kind = next(kinds)
        yield GARBAGE[kind] if kind != "huge" else '["' + "x" * applied.bytes + '"]'
