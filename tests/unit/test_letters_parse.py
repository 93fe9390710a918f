"""Which messages of a dead-letter topic are taken for radar's own."""

from collections.abc import Callable
from typing import Any

import pytest

from radar.consumer.dlq.publisher import MAX_PAYLOAD_BYTES
from radar.consumer.dlq.reader import (
    MAX_TIME_MS,
    DeadLetter,
    DeadLetterState,
    Foreign,
    Marker,
    parse,
)
from radar.datasets import TRADES

NAME = b"radar_trades:2:7"
HEADERS = {
    "reason": b"schema",
    "detail": b"schema: \xff\x1b[2J",
    "topic": b"radar_trades",
    "partition": b"2",
    "offset": b"7",
    "key": b"wallex:USDTTMN",
    "bytes": b"5",
}
TOO_LARGE = MAX_PAYLOAD_BYTES + 1
MARKER = {"marker": b"replayed", "letter": b"0f" * 16}


class Message:
    """A stored message."""

    def __init__(
        self,
        headers: dict[str, Any] | list[tuple[str, bytes | None]],
        key: bytes | None = NAME,
        value: bytes | None = b"hello",
        time_ms: int = 1_795_000_000_000,
    ) -> None:
        self._headers = list(headers.items()) if isinstance(headers, dict) else headers
        self._key, self._value, self._time_ms = key, value, time_ms

    def __len__(self) -> int:
        return len(self._value or b"")

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 3

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes | None]]:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, self._time_ms


def test_parse_takes_what_radar_writes() -> None:
    letter = parse(TRADES, Message(HEADERS))
    assert isinstance(letter, DeadLetter)
    assert (letter.name, letter.reason, letter.place) == (NAME.decode(), "schema", (1, 3))
    assert parse(TRADES, Message(MARKER, value=b"")) == Marker(
        NAME.decode(), b"\x0f" * 16, DeadLetterState.REPLAYED
    )
    assert isinstance(parse(TRADES, Message(MARKER, value=None)), Marker)


@pytest.mark.parametrize("time_ms", [-1, -(2**63), 2**63 - 1, MAX_TIME_MS])
def test_parse_writes_any_time_as_a_date(time_ms: int) -> None:
    letter = parse(TRADES, Message(HEADERS, time_ms=time_ms))
    assert isinstance(letter, DeadLetter)
    assert letter.sent_at.endswith("Z")


@pytest.mark.parametrize("name", HEADERS)
def test_parse_refuses_a_letter_without_a_header(name: str) -> None:
    headers = {key: value for key, value in HEADERS.items() if key != name}
    found = parse(TRADES, Message(headers))
    assert found == Foreign((1, 3), f"the header '{name}' is missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("topic", b"radar_depths"),
        ("topic", b"radar_trades$(touch ./pwn);\x1b]0;PWNED\x07"),
        ("topic", b"\xff"),
        ("topic", None),
        ("partition", b"99999999999"),
        ("partition", b"65536"),
        ("partition", b"-1"),
        ("partition", b" 2"),
        ("partition", b"2\n"),
        ("partition", "۲".encode()),
        ("partition", b"1_0"),
        ("offset", b"-1"),
        ("offset", b"9" * 19),
        ("offset", b"9" * 23),
        ("offset", b"07"),
        ("reason", b"\x1b[2J"),
        ("reason", b"x" * 33),
        ("reason", b""),
        ("bytes", b"4"),
        ("bytes", b"6"),
        ("bytes", b"9" * 23),
        ("key", b"k" * 4097),
        ("detail", b"d" * 900_000),
        ("surplus", b"x" * 900_000),
    ],
)
def test_parse_refuses_a_letter_with_a_header_that_radar_does_not_write(
    name: str, value: bytes | None
) -> None:
    assert isinstance(parse(TRADES, Message(HEADERS | {name: value})), Foreign)


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: Message(headers, key=None),
        lambda headers: Message(headers, key=b"radar_trades:2:8"),
        lambda headers: Message(headers, key=b"\xff"),
        lambda headers: Message(headers, value=None),
        lambda headers: Message(headers | {"bytes": b"9000000"}, value=b"x" * TOO_LARGE),
        lambda headers: Message([*headers.items(), ("topic", b"radar_trades")]),
        lambda headers: Message([*headers.items(), *((f"h{n}", b"") for n in range(50_000))]),
        lambda _: Message([]),
    ],
)  # fmt: skip
def test_parse_refuses_a_letter_that_is_otherwise_changed(
    change: Callable[[dict[str, Any]], Message],
) -> None:
    assert isinstance(parse(TRADES, change(HEADERS)), Foreign)


@pytest.mark.parametrize(
    "message",
    [
        Message(MARKER, value=b"x"),
        Message(MARKER | {"marker": b"open"}, value=b""),
        Message(MARKER | {"marker": b"other"}, value=b""),
        Message(MARKER | {"letter": b"00"}, value=b""),
        Message(MARKER | {"letter": b"zz" * 16}, value=b""),
        Message({"marker": b"replayed"}, value=b""),
        Message(MARKER, key=b"x:1:2", value=b""),
        Message(MARKER, key=None, value=b""),
        Message(MARKER, key=b"radar_trades:0:" + b"9" * 19, value=b""),
        Message(MARKER, key=b"radar_trades:70000:1", value=b""),
        Message(MARKER, key=b"radar_trades:1", value=b""),
        Message(MARKER, key=b"radar_trades:1:2:3", value=b""),
        Message(MARKER, key=b"radar_trades:1:02", value=b""),
    ],
)
def test_parse_refuses_a_marker_that_radar_does_not_write(message: Message) -> None:
    assert isinstance(parse(TRADES, message), Foreign)
