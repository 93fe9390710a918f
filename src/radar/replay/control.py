"""The control of a replay over HTTP, beside the exchange's own paths.

    GET /replay/status               what it does, where it is
    GET /replay/pause, /replay/resume
    GET /replay/speed?value=10       or max
    GET /replay/seek?to=TIME         see `radar.periods`; ages count from now

Every answer is the status after it.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from radar.errors import ConfigurationError
from radar.periods import parse_time, unix_us_of
from radar.replay.pace import FASTEST
from radar.replay.player import Player
from radar.replay.records import Period, Records
from radar_simulator.dialects.common.base import Answer
from radar_simulator.server import Control

PREFIX = "/replay/"
HEADER = "X-Radar-Replayed"
"""Every answer carries it: how its content was made."""

REBUILT, FRAMES = "rebuilt", "frames"
"""Frames are made of records, in the exchange's protocol; or, where they were kept, recorded."""

SLOWEST = 0.01
# Longer than any time.
MAX_TIME_CHARACTERS = 40


def control(player: Player, records: Records) -> Control:
    """Return the requests that control a replay."""
    period, made = records.period, content(records)

    def answer(path: str, query: Mapping[str, str]) -> Answer:
        try:
            _obey(player, path, query)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        except KeyError:
            return _json({"error": "no such command: status, pause, resume, speed, seek"}, 404)
        return _json(status(player, period, made))

    return Control(PREFIX, answer, {HEADER: made}, player.ready)


def status(player: Player, period: Period, made: str) -> dict[str, object]:
    """Return what the replay does, for machines."""
    at = player.position
    return {
        "exchange": period.exchange,
        "content": made,
        "stage": at.stage.value,
        "moment": iso(at.moment_us),
        "begin": iso(period.begin_us),
        "end": iso(period.end_us),
        "speed": "max" if at.speed == FASTEST else at.speed,
        "events": at.events,
        "subscriptions": at.subscriptions,
        "held_up": at.is_held_up,
    }


def content(records: Records) -> str:
    """Return how the content of a period's answers is made."""
    return FRAMES if records.connections else REBUILT


def parse_speed(text: str) -> float:
    """Parse a speed: recorded seconds a second, or max.

    Raises:
        ValueError: It is neither.
    """
    if text == "max":
        return FASTEST
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not SLOWEST <= speed < math.inf:
        raise ValueError(f"{text[:40]!r} is no speed: give a number from {SLOWEST} up, or max")
    return speed


def iso(time_us: int) -> str:
    """Write a time in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(time_us // 1_000 / 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_us // 1_000 % 1_000:03}Z"


def _obey(player: Player, path: str, query: Mapping[str, str]) -> None:
    match path:
        case "status":
            pass
        case "pause":
            player.pause()
        case "resume":
            player.resume()
        case "speed":
            player.set_speed(parse_speed(query.get("value", "")))
        case "seek":
            player.seek(_moment_us(query.get("to", "")))
        case _:
            raise KeyError(path)


def _moment_us(text: str) -> int:
    try:
        return unix_us_of(parse_time(text[:MAX_TIME_CHARACTERS], datetime.now(UTC)))
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _json(value: Mapping[str, object], code: int = 200) -> Answer:
    return Answer(code, json.dumps(value).encode())
