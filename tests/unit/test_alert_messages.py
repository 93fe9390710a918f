"""Messages say in plain words what is wrong and what to do; foreign text in them is harmless."""

import pytest

from radar.alerts import kinds
from radar.alerts.conditions import Condition, Key
from radar.alerts.kinds import Kind
from radar.alerts.messages import MAX_BODY_CHARACTERS, compose, harmless, trial_message
from radar.alerts.tracker import Change, Digest, Event
from radar.text import is_printable

SINCE_S = 1_782_864_000.0  # 2026-07-01T00:00:00Z


def event(change: Change, text: str, kind: Kind = kinds.STALL, subject: str = "x") -> Event:
    return Event(change, Condition(Key(kind, subject), text), SINCE_S, 95.0)


def test_message_about_a_problem() -> None:
    stall = event("begins", "wallex-trades has received no frame for 95 s", subject="wallex-trades")
    message = compose(Digest([stall], 0), "box", simulated=False)
    assert message.title == "radar on box: PROBLEM: stall (wallex-trades)"
    assert message.body == (
        "PROBLEM: wallex-trades has received no frame for 95 s\n"
        "since 2026-07-01T00:00:00Z\n"
        "to do: read the producer's log, and connect to the exchange from its machine"
        " (docs/operations.md#radarnodata)"
    )
    assert message.kind == "failure"


def test_message_about_a_recovery() -> None:
    over = event("over", "no frame for 95 s", subject="wallex-trades")
    message = compose(Digest([over], 0), "box", simulated=True)
    assert message.title == "radar on box (simulated exchange): OVER: stall (wallex-trades)"
    assert message.body == (
        "OVER after 95 s: frames arrive again (wallex-trades). Before: no frame for 95 s"
    )
    assert message.kind == "success"


def test_warning_is_no_failure_and_a_lasting_condition_says_for_how_long() -> None:
    message = compose(Digest([event("lasts", "x", kinds.GAP)], 0), "box", simulated=False)
    assert message.kind == "warning"
    assert "STILL: x\nsince 2026-07-01T00:00:00Z, for 95 s\n" in message.body


def test_storm_is_one_bounded_message_with_its_count() -> None:
    events = [event("begins", "y" * 5000, subject=f"s{n}") for n in range(200)]
    message = compose(Digest([*events, event("over", "z")], 7), "box", simulated=False)
    assert message.title == "radar on box: 201 conditions: 200 new, 1 over"
    assert "and 197 more: radar status lists all." in message.body
    assert message.body.endswith("7 more conditions came and passed meanwhile.")
    assert len(message.body) <= MAX_BODY_CHARACTERS


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[2J\x1b]0;owned\x07",
        "line\r\nSubject: other\n",
        "\u202egnp.exe",
        "<!channel> <script>alert(1)</script>",
        "@everyone **bold** `code`",
        "[click](https://evil.example/login)",
        "x" * 100_000,
        "\ud800",
    ],
)
def test_foreign_text_has_no_effect(hostile: str) -> None:
    found = event("begins", hostile, subject=hostile)
    message = compose(Digest([found], 0), hostile, simulated=False)
    assert len(message.title) < 400
    assert len(message.body) <= MAX_BODY_CHARACTERS
    assert is_printable(message.title)
    assert message.body.count("\n") == 2
    for text in (message.title, *message.body.split("\n")):
        assert is_printable(text)
        text.encode()  # no surrogate
        for character in "<>@[]`*":
            assert character not in text
        assert "://" not in text


def test_harmless_text_is_kept() -> None:
    text = "wallex-trades: no answer within 1 s; radar_trades is 3% full"
    assert harmless(text) == text
    assert "test" in trial_message("box").title
