"""Gaps as messages, there and back; strict."""

import msgspec
import pytest

from radar.codec import message_format
from radar.errors import InvalidMessage
from radar.records import Gap, GapCause

GAP = Gap(
    source="wallex",
    record_kind="trades",
    cause=GapCause.SILENT,
    symbols=("BTCUSDT", "USDTTMN"),
    began_at_us=1_656_242_049_120_345,
    ended_at_us=1_656_242_050_480_112,
    repaired=True,
    received_at_us=1_656_242_053_000_002,
)


def test_wire_gap_there_and_back_keeps_everything() -> None:
    assert message_format.decode_gap(message_format.encode_gap(GAP)) == message_format.GapMessage(
        v=1,
        kind="gap",
        source="wallex",
        record_kind="trades",
        cause=GapCause.SILENT,
        symbols=["BTCUSDT", "USDTTMN"],
        began_at_us=GAP.began_at_us,
        ended_at_us=GAP.ended_at_us,
        repaired=True,
        received_at_us=GAP.received_at_us,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "schema"),
        ({"kind": "trade"}, "schema"),
        ({"record_kind": "gaps"}, "schema"),
        ({"record_kind": "trades\n"}, "schema"),
        ({"cause": "bored"}, "schema"),
        ({"symbols": []}, "schema"),
        ({"symbols": ["A"] * (message_format.MAX_GAP_SYMBOLS + 1)}, "schema"),
        ({"symbols": [""]}, "schema"),
        ({"ended_at_us": GAP.began_at_us - 1}, "time"),
        ({"repaired": 1}, "schema"),
    ],
)
def test_wire_gap_that_is_implausible_is_refused(change: dict[str, object], reason: str) -> None:
    message = msgspec.json.decode(message_format.encode_gap(GAP))
    with pytest.raises(InvalidMessage) as refused:
        message_format.decode_gap(msgspec.json.encode(message | change))
    assert refused.value.reason == reason
