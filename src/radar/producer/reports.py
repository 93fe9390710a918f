"""A producer's reports about itself: published when there is room, in order.

No report is dropped while Kafka takes none. To bound the memory, gaps are merged then: a merged gap
covers at least the times and markets of its parts.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import structlog

from radar.codec import message_format
from radar.datasets import GAPS, Dataset
from radar.errors import BufferFull, InvalidMessage
from radar.producer.publish import BufferedPublisher
from radar.records import Gap
from radar.telemetry import metrics

# Messages that wait; above it they are merged.
MAX_WAITING = 1000

_log = structlog.get_logger()


class Reports:
    """Messages that no caller waits for. No method blocks."""

    def __init__(self, buffer: BufferedPublisher, exchange: str, dataset: Dataset) -> None:
        self._buffer = buffer
        self._dataset = dataset
        self._invalid = metrics.INVALID_FRAMES.labels(exchange, dataset.name)
        self._messages: deque[tuple[bytes, bytes]] = deque()  # without room yet

    @property
    def waiting(self) -> int:
        """Messages for which the buffer has had no room yet."""
        return len(self._messages)

    def put(self, key: bytes, value: bytes) -> None:
        """Take a message; `poll` publishes it. One that workers would refuse is left out."""
        try:
            self._dataset.decode(value)
        except InvalidMessage as error:
            self._invalid.inc()
            _log.error("report left out", dataset=self._dataset.name, reason=str(error))
            return
        self._messages.append((key, value))
        if len(self._messages) > MAX_WAITING:
            self._merge()

    def poll(self) -> None:
        """Publish messages while there is room; call it many times a second.

        Raises:
            BrokerUnavailable: Kafka can no longer be used.
        """
        # Refused messages are sent again first: the rest waits here, where it can be merged.
        while self._messages and not self._buffer.refused:
            try:
                self._buffer.publish(*self._messages[0])
            except BufferFull:
                break
            self._messages.popleft()
        self._buffer.poll()

    def _merge(self) -> None:
        key = self._messages[0][0]
        values = [value for _, value in self._messages]
        merged = merged_gaps(values) if self._dataset is GAPS else newest_sessions(values)
        if len(merged) > MAX_WAITING // 2:
            merged = (
                merged_gaps(merged, over_markets=True)
                if self._dataset is GAPS
                else merged[-MAX_WAITING // 2 :]
            )
        lost = len(values) - len(merged)
        _log.warning("reports merged: Kafka takes none", dataset=self._dataset.name, fewer=lost)
        self._messages = deque((key, value) for value in merged)


def merged_gaps(values: Iterable[bytes], *, over_markets: bool = False) -> list[bytes]:
    """Merge gaps of one cause; each result covers at least the times and markets of its parts.

    Args:
        values: Messages of gaps.
        over_markets: Also merge gaps of different markets.
    """
    groups: dict[tuple[object, ...], list[message_format.GapMessage]] = {}
    for gap in map(message_format.decode_gap, values):
        of = () if over_markets else tuple(gap.symbols)
        groups.setdefault((gap.source, gap.record_kind, gap.cause, *of), []).append(gap)
    return [
        message_format.encode_gap(
            Gap(
                source=gaps[0].source,
                record_kind=gaps[0].record_kind,
                cause=gaps[0].cause,
                symbols=symbols,
                began_at_us=min(each.began_at_us for each in gaps),
                ended_at_us=max(each.ended_at_us for each in gaps),
                repaired=all(each.repaired for each in gaps),
                received_at_us=max(each.received_at_us for each in gaps),
            )
        )
        for gaps in groups.values()
        for symbols in _parts(sorted({symbol for each in gaps for symbol in each.symbols}))
    ]


def newest_sessions(values: Iterable[bytes]) -> list[bytes]:
    """Keep the newest report of each session.

    If there are too many sessions, the oldest are left out: their time counts as not recorded.
    """
    newest: dict[tuple[str, int], bytes] = {}
    for value in values:
        session = message_format.decode_session(value)
        name = (session.connection, session.began_at_us)
        newest.pop(name, None)
        newest[name] = value
    return list(newest.values())


def _parts(symbols: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(symbols), message_format.MAX_GAP_SYMBOLS):
        yield tuple(symbols[start : start + message_format.MAX_GAP_SYMBOLS])
