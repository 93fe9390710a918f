"""Faults and options: read from text, refused when they make no sense."""

import pytest

from radar_simulator.errors import InvalidOption
from radar_simulator.faults import GARBAGE, Fault, FaultName, fault, garbage, parse_fault
from radar_simulator.options import SimulatorOptions


def test_parse_fault_reads_name_and_parameters() -> None:
    assert parse_fault("kick") == Fault(FaultName.KICK)
    assert parse_fault("kick:count=2, close_frame=false,every_s=30") == Fault(
        FaultName.KICK, count=2, close_frame=False, every_s=30.0
    )


def test_fault_resend_without_count_resends_some() -> None:
    assert fault("resend", {}).count > 0
    assert fault("resend", {"count": 0}).count == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "explode",
        "kick:often=1",
        "kick:name=stall",
        "kick:count=many",
        "kick:count=-1",
        "kick:close_frame=maybe",
        "kick:code=1006",
        "garbage:kind=polite",
        "rest_error:status=200",
        "rest_error:status=0",
        "stall:seconds=nan",
        "mute",
    ],
)
def test_parse_fault_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_fault(text)


def test_garbage_without_kind_sends_each_kind() -> None:
    frames = list(garbage(parse_fault("garbage:bytes=1000")))
    assert len(frames) == len(GARBAGE)
    assert {type(frame) for frame in frames} == {str, bytes}
    assert max(len(frame) for frame in frames) >= 1000


def test_garbage_of_a_kind_is_repeated() -> None:
    assert list(garbage(parse_fault("garbage:kind=nan,repeat=3"))) == [GARBAGE["nan"]] * 3


@pytest.mark.parametrize(
    "changes",
    [{"symbols": 0}, {"symbols": 401}, {"twin_share": 0.9}, {"tick_ms": 0}, {"port": 70_000}],
)
def test_options_out_of_range_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(changes))):
        SimulatorOptions(**changes)  # type: ignore[arg-type]
