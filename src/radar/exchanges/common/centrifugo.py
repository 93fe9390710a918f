"""Centrifugo: the server product behind Nobitex, Bitpin and Ramzinex; JSON over WebSocket.

Facts are from the product's documentation and source [doc] unless marked: [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced.

One frame may hold several documents, one a line. A publication may have an offset that counts by
one within an epoch of its channel, so a jump proves a loss.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from radar.clock import received_after
from radar.errors import InvalidFrame
from radar.exchanges.base import (
    NEVER_US,
    Event,
    Goodbye,
    Hello,
    Lost,
    Refused,
    Send,
    Stream,
    Subscribed,
    UnreadBook,
    brief,
)
from radar.exchanges.common.literals import NOT_DECODABLE
from radar.records import DepthSnapshot, GapCause, Market, Trade

CONNECT_ID = 1
COMMANDS_PER_FRAME = 50
MAX_DOCUMENTS = 1_000  # of one frame
AGAIN_US = 5_000_000  # after a temporary error
ALREADY_SUBSCRIBED = 105
TEMPORARY = frozenset((100, 111))  # internal error, too many requests
UNRECOVERABLE = 112  # the server has lost the publications after the position
SUBSCRIBE_AGAIN = 2_500  # and above: codes of the server's own unsubscriptions


class Position(NamedTuple):
    """How far a channel was read.

    Attributes:
        epoch: Offsets count within it. Without one the channel keeps no history, and its offsets
            prove losses within one subscription only.
        offset: The newest one; 0 before the first publication.
        received_at_us: When it arrived.
    """

    epoch: str
    offset: int
    received_at_us: int


_Offset = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Publication(Struct):
    data: Raw
    offset: _Offset = 0  # numbers begin at 1; 0 is a publication without one


class _Reason(Struct):
    code: int = 0
    reason: str = ""


class _Error(Struct):
    code: int = 0
    message: str = ""
    temporary: bool = False


class _Push(Struct):
    channel: str = ""
    pub: _Publication | None = None
    unsubscribe: _Reason | None = None
    disconnect: _Reason | None = None


class _Connected(Struct):
    client: str = ""


class _Reply(Struct):
    """The answer to a subscription."""

    epoch: Annotated[str, Meta(max_length=64)] = ""
    offset: _Offset = 0
    publications: list[Raw] = []


class _Document(Struct):
    id: int = 0
    connect: _Connected | None = None
    subscribe: _Reply | None = None
    error: _Error | None = None
    push: _Push | None = None
    disconnect: _Reason | None = None


_PING = _Document()
_documents = msgspec.json.Decoder(_Document)
_publications = msgspec.json.Decoder(_Publication)
_texts = msgspec.json.Decoder(str)


class CentrifugoStream(Stream):
    """One connection; a driver names the channels and reads the data of their publications."""

    def __init__(
        self,
        channels: Mapping[str, Market],
        memory: MutableMapping[str, object],
        *,
        offsets_prove: bool,
        of_books: bool = False,
    ) -> None:
        """Prepare.

        Args:
            channels: The market of each channel.
            memory: How far the channel of each market was read by earlier connections, by symbol;
                kept up to date.
            offsets_prove: A missing publication is a loss. It is none if each one holds the whole
                state, such as a book.
            of_books: Each publication is a whole book.
        """
        self._channels = channels
        self._memory = memory
        # Its own: another connection may be ahead, and this one still has to bring everything.
        self._positions = {
            channel: position
            for channel, market in channels.items()
            if isinstance(position := memory.get(market.symbol), Position)
        }
        self._offsets_prove = offsets_prove
        self._of_books = of_books
        self._requests: dict[int, str] = {}  # channel by ID of the command
        self._newest_id = CONNECT_ID
        self._again: dict[str, int] = {}  # channels to subscribe to again, and when
        self._subscribed: set[str] = set()
        self._newest_us = 0  # when the newest record counts as received

    def read(self, market: Market, data: Raw, received_at_us: int) -> Iterable[Event]:
        """Return the records of one publication.

        Raises:
            ValueError: It is not one of the documentation.
        """
        raise NotImplementedError

    def opened(self) -> list[Event]:
        """Return the greeting and all subscriptions; answers need not be awaited [doc]."""
        commands = [f'{{"connect":{{}},"id":{CONNECT_ID}}}']
        commands += [self._subscription(channel) for channel in self._channels]
        return [
            Send("\n".join(commands[start : start + COMMANDS_PER_FRAME]))
            for start in range(0, len(commands), COMMANDS_PER_FRAME)
        ]

    def receive(self, frame: bytes, received_at_us: int) -> Iterator[Event]:
        """Yield the events of a frame's documents; a bad one does not harm the others."""
        lines = frame.split(b"\n", MAX_DOCUMENTS)
        fault = "too many documents in a frame" if len(lines) > MAX_DOCUMENTS else ""
        for line in lines[:MAX_DOCUMENTS]:
            if not line.strip():
                continue
            try:
                yield from self._take(_documents.decode(line), received_at_us)
            except NOT_DECODABLE as error:
                fault = fault or brief(str(error))
        if fault:
            raise InvalidFrame(f"not a frame of the documentation: {fault}")

    def keepalive(self, now_us: int) -> tuple[list[Event], int]:
        """Return the subscriptions to repeat after a temporary error."""
        due = [channel for channel, at_us in self._again.items() if at_us <= now_us]
        for channel in due:
            del self._again[channel]
        sends: list[Event] = [Send(self._subscription(channel)) for channel in due]
        return sends, min(self._again.values(), default=now_us + AGAIN_US if due else NEVER_US)

    def _subscription(self, channel: str) -> str:
        self._newest_id += 1
        self._requests[self._newest_id] = channel
        wanted: dict[str, object] = {"channel": channel}
        position = self._positions.get(channel)
        # Without an epoch the channel keeps no history, and recovery would be refused.
        if position is not None and position.epoch:
            wanted |= {"recover": True, "epoch": position.epoch, "offset": position.offset}
        return msgspec.json.encode({"id": self._newest_id, "subscribe": wanted}).decode()

    def _take(self, document: _Document, received_at_us: int) -> Iterator[Event]:
        if document == _PING:
            yield Send("{}", is_pong=True)
        elif document.push is not None:
            yield from self._pushed(document.push, received_at_us)
        elif document.disconnect is not None:
            yield Goodbye(brief(document.disconnect.reason) or "disconnect")
        elif document.id == CONNECT_ID:
            yield self._greeted(document)
        elif (channel := self._requests.pop(document.id, None)) is not None:
            yield from self._answered(channel, document, received_at_us)
        elif not document.id:
            raise ValueError("neither a push nor an answer")

    def _greeted(self, answer: _Document) -> Event:
        if answer.error is None:
            return Hello(brief(answer.connect.client) if answer.connect is not None else "")
        reason = _reason(answer.error)
        if _is_temporary(answer.error):
            return Goodbye(reason)
        return Refused(tuple(market.symbol for market in self._channels.values()), reason)

    def _answered(self, channel: str, answer: _Document, received_at_us: int) -> Iterator[Event]:
        symbol = self._channels[channel].symbol
        error = answer.error
        if error is not None and error.code != ALREADY_SUBSCRIBED:
            before = self._positions.get(channel)
            if _is_temporary(error):
                self._again[channel] = received_at_us + AGAIN_US
            elif error.code == UNRECOVERABLE and before is not None:
                yield from self._lose(channel, before.received_at_us)
                del self._positions[channel]
                yield Send(self._subscription(channel))
            else:
                yield Refused((symbol,), _reason(error))
            return
        reply = answer.subscribe or _Reply()
        publications, fault = _readable(reply.publications)
        if error is None:
            first = publications[0].offset if publications else 0
            begin = first - 1 if first else reply.offset
            yield from self._go_on(channel, Position(reply.epoch, begin, received_at_us), reply)
        self._subscribed.add(channel)
        yield Subscribed((symbol,))
        for publication in publications:
            try:
                yield from self._published(channel, publication, received_at_us)
            except NOT_DECODABLE as bad:
                fault = fault or str(bad)
        position = self._positions.get(channel)
        if position is not None and position.epoch == reply.epoch:
            yield from self._skip_to(channel, position, reply.offset)
        if fault:
            raise ValueError(fault)

    def _go_on(self, channel: str, begin: Position, reply: _Reply) -> Iterator[Event]:
        """Compare the position of a new subscription with the one before.

        A server that starts again begins a new epoch, or its offsets are lower. What it sent in
        between is unknown; the gap of a connection that ended covers it, and REST closes that.
        """
        before = self._positions.get(channel)
        if before is None or before.epoch != reply.epoch or reply.offset < before.offset:
            if before is not None and channel in self._subscribed:
                yield from self._lose(channel, before.received_at_us)
            if reply.epoch:
                self._move(channel, begin)
            else:
                self._positions.pop(channel, None)

    def _pushed(self, push: _Push, received_at_us: int) -> Iterator[Event]:
        if push.disconnect is not None:
            yield Goodbye(brief(push.disconnect.reason) or "disconnect")
            return
        market = self._channels.get(push.channel)
        if market is None:
            raise ValueError(f"unknown channel {push.channel[:100]!r}")
        if push.unsubscribe is not None:
            if push.unsubscribe.code < SUBSCRIBE_AGAIN:
                yield Refused((market.symbol,), brief(push.unsubscribe.reason) or "unsubscribed")
                return
            before = self._positions.get(push.channel)
            # With an epoch the answer to the new subscription shows what is missing.
            if before is None or not before.epoch:
                since_us = before.received_at_us if before is not None else received_at_us
                yield from self._lose(push.channel, since_us)
            yield Send(self._subscription(push.channel))
        elif push.pub is not None:
            yield from self._published(push.channel, push.pub, received_at_us)

    def _published(
        self, channel: str, publication: _Publication, received_at_us: int
    ) -> Iterator[Event]:
        market = self._channels[channel]
        before = self._positions.get(channel)
        if publication.offset:
            if before is not None:
                if publication.offset <= before.offset:
                    return  # it came before: recovery overlaps
                yield from self._skip_to(channel, before, publication.offset - 1)
            epoch = before.epoch if before is not None else ""
            self._move(channel, Position(epoch, publication.offset, received_at_us))
        data = publication.data
        if bytes(data).startswith(b'"'):
            data = Raw(_texts.decode(data).encode())  # as if delta compression had been asked for
        at_us = received_after(received_at_us, self._newest_us)
        if self._of_books and self.may_leave_unread:
            self._newest_us = at_us
            read = partial(self._read_book, market, data, at_us)
            yield UnreadBook(market.symbol, at_us, len(bytes(data)), read)
            return
        for event in self.read(market, data, at_us):
            if isinstance(event, Trade | DepthSnapshot):
                self._newest_us = event.received_at_us
            yield event

    def _read_book(self, market: Market, data: Raw, received_at_us: int) -> list[DepthSnapshot]:
        try:
            events = list(self.read(market, data, received_at_us))
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"not a book of the documentation: {brief(str(error))}") from error
        return [event for event in events if isinstance(event, DepthSnapshot)]

    def _move(self, channel: str, position: Position) -> None:
        self._positions[channel] = position
        symbol = self._channels[channel].symbol
        known = self._memory.get(symbol)
        if position.epoch and (
            not isinstance(known, Position)
            or known.epoch != position.epoch
            or known.offset < position.offset
        ):
            self._memory[symbol] = position

    def _skip_to(self, channel: str, before: Position, last: int) -> Iterator[Event]:
        """Report the publications after a position, up to an offset, as lost."""
        if last > before.offset:
            yield from self._lose(channel, before.received_at_us, before.offset + 1, last)
            self._move(channel, before._replace(offset=last))

    def _lose(self, channel: str, since_us: int, first: int = 0, last: int = 0) -> Iterator[Event]:
        if self._offsets_prove:
            symbol = self._channels[channel].symbol
            yield Lost(symbol, GapCause.SEQUENCE, since_us, first, last)


def _reason(error: _Error) -> str:
    return brief(error.message) or f"error {error.code}"


def _is_temporary(error: _Error) -> bool:
    return error.temporary or error.code in TEMPORARY


def _readable(entries: Iterable[Raw]) -> tuple[list[_Publication], str]:
    """Return the publications that can be read, and the fault of another one."""
    publications: list[_Publication] = []
    fault = ""
    for entry in entries:
        try:
            publications.append(_publications.decode(entry))
        except NOT_DECODABLE as error:
            fault = str(error)
    return publications, fault


def in_order(trades: Iterable[Trade], received_at_us: int) -> list[Trade]:
    """Return trades of one publication by time, each received 1 µs later than the one before.

    Trades of one time stay in the order in which they are given.
    """
    ordered = sorted(trades, key=lambda trade: trade.event_time_us or trade.event_time_ms * 1000)
    return [
        msgspec.structs.replace(trade, received_at_us=received_at_us + place)
        for place, trade in enumerate(ordered)
    ]
