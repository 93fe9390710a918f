"""The ledger: every frame that the simulated exchange sent, for the reconciliation.

A trade frame goes through three states on each subscribed connection. It is *handed* to the socket.
It is *confirmed* once the peer's kernel has acknowledged it, or the peer has answered the closing
handshake that followed it. It is *uncertain* if the connection ended before that. A disconnected
slow client and a cut connection leave uncertain frames, never sent ones. A reconciliation must find
every `sent` trade, and may find every `possible` one.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol, Self

import msgspec

from radar_simulator import wire
from radar_simulator.errors import InvalidLedger
from radar_simulator.market import SimulatedTrade

FLUSH_LINES = 5_000
"""Lines buffered at most before they are written."""


class Numbered(Protocol):
    """A trade of any dialect."""

    @property
    def number(self) -> int:
        """Position among all trades of the run, from 1."""


class LedgerTrade(msgspec.Struct, kw_only=True):
    """One trade that happened on the simulated exchange.

    Attributes:
        seq: Position among all trades of the run, from 1.
        symbol: Market as on the wire.
        timestamp: As on the wire, in the resolution of the exchange.
        price: As on the wire, except that it is in Toman where the wire has Rial.
        quantity: As on the wire.
        side: `buy` if the taker bought, else `sell`.
        sent_to: Live, subscribed connections that its frame was handed to when it happened.
        uncertain_to: Connections that ended before its arrival was confirmed; not in `sent_to`.
        via_rest: It was served by REST at least once.
        via_resend: It was sent again to a new subscription at least once.
        native_id: The exchange's ID of it; empty if it has none.
    """

    seq: int
    symbol: str
    timestamp: str
    price: str
    quantity: str
    side: Literal["buy", "sell"]
    sent_to: int = 0
    uncertain_to: int = 0
    via_rest: bool = False
    via_resend: bool = False
    native_id: str = ""

    @property
    def sent(self) -> bool:
        """A recorder must hold it: at least one connection received it when it happened."""
        return self.sent_to > 0

    @property
    def possible(self) -> bool:
        """A recorder may hold it: the exchange sent it over some way."""
        return self.sent or self.uncertain_to > 0 or self.via_rest or self.via_resend

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Everything that the wire carries of it; equal trades share it, so compare multisets."""
        return self.symbol, self.timestamp, self.price, self.quantity, self.side


class LedgerSummary(msgspec.Struct, kw_only=True):
    """Counters of a run.

    Attributes:
        trades_generated: Trades that happened.
        trades_sent: Trades handed to at least one connection when they happened.
        trades_unsent: The others; REST or a resend may have served them all the same.
        trades_uncertain: Trades of which at least one connection ended before confirming.
        trades_served_rest: Trades served by REST at least once.
        trades_served_resend: Trades sent again to a new subscription at least once.
        trades_forgotten: Trades dropped from memory, oldest first; the file still has them.
        twins: Trades that look exactly like an earlier one of the same second.
        trade_frames_sent: Trade frames handed to sockets, counting each connection and resends.
        depth_frames_sent: Depth frames handed to sockets, counting each connection.
        depth_frames_by_channel: The same by channel.
        garbage_frames_sent: Frames sent by the fault `garbage`.
        connections_opened: WebSocket connections accepted.
        connections_open: Connections open now.
        closes: Closed connections by reason.
        faults: Faults applied, by name.
        quiet: The exchange has been quiesced.
        drained: No frame that was handed to a socket waits for confirmation.
    """

    trades_generated: int = 0
    trades_sent: int = 0
    trades_unsent: int = 0
    trades_uncertain: int = 0
    trades_served_rest: int = 0
    trades_served_resend: int = 0
    trades_forgotten: int = 0
    twins: int = 0
    trade_frames_sent: int = 0
    depth_frames_sent: int = 0
    depth_frames_by_channel: dict[str, int] = {}
    garbage_frames_sent: int = 0
    connections_opened: int = 0
    connections_open: int = 0
    closes: dict[str, int] = {}
    faults: dict[str, int] = {}
    quiet: bool = False
    drained: bool = True


