"""Refused messages: sent again for a while, then given up; nothing vanishes. Times are seconds."""

from confluent_kafka import KafkaError

from radar.codec import message_format
from radar.kafka.refused_messages import (
    LOG_EVERY_S,
    OVER_AFTER_S,
    REFUSAL_REASONS,
    Refusals,
    RefusedMessage,
    reason_of,
)
from radar.producer.gaps import EVENT_TIME_MARGIN_US, Uncovered
from radar.producer.reports import MAX_WAITING, merged_gaps, newest_sessions
from radar.producer.unpublished import COLLECT_S, Unpublished
from radar.records import Gap, GapCause, SessionReport

NOW_US = 1_784_000_000_000_000


def refused(at_s: float, value: bytes = b"value") -> RefusedMessage:
    return RefusedMessage(b"key", value, None, "policy", at_s)


def test_reason_of_every_error_is_from_the_bounded_set() -> None:
    codes = [n for n in range(-200, 150) if n]
    assert {reason_of(KafkaError(code)) for code in codes} <= {*REFUSAL_REASONS}
    assert reason_of(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)) == "not_authorized"
    assert reason_of(KafkaError(18)) == "too_large"


def test_refused_message_is_sent_again_and_given_up_after_its_time() -> None:
    refusals = Refusals(retry_for_s=10, max_bytes=1000)
    assert refusals.add(refused(0), 0) == 0
    assert list(refusals.due(0.5)) == []
    (again,) = refusals.due(1)
    assert refusals.add(again, 1.1) == 0
    assert list(refusals.due(2)) == []
    (again,) = refusals.due(3.1)
    refusals.put_back(again)
    assert len(refusals) == 1
    (again,) = refusals.due(11)
    assert refusals.add(again, 11) == 1
    assert (len(refusals), refusals.bytes) == (0, 0)
    assert list(refusals.given_up()) == [again]
    assert list(refusals.given_up()) == []
    assert refusals.trouble(12) == "policy"
    assert refusals.trouble(11.1 + OVER_AFTER_S) == ""


def test_refused_messages_are_bounded_and_the_oldest_given_up() -> None:
    refusals = Refusals(retry_for_s=10, max_bytes=25)
    given_up = sum(refusals.add(refused(0, bytes([n]) * 10), 0) for n in range(5))
    assert (given_up, len(refusals), refusals.bytes) == (3, 2, 20)
    assert [each.value[0] for each in refusals.given_up()] == [0, 1, 2]
    assert refusals.give_up_all() == 2
    assert [each.value[0] for each in refusals.given_up()] == [3, 4]


def test_refusals_are_logged_once_a_minute_by_reason_with_their_number() -> None:
    refusals = Refusals(retry_for_s=1000, max_bytes=1000)
    lines = []
    for at_s in range(int(LOG_EVERY_S) + 1):
        refusals.add(refused(at_s), at_s)
        lines.append(refusals.to_log("policy", at_s))
    assert [each for each in lines if each] == [1, int(LOG_EVERY_S)]


def test_unpublished_messages_lie_inside_a_gap_of_their_markets() -> None:
    unpublished = Unpublished()
    unpublished.add("A", NOW_US + 5, b"1", 100)
    unpublished.add("B", NOW_US, b"2", 101)
    assert unpublished.gaps(100 + COLLECT_S - 0.1) == []
    (gap,) = unpublished.gaps(100 + COLLECT_S)
    assert gap == Uncovered(
        NOW_US - EVENT_TIME_MARGIN_US, NOW_US + 5, GapCause.REFUSED_BY_KAFKA, ("A", "B")
    )
    assert unpublished.gaps(1000, finally_=True) == []
    unpublished.add("A", NOW_US + 9, b"3", 1000)
    assert len(unpublished.gaps(1000, finally_=True)) == 1
    assert list(unpublished.values) == [b"1", b"2", b"3"]


def gap(symbol: str, began_us: int, cause: GapCause = GapCause.SILENT) -> bytes:
    return message_format.encode_gap(
        Gap("wallex", "trades", cause, (symbol,), began_us, began_us + 10, False, began_us + 20)
    )


def test_merged_gaps_cover_what_their_parts_cover() -> None:
    values = [gap(symbol, NOW_US + n) for n in range(0, 100, 10) for symbol in "AB"]
    values.append(gap("A", NOW_US + 500, GapCause.REFUSED))
    merged = [message_format.decode_gap(each) for each in merged_gaps(values)]
    assert len(merged) == 3
    for value in values:
        part = message_format.decode_gap(value)
        assert any(
            {*part.symbols} <= {*each.symbols}
            and each.began_at_us <= part.began_at_us
            and part.ended_at_us <= each.ended_at_us
            and each.cause == part.cause
            for each in merged
        )
    many = [gap(f"S{n}", NOW_US) for n in range(2 * message_format.MAX_GAP_SYMBOLS)]
    assert len(merged_gaps(many, over_markets=True)) == 2


def test_waiting_watches_keep_their_newest_report() -> None:
    def watch(connection: str, ended_us: int) -> bytes:
        return message_format.encode_session(
            SessionReport(
                "wallex", "trades", connection, ("A",), NOW_US, ended_us, "open", 0, ended_us
            )
        )

    values = [watch(f"{n % 3:x}", NOW_US + n) for n in range(MAX_WAITING)]
    kept = [
        message_format.decode_session(each).ended_at_us - NOW_US for each in newest_sessions(values)
    ]
    assert kept == [MAX_WAITING - 3, MAX_WAITING - 2, MAX_WAITING - 1]
