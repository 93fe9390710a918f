"""Records sessions: which connection delivered which markets, from when to when, and why it ended.

A session that lasts is published again every half a minute. So a killed producer loses at most the
last half a minute. All messages of a session become one row, so no time counts twice.
"""

import time
from dataclasses import dataclass
from typing import Protocol

from radar.clock import unix_us
from radar.codec import message_format
from radar.datasets import Dataset
from radar.producer.redundancy import Deliveries
from radar.producer.reports import Reports
from radar.records import OPEN, SessionReport

REPORT_EVERY_S = 30.0


class SessionConnection(Protocol):
    """A connection, as far as its session is concerned."""

    @property
    def connection_name(self) -> str:
        """Its random name."""

    @property
    def covered(self) -> tuple[str, ...]:
        """The markets that the exchange delivers on it."""

    @property
    def last_frame_us(self) -> int:
        """When its newest frame arrived, Unix time; 0 before the first."""

    @property
    def deliveries(self) -> Deliveries:
        """How many of its trades redundant connections brought as well."""


@dataclass
class _Open:
    name: str
    began_at_us: int
    reported_at_s: float  # monotonic
    both: int  # deliveries of the connection before
    alone: int


class SessionRecorder:
    """Publishes each session while it lasts and at its end. No method blocks."""

    def __init__(self, source: str, dataset: Dataset, reports: Reports, interval_s: float) -> None:
        """Start without a connection.

        Args:
            source: Name of the exchange.
            dataset: The recorded dataset.
            reports: The publisher of the sessions.
            interval_s: At most one snapshot of each side of a book in this time; 0: every snapshot.
        """
        self._source = source
        self._dataset = dataset
        self._reports = reports
        self._interval_ms = round(interval_s * 1000)
        self._open: dict[SessionConnection, _Open] = {}

    def begin(self, connection: SessionConnection) -> None:
        """Begin a session: a connection has subscribed, or is read again."""
        before = connection.deliveries
        self._open[connection] = session = _Open(
            connection.connection_name,
            unix_us(),
            time.monotonic(),
            before.both,
            before.alone,
        )
        self._publish(connection, session, OPEN)

    def pause(self, connection: SessionConnection, reason: str) -> None:
        """End the session of a connection that is no longer read; a second call has no effect."""
        if (session := self._open.pop(connection, None)) is not None:
            self._publish(connection, session, reason)

    def end(self, connection: SessionConnection, reason: str) -> None:
        """End the session of a connection that has ended."""
        self.pause(connection, reason)

    def poll(self) -> None:
        """Publish the sessions that last, when it is time; call it often."""
        now_s = time.monotonic()
        for connection, session in self._open.items():
            if now_s >= session.reported_at_s + REPORT_EVERY_S:
                self._publish(connection, session, OPEN)
                session.reported_at_s = now_s

    def _publish(self, connection: SessionConnection, session: _Open, reason: str) -> None:
        record = SessionReport(
            source=self._source,
            record_kind=self._dataset.name,
            connection=session.name,
            symbols=connection.covered,
            began_at_us=session.began_at_us,
            ended_at_us=max(session.began_at_us, connection.last_frame_us),
            end_reason=reason,
            interval_ms=self._interval_ms,
            received_at_us=unix_us(),
            both=connection.deliveries.both - session.both,
            alone=connection.deliveries.alone - session.alone,
        )
        key = message_format.message_key(self._source, self._dataset.name)
        self._reports.put(key, message_format.encode_session(record))
