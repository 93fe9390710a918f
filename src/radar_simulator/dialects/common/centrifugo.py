"""The Centrifugo server behind several exchanges: channels with offsets, epochs and recovery."""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from radar_simulator.dialects.common.base import (
    Action,
    Close,
    Dialect,
    Json,
    Outgoing,
    Session,
    Subscribe,
    Text,
    Topic,
    TopicKind,
    Unsubscribe,
    decoded,
    encode,
)
from radar_simulator.dialects.common.markets import BookUpdate, Market, Trade

BAD_REQUEST = Close(3501, "bad request")
JOIN_EVERY = 5
"""Each so many writes put their documents into one frame."""

STALE_US = 65_000_000
"""A connection that never sends `connect` is closed after so long."""


class CentrifugoDialect(Dialect):
    """A Centrifugo server; exchanges give the names of channels and the data of publications."""

    channel_limit = 128
    recoverable = True
    """Channels of trades keep a history."""
    goodbye_code = (3001, "shutdown")

    def __init__(self, markets: Sequence[Market]) -> None:
        super().__init__(markets)
        self._epoch = 0
        self._bases: dict[tuple[TopicKind, str], int] = {}
        self._followed: dict[tuple[TopicKind, str], int] = {}  # offsets of recorded frames
        self._channels: dict[str, tuple[TopicKind, str]] = {
            self.channel(kind, market): (kind, market.symbol)
            for market in markets
            for kind in ("trades", "book")
        }

    # What an exchange gives

    def channel(self, kind: TopicKind, market: Market) -> str:
        """Name a channel."""
        raise NotImplementedError

    def publications(self, market: Market, trades: Sequence[Trade]) -> Iterable[list[Trade]]:
        """Divide new trades into publications."""
        yield list(trades)

    def data_of_trades(self, market: Market, trades: Sequence[Trade]) -> Json:
        """Write a publication of trades."""
        raise NotImplementedError

    def data_of_book(self, market: Market, update: BookUpdate) -> Json:
        """Write a publication of a book."""
        raise NotImplementedError

    def on_subscribe(self, kind: TopicKind, market: Market) -> Sequence[tuple[Json, list[Trade]]]:
        """Return publications that every reply to a subscription holds."""
        return ()

    # Offsets

    @property
    def epoch(self) -> str:
        """Name of the epoch: four letters."""
        first = next(iter(self.markets.values())).first_id
        digest = hashlib.sha256(f"{first} {self._epoch}".encode()).digest()
        return "".join(chr(ord("a") + byte % 26) for byte in digest[:4])

    def position(self, kind: TopicKind, market: Market) -> int:
        """Return the number of publications of a channel since the start."""
        return market.trade_pubs if kind == "trades" else market.book_pubs

    def offset(self, kind: TopicKind, market: Market) -> int:
        """Return the offset of a channel's newest publication."""
        if (followed := self._followed.get((kind, market.symbol))) is not None:
            return followed
        return self.position(kind, market) - self._bases.get((kind, market.symbol), 0)

    def restart(self) -> None:
        """Begin a new epoch: offsets count from 1 again."""
        self._epoch += 1
        self._followed.clear()
        for kind, symbol in self._channels.values():
            self._bases[kind, symbol] = self.position(kind, self.markets[symbol])

    def follow(self, payload: str | bytes, *, before: bool) -> None:
        """Take over the offsets of a recorded frame."""
        text = payload if isinstance(payload, str) else payload.decode(errors="replace")
        for line in text.split("\n"):
            match decoded(line):
                case {"push": {"channel": str(channel), "pub": {"offset": int(offset)}}}:
                    if (found := self._channels.get(channel)) is not None:
                        self._followed[found] = offset - before

    # Connections

    def opened(self, session: Session, now_us: int) -> Iterable[Action]:
        """Say nothing before `connect`."""
        session.next_us = now_us + int(session.ping_s * 1e6)
        return ()

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle the commands of a frame, in order; an empty object is a pong."""
        text = message if isinstance(message, str) else message.decode(errors="replace")
        for line in text.split("\n"):
            if not line.strip():
                continue
            command = decoded(line)
            if not isinstance(command, dict):
                yield BAD_REQUEST
                return
            if not command:
                session.waiting_us = 0
                continue
            number = command.get("id")
            if type(number) is not int or not (session.greeted or "connect" in command):
                yield BAD_REQUEST
                return
            yield from self._command(session, command, number)

    def _command(self, session: Session, command: Json, number: int) -> Iterable[Action]:
        match command:
            case {"connect": dict()} if not session.greeted:
                session.greeted = True
                reply = {
                    "client": f"99e42487-8df1-46cd-a0d3-{session.number:012}",
                    "version": "6.4.0 OSS",
                    "ping": max(1, int(session.ping_s)),
                    "pong": True,
                }
                yield Text(encode({"id": number, "connect": reply}))
            case {"subscribe": {"channel": str(channel)} as asked}:
                yield from self._subscribe(session, channel, asked, number)
            case {"unsubscribe": {"channel": str(channel)}}:
                if topic := session.topics.pop(channel, None):
                    yield Unsubscribe(topic)
                yield Text(encode({"id": number, "unsubscribe": {}}))
            case {"ping": dict()}:
                yield Text(encode({"id": number, "ping": {}}))
            case _:
                yield BAD_REQUEST

    def _subscribe(
        self, session: Session, channel: str, asked: Json, number: int
    ) -> Iterable[Action]:
        """Subscribe any channel; the ones that do not exist never send a frame."""
        if channel in session.topics:
            yield _error(number, 105, "already subscribed")
            return
        if len(session.topics) >= self.channel_limit:
            yield _error(number, 106, "limit exceeded")
            return
        found = self._channels.get(channel)
        if found is None:
            session.topics[channel] = None
            yield Text(encode({"id": number, "subscribe": {}}))
            return
        kind, symbol = found
        market = self.markets[symbol]
        as_text = asked.get("delta") == "fossil"
        topic = Topic(kind, symbol, "text" if as_text else "")
        session.topics[channel] = topic
        yield Subscribe(topic)
        offset = self.offset(kind, market)
        reply: Json = {
            "recoverable": True,
            "epoch": self.epoch,
            "offset": offset,
            "positioned": True,
        }
        if as_text:
            reply["delta"] = True
        some: list[Trade] = []
        if asked.get("recover") is True and "offset" in asked:
            missed = self._missed(kind, market, asked)
            reply |= {"was_recovering": True, "recovered": missed is not None}
            for at, trades in missed or ():
                data = self.data_of_trades(market, trades)
                reply.setdefault("publications", []).append(_publication(topic, data, at))
                some += trades
        for data, trades in self.on_subscribe(kind, market) if "publications" not in reply else ():
            reply["publications"] = [_publication(topic, data, offset)]
            some += trades
        yield Text(encode({"id": number, "subscribe": reply}), some)

    def _missed(
        self, kind: TopicKind, market: Market, asked: Json
    ) -> list[tuple[int, list[Trade]]] | None:
        """Return the publications after a position, None if they are not kept."""
        offset, newest = asked.get("offset"), self.offset(kind, market)
        if asked.get("epoch") != self.epoch or type(offset) is not int or offset > newest:
            return None
        if offset == newest:
            return []
        kept = self.kept(market) if kind == "trades" and self.recoverable else []
        base = self._bases.get((kind, market.symbol), 0)
        missed = [(at - base, trades) for at, trades in kept if at - base > offset]
        return missed if missed and missed[0][0] == offset + 1 else None

    def kept(self, market: Market) -> list[tuple[int, list[Trade]]]:
        """Return the newest publications of trades, with their positions."""
        return list(market.publications)

    def keepalive(self, session: Session, now_us: int) -> Iterable[Action]:
        """Ping with an empty object, and close without an answer."""
        if not session.greeted:
            if now_us - session.opened_us > STALE_US:
                yield Close(3502, "stale")
        elif session.waiting_us and now_us - session.waiting_us > session.pong_s * 1e6 > 0:
            yield Close(3012, "no pong")
        elif session.ping_s and now_us >= session.next_us:
            session.next_us = now_us + int(session.ping_s * 1e6)
            session.waiting_us = session.waiting_us or now_us
            yield Text("{}")

    def frames(self, session: Session, payloads: list[str]) -> list[str]:
        """Now and then put several documents, and a ping, into one frame."""
        if session.flushes % JOIN_EVERY == 0 and session.greeted:
            return ["\n".join([*payloads, "{}"])]
        return payloads

    # The market

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write the publications of new trades."""
        market = self.markets[topic.symbol]
        parts = list(self.publications(market, trades))
        offset = self.offset("trades", market) - len(parts)
        for number, part in enumerate(parts, start=1):
            data = self.data_of_trades(market, part)
            yield Outgoing(self._push(topic, market, data, offset + number), part)

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Write the whole book."""
        data = self.data_of_book(update.market, update)
        yield Outgoing(self._push(topic, update.market, data, self.offset("book", update.market)))

    def _push(self, topic: Topic, market: Market, data: Json, offset: int) -> str:
        channel = self.channel(topic.kind, market)
        if (topic.kind, market.symbol) in self._followed:
            offset = 0  # the next recorded frame has the next offset
        return encode({"push": {"channel": channel, "pub": _publication(topic, data, offset)}})


def _publication(topic: Topic, data: Json, offset: int) -> Json:
    # A client that asked for deltas gets each document as a text.
    text = msgspec.json.encode(data).decode() if topic.form == "text" else data
    return {"data": text, "offset": offset} if offset else {"data": text}


def _error(number: int, code: int, message: str) -> Text:
    return Text(encode({"id": number, "error": {"code": code, "message": message}}))
