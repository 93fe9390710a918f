"""The rate-limit gate of a producer: no request passes before the time that the exchange has set.

An exchange that limits rates answers 429, 418 or 503 with `Retry-After`, to REST requests and
handshakes alike. Some exchanges begin the ban anew with each request. So every request and every
handshake of a producer passes one gate, and each answer may close it for all.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import structlog

from radar.telemetry import metrics

TOO_MANY_REQUESTS: Final = 429
BANNED: Final = 418
UNAVAILABLE: Final = 503
# The longest wait: some exchanges ask for years by mistake.
MAX_WAIT_S = 3600.0
# The wait after 429 and 418 without a usable Retry-After; doubled with each answer in a row.
FIRST_WAIT_S = 5.0
LONGEST_GUESS_S = 60.0
# Retry-After has whole seconds, and the exchange's clock may round the other way.
MARGIN_S = 1.5
# Several producers share one address. Their bans in a row must not keep each other alive, so the
# margin grows, by a random amount.
MAX_MARGIN_S = 60.0
MAX_DIGITS = 9

_log = structlog.get_logger()


class RateLimitGate:
    """Holds requests back while the exchange wants none. For one event loop."""

    def __init__(self, exchange: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        """Start open.

        Args:
            exchange: Name of the exchange, for the metrics; empty shows none.
            clock: Returns the time in seconds; it must not go back.
        """
        self._clock = clock
        self._until = 0.0
        self._in_a_row = 0
        self._reason = ""
        self._closings = metrics.RATE_LIMITED.labels(exchange) if exchange else None
        self._wait = metrics.RATE_LIMIT_WAIT_SECONDS.labels(exchange) if exchange else None

    @property
    def left_s(self) -> float:
        """Return the seconds until the gate opens; 0 while it is open."""
        return max(0.0, self._until - self._clock())

    @property
    def reason(self) -> str:
        """Return until when no request is sent, and why; empty while the gate is open."""
        left_s = self.left_s
        if not left_s:
            return ""
        until = datetime.fromtimestamp(time.time() + left_s, UTC)
        return (
            f"the exchange limits the rate ({self._reason}): no request is sent before"
            f" {until:%H:%M:%S}Z"
        )

    async def passed(self) -> None:
        """Wait until a request may be sent; returns at once while the gate is open."""
        while left_s := self.left_s:  # noqa: ASYNC110 - time opens it, and it may close later
            await asyncio.sleep(left_s)

    def note_answer(
        self, status: int, headers: Mapping[str, str], body_wait_s: float | None = None
    ) -> None:
        """Take an answer of the exchange, which may close the gate or end the row of refusals.

        Args:
            status: The HTTP status.
            headers: Its headers; only Retry-After and Date are read.
            body_wait_s: The wait that its body asks for; None: it asks for none.
        """
        if status not in (TOO_MANY_REQUESTS, BANNED, UNAVAILABLE):
            if status < 400:
                self._in_a_row = 0
            return
        wanted_s = retry_after_s(headers.get("Retry-After", ""), headers.get("Date", ""))
        if body_wait_s is not None:
            wanted_s = min(MAX_WAIT_S, max(wanted_s or 0.0, body_wait_s))
        if wanted_s is None:
            if status == UNAVAILABLE:
                return  # an outage; the callers' ordinary backoff applies
            wanted_s = min(LONGEST_GUESS_S, FIRST_WAIT_S * 2.0**self._in_a_row)
            why = f"status {status}"
        else:
            why = f"status {status}, to wait for {wanted_s:.0f} s"
        self._close(wanted_s, why)

    def show(self) -> None:
        """Copy the state into the metrics."""
        if self._wait is not None:
            self._wait.set(self.left_s)

    def _close(self, wanted_s: float, why: str) -> None:
        was_open = not self.left_s
        if was_open:
            # Answers to requests that were under way together are one ban.
            self._in_a_row = min(self._in_a_row + 1, 16)
            if self._closings is not None:
                self._closings.inc()
        spread_s = min(MAX_MARGIN_S, 2.0 ** (self._in_a_row - 1)) if self._in_a_row > 1 else 0.0
        margin_s = MARGIN_S + random.uniform(0, spread_s)  # noqa: S311 - keeps no secret
        until = self._clock() + wanted_s + margin_s
        if until <= self._until:
            return
        self._until = until
        self._reason = why
        if was_open:
            _log.warning("the exchange limits the rate", reason=why, wait_s=round(self.left_s, 1))


def retry_after_s(value: str, date: str) -> float | None:
    """Return how long to wait, at most MAX_WAIT_S; None if the header is not usable.

    Args:
        value: Retry-After: whole seconds, or an HTTP date.
        date: The Date header of the same answer: the clock by which a date was meant.
    """
    text = value.strip()
    if text.isascii() and text.isdecimal():
        # More digits than any time has would take long to parse.
        return MAX_WAIT_S if len(text) > MAX_DIGITS else min(MAX_WAIT_S, float(text))
    until = _time_of(text)
    if until is None:
        return None
    now = _time_of(date.strip()) or datetime.now(UTC)
    return min(MAX_WAIT_S, max(0.0, (until - now).total_seconds()))


def _time_of(text: str) -> datetime | None:
    if not text or len(text) > 64:  # an HTTP date has 29 characters
        return None
    try:
        time_of = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return time_of.replace(tzinfo=time_of.tzinfo or UTC)
