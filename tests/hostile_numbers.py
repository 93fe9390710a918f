"""A hostile exchange in the dialect of Binance, whose trades carry numbers."""

import json
import time
from collections.abc import Awaitable, Callable, Iterable

from hostile_exchange import Answer, Peer, Script, frame
from radar.settings import Settings

SYMBOLS = ("AUSDT", "BUSDT")
PAGE_OF_NUMBERS = Callable[[str, int], list[int]]


def trade(symbol: str, number: int) -> bytes:
    """Return the frame of a trade."""
    data = {"e": "trade", "s": symbol, "t": number, "p": "1", "q": "1", "T": _now_ms(), "m": True}
    stream = f"{symbol.lower()}@trade"
    return frame(json.dumps({"stream": stream, "data": data}).encode())


def trades(symbol: str, numbers: Iterable[int]) -> bytes:
    """Return the frames of trades."""
    return b"".join(trade(symbol, number) for number in numbers)


def subscribed(send: Callable[[Peer], Awaitable[None]]) -> Script:
    """Return a script that accepts the subscriptions, sends, and waits until the client is gone."""

    async def script(peer: Peer) -> None:
        await peer.upgrade()
        await peer.send(frame(b'{"result":null,"id":1}'))
        await send(peer)
        await peer.until_gone()

    return script


def rest(symbols: Iterable[str] = SYMBOLS, page: PAGE_OF_NUMBERS = lambda _s, _n: []) -> Answer:
    """Return the answers of REST: these markets, no newest trades, and pages of older ones."""
    listed = [
        {"symbol": each, "status": "TRADING", "baseAsset": each[0], "quoteAsset": "USDT",
         "isSpotTradingAllowed": True}
        for each in symbols
    ]  # fmt: skip

    async def answer(peer: Peer, path: str) -> None:
        if "exchangeInfo" in path:
            await peer.answer(json.dumps({"symbols": listed}).encode())
            return
        rows = []
        if "historicalTrades" in path:
            query = dict(each.split("=") for each in path.partition("?")[2].split("&"))
            rows = [_row(number) for number in page(query["symbol"], int(query["fromId"]))]
        await peer.answer(json.dumps(rows).encode())

    return answer


def options(settings: Settings, port: int) -> Settings:
    """Return the options of a producer of this exchange."""
    addresses = {
        "binance_ws_url": f"ws://127.0.0.1:{port}",
        "binance_rest_url": f"http://127.0.0.1:{port}",
    }
    chosen = settings.model_copy(
        update={"exchanges": ("binance",), "reconnect_max_seconds": 0.5, **addresses}
    )
    return chosen.of_exchange("binance")


def _row(number: int) -> dict[str, object]:
    return {"id": number, "price": "1", "qty": "1", "time": _now_ms(), "isBuyerMaker": True}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
