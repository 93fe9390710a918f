"""Version 2 of the messages, frozen: bytes as they stand in topics, and their values.

Never change an entry. Only snapshots have this version: their numbers follow the object.
"""

from typing import Any

PACKED: list[tuple[bytes, dict[str, Any]]] = [
    (
        b'{"v":2,"kind":"depth","source":"wallex","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
        b'"side":"bid","verified":true}\n'
        + bytes.fromhex(
            "195649de89560600008047de89560600110000000000000000a493d600000000"
            "7b14ae47a187ee405c8fc2f5087bee4080812040868e3d3f745e6397a8de9a3f"
        ),
        {
            "v": 2, "kind": "depth", "source": "wallex", "symbol": "BTCUSDT", "base": "BTC",
            "quote": "USDT", "side": "bid", "prices": [62525.04, 62424.28],
            "quantities": [0.000451, 0.02624], "received_at_us": 1784000000120345,
            "event_time_us": 1784000000000000, "sequence": 17, "verified": True,
            "set_back_us": 3600000000,
        },
    ),
    (
        b'{"v":2,"kind":"depth","source":"wallex","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
        b'"side":"ask"}\n'
        + bytes.fromhex(
            "1a5649de89560600000000000000000000000000000000000000000000000000"
        ),
        {
            "v": 2, "kind": "depth", "source": "wallex", "symbol": "BTCUSDT", "base": "BTC",
            "quote": "USDT", "side": "ask", "prices": [], "quantities": [],
            "received_at_us": 1784000000120346, "event_time_us": 0, "sequence": 0,
            "verified": False, "set_back_us": 0,
        },
    ),
]  # fmt: skip
