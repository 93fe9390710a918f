"""Gaps as messages, there and back; strict."""

import msgspec
import pytest

from radar import wire
from radar.errors import InvalidMessage
from radar.records import Gap, GapCause

POSITION = wire.Position(2, 42)
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
    assert wire.decode_gap(wire.encode_gap(GAP), POSITION) == wire.GapRow(
        source="wallex",
        record_kind="trades",
        cause=GapCause.SILENT,
        symbols=["BTCUSDT", "USDTTMN"],
        began_at="1656242049.120345",
        ended_at="1656242050.480112",
        repaired=True,
        received_at="1656242053.000002",
        kafka_partition=2,
        kafka_offset=42,
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
        ({"symbols": ["A"] * (wire.MAX_GAP_SYMBOLS + 1)}, "schema"),
        ({"symbols": [""]}, "schema"),
        ({"ended_at_us": GAP.began_at_us - 1}, "time"),
        ({"repaired": 1}, "schema"),
        ({"extra": 1}, "schema"),
    ],
)
def test_wire_gap_that_is_implausible_is_refused(change: dict[str, object], reason: str) -> None:
    message = msgspec.json.decode(wire.encode_gap(GAP))
    with pytest.raises(InvalidMessage) as refused:
        wire.decode_gap(msgspec.json.encode(message | change), POSITION)
    assert refused.value.reason == reason