class Ledger:
    """Keeps the ledger in memory and, given a path, in an append-only NDJSON file.

    A line is an object with `type`: `start`, `trade`, `uncertain`, `served`, `connection`,
    `fault`, and `end` with the summary. Lines are buffered: call `flush` regularly. Writing
    blocks for as long as the disk takes.
    """

    def __init__(self, path: Path | None, memory_trades: int) -> None:
        """Open the ledger.

        Args:
            path: File to append to, created with its folder; None keeps it in memory only.
            memory_trades: Trades kept in memory, at least 1; the oldest are forgotten first.

        Raises:
            OSError: If the file cannot be opened.
        """
        self._trades: dict[int, LedgerTrade] = {}
        self._memory_trades = memory_trades
        self._summary = LedgerSummary()
        self._closes: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._depth: Counter[str] = Counter()
        self._second = ""
        self._seen: set[tuple[str, str, str, str, str]] = set()
        self._lines: list[bytes] = []
        self._encoder = msgspec.json.Encoder()
        self._file: IO[bytes] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, **facts: Any) -> None:
        """Write the facts that identify this run."""
        self._write({"type": "start", **facts})

    def trade(self, trade: SimulatedTrade) -> LedgerTrade:
        """Add a trade that has just happened and was sent to no connection yet."""
        entry = LedgerTrade(
            seq=trade.number,
            symbol=trade.listing.symbol,
            timestamp=wire.timestamp(trade.second),
            price=wire.trade_price(trade),
            quantity=wire.trade_quantity(trade),
            side="buy" if trade.is_buy else "sell",
        )
        self.add(entry)
        return entry

    def add(self, entry: LedgerTrade) -> None:
        """Add a trade that has just happened; their `seq` counts up by one."""
        if entry.timestamp != self._second:
            self._second = entry.timestamp
            self._seen.clear()
        if entry.key in self._seen:
            self._summary.twins += 1
        self._seen.add(entry.key)
        self._summary.trades_generated += 1
        self._trades[entry.seq] = entry
        if len(self._trades) > self._memory_trades:
            # Not the first key of the dictionary: finding it slows down with each deletion.
            del self._trades[entry.seq - self._memory_trades]
            self._summary.trades_forgotten += 1

    def handed(self, entry: LedgerTrade) -> None:
        """Count one connection that the trade's frame was handed to when it happened."""
        entry.sent_to += 1
        self._summary.trade_frames_sent += 1
        if entry.sent_to == 1 and entry.uncertain_to == 0:
            self._summary.trades_sent += 1

    def settle(self, entries: Iterable[LedgerTrade]) -> None:
        """Write trades to the file, after they were handed to all their connections."""
        if self._file is not None:
            for entry in entries:
                self._write({"type": "trade", **msgspec.to_builtins(entry)})

    def uncertain(self, entry: LedgerTrade) -> None:
        """Take back one delivery: its connection ended before the frame was confirmed."""
        entry.sent_to -= 1
        entry.uncertain_to += 1
        if entry.sent_to == 0:
            self._summary.trades_sent -= 1
        if entry.uncertain_to == 1:
            self._summary.trades_uncertain += 1
        self._write({"type": "uncertain", "seq": entry.seq})

    def served(self, trade: Numbered, via: Literal["rest", "resend"]) -> None:
        """Mark a trade as served by REST or sent again to a new subscription."""
        entry = self._trades.get(trade.number)
        if via == "resend":
            self._summary.trade_frames_sent += 1
        if entry is None or (entry.via_rest if via == "rest" else entry.via_resend):
            return
        if via == "rest":
            entry.via_rest = True
            self._summary.trades_served_rest += 1
        else:
            entry.via_resend = True
            self._summary.trades_served_resend += 1
        self._write({"type": "served", "seq": entry.seq, "via": via})

    def depth(self, channels: list[str]) -> None:
        """Count the depth frames handed to one connection, by their channels."""
        self._summary.depth_frames_sent += len(channels)
        self._depth.update(channels)

    def garbage(self, frames: int) -> None:
        """Count frames of garbage handed to one connection."""
        self._summary.garbage_frames_sent += frames

    def opened(self, connection: int) -> None:
        """Record that a connection was accepted."""
        self._summary.connections_opened += 1
        self._summary.connections_open += 1
        self._write({"type": "connection", "id": connection, "event": "open", "at": time.time()})

    def closed(self, connection: int, reason: str) -> None:
        """Record that a connection has ended, and why."""
        self._summary.connections_open -= 1
        self._closes[reason] += 1
        self._write(
            {
                "type": "connection",
                "id": connection,
                "event": "close",
                "reason": reason,
                "at": time.time(),
            }
        )

    def fault(self, name: str, facts: dict[str, Any]) -> None:
        """Record a fault as it is applied."""
        self._faults[name] += 1
        self._write({"type": "fault", "fault": name, "at": time.time(), **facts})

    def summary(self, *, quiet: bool = False, drained: bool = True) -> LedgerSummary:
        """Return the counters as they are now."""
        return msgspec.structs.replace(
            self._summary,
            trades_unsent=self._summary.trades_generated - self._summary.trades_sent,
            depth_frames_by_channel=dict(self._depth),
            closes=dict(self._closes),
            faults=dict(self._faults),
            quiet=quiet,
            drained=drained,
        )

    def trades(self) -> list[LedgerTrade]:
        """Return the trades in memory, oldest first."""
        return list(self._trades.values())

    def flush(self) -> None:
        """Write the buffered lines to the file; blocks for as long as the disk takes."""
        if self._file is not None and self._lines:
            self._file.write(b"\n".join([*self._lines, b""]))
            self._file.flush()
        self._lines.clear()

    def close(self) -> None:
        """Write the summary and close the file. May be called twice."""
        if self._file is not None:
            self._write({"type": "end", "summary": self.summary()})
            self.flush()
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        self._lines.append(self._encoder.encode(line))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()


