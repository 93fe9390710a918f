"""An exchange that sends prepared frames as fast as they are read: it outruns any producer.

A raw server: the WebSocket library's own would be slower than the client that is measured.
"""

import argparse
import asyncio
import base64
import hashlib
import time
from itertools import cycle

from benchmarks.data import SYMBOLS
from radar_simulator import market as model
from radar_simulator import wire as exchange

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
CHUNK_FRAMES = 64
NO_TRADES = b'{"success":true,"result":{"latestTrades":[]}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def prepare(dataset: str, count: int) -> tuple[bytes, list[bytes]]:
    """Return the list of markets and the frames, from the simulator's model."""
    trades = dataset == "trades"
    markets = model.MarketModel(
        seed=1,
        symbols=SYMBOLS,
        trades_per_s=1000.0 if trades else 20.0,
        depth_per_s=0.0 if trades else 1000.0,
        twin_share=0.05,
    )
    body = exchange.markets_body(markets.markets.values())
    frames: list[bytes] = []
    now_s = time.time()
    markets.advance(now_s)
    while len(frames) < count:
        now_s += 0.2
        for event in markets.advance(now_s):
            if isinstance(event, model.SimulatedTrade):
                if trades:
                    frames.append(exchange.framed(exchange.trade_frame(event)))
            else:
                frames.append(exchange.framed(exchange.depth_frame(event.market, event.side)))
    return body, frames[:count]


class Replay:
    """Answers REST, and sends the frames round and round to whoever subscribes."""

    def __init__(self, markets: bytes, frames: list[bytes]) -> None:
        self._markets = markets
        chunks = range(0, len(frames), CHUNK_FRAMES)
        self._chunks = [b"".join(frames[at : at + CHUNK_FRAMES]) for at in chunks]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"Sec-WebSocket-Key" in head:
                    await self._send_frames(head, reader, writer)
                    return
                body = self._markets if b"/markets" in head else NO_TRADES
                writer.write(ANSWER % len(body) + body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _send_frames(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        accepted = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accepted + b"\r\n\r\n"
        )
        writer.write(exchange.framed(exchange.hello_frame("replay", 20.0)))
        await reader.read(1)  # the first subscription
        reading = asyncio.ensure_future(_discard(reader))
        try:
            for chunk in cycle(self._chunks):
                writer.write(chunk)
                await writer.drain()
        finally:
            reading.cancel()


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def _main(dataset: str, count: int, port: int) -> None:
    server = await asyncio.start_server(Replay(*prepare(dataset, count)).serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=("trades", "depth"))
    parser.add_argument("count", type=int)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.dataset, arguments.count, arguments.port))
