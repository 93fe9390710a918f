"""Watches as messages, there and back; strict."""

import msgspec
import pytest

from radar.codec import message_format
from radar.errors import InvalidMessage
from radar.records import OPEN, SessionReport

WATCH = SessionReport(
    source="wallex",
    record_kind="depth",
    connection="0f4c",
    symbols=("BTCUSDT", "USDTTMN"),
    began_at_us=1_656_242_049_120_345,
    ended_at_us=1_656_242_050_480_112,
    end_reason=OPEN,
    interval_ms=7000,
    received_at_us=1_656_242_053_000_002,
)


def test_wire_watch_there_and_back_keeps_everything() -> None:
    assert message_format.decode_session(
        message_format.encode_session(WATCH)
    ) == message_format.SessionMessage(
        v=1,
        kind="watch",
        source="wallex",
        record_kind="depth",
        connection="0f4c",
        symbols=["BTCUSDT", "USDTTMN"],
        began_at_us=WATCH.began_at_us,
        ended_at_us=WATCH.ended_at_us,
        end_reason="open",
        interval_ms=7000,
        received_at_us=WATCH.received_at_us,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "schema"),
        ({"kind": "gap"}, "schema"),
        ({"record_kind": "gaps"}, "schema"),
        ({"connection": ""}, "schema"),
        ({"connection": "XYZ"}, "schema"),
        ({"symbols": []}, "schema"),
        ({"ended_at_us": WATCH.began_at_us - 1}, "time"),
        ({"end_reason": "Bored!"}, "schema"),
        ({"interval_ms": -1}, "schema"),
    ],
)
def test_wire_watch_that_is_implausible_is_refused(change: dict[str, object], reason: str) -> None:
    message = msgspec.json.decode(message_format.encode_session(WATCH))
    with pytest.raises(InvalidMessage) as refused:
        message_format.decode_session(msgspec.json.encode(message | change))
    assert refused.value.reason == reason