def read_ledger(path: Path) -> list[LedgerTrade]:
    """Read the trades of a ledger file at once; see `stream_ledger`."""
    return list(stream_ledger(path))


def stream_ledger(path: Path) -> Iterator[LedgerTrade]:
    """Yield the trades of a ledger file, with their later states.

    The file is read twice, and a few bytes per trade are kept. A last line that was cut off, by a
    killed process or because it is being written, is left out. A file with several runs gives the
    trades of all of them.

    Args:
        path: The file.

    Yields:
        The trades, oldest first.

    Raises:
        InvalidLedger: If a line other than the last cannot be read.
        OSError: If the file cannot be read.
    """
    uncertain, served = bytearray(), bytearray()  # of each trade in the file
    base: int | None = None  # of a run: index = base + seq
    for line in _lines(path):
        if line.type == "start":
            base = None
        elif line.type == "trade":
            base = len(uncertain) - line.seq if base is None else base
            if base + line.seq != len(uncertain):
                raise InvalidLedger(f"{path}: trade {line.seq} is out of order")
            uncertain.append(0)
            served.append(0)
        elif line.type in ("uncertain", "served"):
            index = -1 if base is None else base + line.seq
            if not 0 <= index < len(uncertain):
                raise InvalidLedger(f"{path}: trade {line.seq} is not in the ledger")
            if line.type == "uncertain":
                uncertain[index] += 1
            else:
                served[index] |= _VIA_REST if line.via == "rest" else _VIA_RESEND
    trades = (line for line in _lines(path) if line.type == "trade")
    for index, line in zip(range(len(uncertain)), trades, strict=False):
        yield LedgerTrade(
            seq=line.seq,
            symbol=line.symbol,
            timestamp=line.timestamp,
            price=line.price,
            quantity=line.quantity,
            side=line.side,
            sent_to=line.sent_to - uncertain[index],
            uncertain_to=line.uncertain_to + uncertain[index],
            via_rest=line.via_rest or bool(served[index] & _VIA_REST),
            via_resend=line.via_resend or bool(served[index] & _VIA_RESEND),
            native_id=line.native_id,
        )


def ledger_exchange(path: Path) -> str:
    """Return the name of the exchange that a file's simulated one imitates; blocks.

    Raises:
        InvalidLedger: If it does not begin with a line of the type `start`.
    """
    for line in _lines(path):
        if line.type == "start":
            return line.exchange
        break
    raise InvalidLedger(f"{path} does not begin as a ledger does")


def ledger_started_us(path: Path) -> int:
    """Return when the first run of a ledger file began, Unix time.

    Raises:
        InvalidLedger: If it does not begin with a line of the type `start`.
        OSError: If the file cannot be read.
    """
    for line in _lines(path):
        if line.type == "start" and line.at:
            return int(line.at * 1_000_000)
        break
    raise InvalidLedger(f"{path}: does not begin as a ledger")


class _Line(msgspec.Struct):
    """A line of the file; which members it has depends on its type."""

    type: str
    exchange: str = "wallex"
    at: float = 0.0
    seq: int = 0
    via: str = ""
    symbol: str = ""
    timestamp: str = ""
    price: str = ""
    quantity: str = ""
    side: Literal["buy", "sell"] = "buy"
    sent_to: int = 0
    uncertain_to: int = 0
    via_rest: bool = False
    via_resend: bool = False
    native_id: str = ""


_VIA_REST, _VIA_RESEND = 1, 2


def _lines(path: Path) -> Iterator[_Line]:
    decode = msgspec.json.Decoder(_Line).decode
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = decode(raw)
            except msgspec.MsgspecError as error:
                if not raw.endswith(b"\n"):
                    return
                raise InvalidLedger(f"{path}: line {number} is not a ledger line") from error
            if raw.endswith(b"\n"):
                yield line
