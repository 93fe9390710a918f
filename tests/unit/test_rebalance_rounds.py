"""Rounds of a rebalance: who asks for the next one waits for those of the last one."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from radar.local import kafka_requests, rebalance_rounds
from radar.local.kafka_requests import JOIN_GROUP, SYNC_GROUP, group_of, is_granted
from radar.local.rebalance_rounds import GroupRounds

GROUP = b"group"


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def waits(rounds: GroupRounds, group: bytes = GROUP) -> bool:
    """Whether a request to join is held now."""
    held = asyncio.ensure_future(rounds.next_round(group))
    for _ in range(5):
        await asyncio.sleep(0)
    done = held.done()
    held.cancel()
    return not done


@pytest.mark.parametrize("api_key", [JOIN_GROUP, SYNC_GROUP])
@in_a_loop
async def test_a_join_waits_for_the_answers_of_the_round_before(api_key: int) -> None:
    rounds = GroupRounds()
    for member in (1, 2, 3):
        rounds.asked(api_key, GROUP, member)
    assert not await waits(rounds), "nobody was answered"
    rounds.answered(api_key, GROUP, 1, granted=True)
    held = asyncio.ensure_future(rounds.next_round(GROUP))
    rounds.answered(api_key, GROUP, 2, granted=True)
    assert await waits(rounds)
    assert not await waits(rounds, b"another group")
    rounds.answered(api_key, GROUP, 3, granted=True)
    await held
    assert not await waits(rounds)


@in_a_loop
async def test_a_refused_member_ends_no_round() -> None:
    rounds = GroupRounds()
    rounds.asked(JOIN_GROUP, GROUP, 1)
    rounds.asked(JOIN_GROUP, GROUP, 2)
    rounds.answered(JOIN_GROUP, GROUP, 1, granted=False)
    assert not await waits(rounds)


@in_a_loop
async def test_a_member_whose_connection_ended_is_owed_no_answer() -> None:
    rounds = GroupRounds()
    rounds.asked(JOIN_GROUP, GROUP, 1)
    rounds.asked(JOIN_GROUP, GROUP, 2)
    rounds.answered(JOIN_GROUP, GROUP, 1, granted=True)
    assert await waits(rounds)
    rounds.answered(JOIN_GROUP, GROUP, 2, granted=False)
    assert not await waits(rounds)


@in_a_loop
async def test_a_join_is_held_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebalance_rounds, "HOLD_S", 0.01)
    rounds = GroupRounds()
    rounds.asked(JOIN_GROUP, GROUP, 1)
    rounds.asked(JOIN_GROUP, GROUP, 2)
    rounds.answered(JOIN_GROUP, GROUP, 1, granted=True)
    await asyncio.wait_for(rounds.next_round(GROUP), 10)


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def short(value: bytes) -> bytes:
    return bytes([len(value) + 1]) + value


def request(api_key: int, version: int, body: bytes) -> bytes:
    frame = api_key.to_bytes(2, "big") + version.to_bytes(2, "big") + bytes(4) + text(b"client")
    frame += body
    return len(frame).to_bytes(4, "big") + frame


@pytest.mark.parametrize(
    ("api_key", "version", "body"),
    [
        (JOIN_GROUP, 5, text(GROUP) + bytes(8) + text(b"") + b"\xff\xff" + text(b"c") + bytes(4)),
        (
            JOIN_GROUP, 6,
            b"\0" + short(GROUP) + bytes(8) + short(b"") + b"\0" + short(b"c") + b"\1\0",
        ),
        (SYNC_GROUP, 3, text(GROUP) + bytes(4) + text(b"m") + b"\xff\xff" + bytes(4)),
        (SYNC_GROUP, 4, b"\0" + short(GROUP) + bytes(4) + short(b"m") + b"\0\1\0"),
    ],
)  # fmt: skip
def test_the_group_is_read_from_a_request(api_key: int, version: int, body: bytes) -> None:
    frame = request(api_key, version, body)
    assert kafka_requests.check(frame).is_answered
    assert group_of(frame) == GROUP


@pytest.mark.parametrize(
    ("api_key", "version", "before"),
    [(JOIN_GROUP, 1, 0), (JOIN_GROUP, 5, 4), (JOIN_GROUP, 6, 5),
     (SYNC_GROUP, 0, 0), (SYNC_GROUP, 3, 4), (SYNC_GROUP, 4, 5)],
)  # fmt: skip
def test_the_error_is_read_from_an_answer(api_key: int, version: int, before: int) -> None:
    for error, granted in ((b"\0\0", True), (b"\0\x1b", False)):
        assert is_granted(api_key, version, bytes(8 + before) + error + b"\1\1") is granted
