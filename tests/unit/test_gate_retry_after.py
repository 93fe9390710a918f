"""The gate: how long an exchange wants no requests, and that nothing passes before."""

import asyncio

import pytest

from radar.producer.rate_limit import (
    FIRST_WAIT_S,
    MARGIN_S,
    MAX_WAIT_S,
    RateLimitGate,
    retry_after_s,
)

DATE = "Sat, 28 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("20", 20.0),
        (" 20 ", 20.0),
        ("0", 0.0),
        ("Sat, 28 Nov 2026 10:00:30 GMT", 30.0),
        ("Sat, 28 Nov 2026 09:00:00 GMT", 0.0),
        ("Sat, 28 Nov 2099 10:00:00 GMT", MAX_WAIT_S),
        ("9" * 5000, MAX_WAIT_S),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("inf", None),
        ("٢٠", None),
        ("20, 30", None),
        ("Sat, 99 Nov 2026 10:00:30 GMT", None),
        ("x" * 100_000, None),
    ],
)
def test_retry_after_is_bounded_and_garbage_is_ignored(value: str, wait_s: float | None) -> None:
    assert retry_after_s(value, DATE) == wait_s


@pytest.mark.parametrize("status", [429, 418, 503])
def test_gate_is_closed_for_as_long_as_the_exchange_says(status: int) -> None:
    now = 100.0
    gate = RateLimitGate(clock=lambda: now)
    gate.note_answer(status, {"Retry-After": "20"})
    assert gate.left_s == pytest.approx(20 + MARGIN_S)
    assert f"status {status}, to wait for 20 s" in gate.reason
    # An answer that was under way says less.
    gate.note_answer(status, {"Retry-After": "5"})
    assert gate.left_s == pytest.approx(20 + MARGIN_S)
    now += 20 + MARGIN_S
    assert (gate.left_s, gate.reason) == (0, "")


def test_gate_without_a_usable_time_waits_longer_with_each_answer_but_not_for_an_outage() -> None:
    now = 0.0
    gate = RateLimitGate(clock=lambda: now)
    gate.note_answer(503, {})
    gate.note_answer(500, {"Retry-After": "20"})
    assert gate.left_s == 0
    gate.note_answer(429, {"Retry-After": "soon"})
    first_s = gate.left_s
    assert FIRST_WAIT_S <= first_s <= FIRST_WAIT_S + MARGIN_S
    now += first_s
    gate.note_answer(429, {})
    assert gate.left_s > 2 * FIRST_WAIT_S
    now += gate.left_s
    gate.note_answer(200, {})
    gate.note_answer(429, {})
    assert gate.left_s == pytest.approx(first_s)


def test_gate_that_is_closed_again_while_somebody_waits_lets_nobody_pass() -> None:
    async def wait() -> float:
        gate = RateLimitGate()
        gate._until = asyncio.get_running_loop().time() + 0.1
        waiting = asyncio.create_task(gate.passed())
        await asyncio.sleep(0)
        gate._until += 0.2
        until = gate._until
        await waiting
        return asyncio.get_running_loop().time() - until

    assert asyncio.run(wait()) >= 0
