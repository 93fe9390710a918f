"""Which data counts as simulated."""

import pytest

from radar.errors import ConfigurationError
from radar.kafka.origin import decode
from radar.origin import Origin, OriginMark, origin_of, refuse_other

OWN = ("https://api.wallex.ir", "wss://api.wallex.ir/ws")


@pytest.mark.parametrize(
    ("declared", "given", "says_simulated", "origin"),
    [
        ("", ("", ""), False, Origin.REAL),
        ("", ("https://api.wallex.ir:443/", ""), False, Origin.REAL),
        ("", ("", "ws://127.0.0.1:5000/ws"), False, Origin.SIMULATED),
        ("", ("http://127.0.0.1:5000", ""), False, Origin.SIMULATED),
        ("real", ("http://mirror.lan", "ws://mirror.lan"), False, Origin.REAL),
        ("simulated", ("", ""), False, Origin.SIMULATED),
        # A proxy or a name server may lead elsewhere than the address says.
        ("", ("", ""), True, Origin.SIMULATED),
    ],
)
def test_origin(
    declared: str, given: tuple[str, str], says_simulated: bool, origin: Origin
) -> None:
    assert origin_of(declared, given, OWN, says_simulated=says_simulated) is origin


def test_exchange_that_says_it_is_simulated_is_not_real() -> None:
    with pytest.raises(ConfigurationError, match="unset EXCHANGE_ORIGIN"):
        origin_of("real", ("", ""), OWN, says_simulated=True)


def test_other_origin_is_refused_in_one_line() -> None:
    mark = OriginMark(Origin.REAL, "https://api.wallex.ir", 1_800_000_000.0)
    refuse_other(None, Origin.SIMULATED, "Kafka", "the exchange", "KAFKA_BROKER")
    refuse_other(mark, Origin.REAL, "Kafka", "the exchange", "KAFKA_BROKER")
    with pytest.raises(ConfigurationError) as refused:
        refuse_other(mark, Origin.SIMULATED, "Kafka", "the exchange", "KAFKA_BROKER")
    assert str(refused.value) == (
        "Kafka holds real data (https://api.wallex.ir, since 2027-01-15T08:00:00Z), and the"
        " exchange is simulated: set another KAFKA_BROKER; real and simulated data never share a"
        " store"
    )


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[",
        b"[" * 100_000,
        b'"\xff"',
        b'["other","x",1]',
        b'["real","x",-1]',
        b'["real","x",1e17]',
        b'["real","x",Infinity]',
        b'["real","x",' + b"9" * 10_000 + b"]",
        b'["real","' + b"x" * 10_000 + b'",1]',
        b'["real",5,1]',
    ],
)
def test_mark_that_radar_has_not_written_is_none(value: bytes) -> None:
    assert decode(value) is None


def test_mark_is_read_as_it_was_written_before() -> None:
    mark = decode(b'["real", "https://api.wallex.ir", 1800000000.25]')
    assert mark == OriginMark(Origin.REAL, "https://api.wallex.ir", 1_800_000_000.25)
