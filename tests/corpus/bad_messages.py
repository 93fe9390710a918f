"""Kafka messages that can never become rows, each with the reason for which it is refused.

A case is its name, its value as it stands in Kafka (None is a message without a value) and the
reason category that its dead letter must carry. `FOREIGN` is bad for every dataset; `TRADE_CASES`
and `DEPTH_CASES` are good messages of one dataset with one thing wrong.
"""

import bz2
import gzip
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from radar.codec import message_format
from radar.datasets import DEPTH, TRADES

RECEIVED_AT_US = 1_784_000_000_120_345
EVENT_TIME_MS = 1_784_000_000_000
MEGABYTE = 1 << 20

GOOD_TRADE: Mapping[str, Any] = {
    "v": 1,
    "kind": "trade",
    "trade_id": "0f" * 16,
    "source": "wallex",
    "symbol": "USDTTMN",
    "base": "USDT",
    "quote": "TMN",
    "side": "sell",
    "price": "31704.5",
    "base_amount": "705",
    "event_time_ms": EVENT_TIME_MS,
    "received_at_us": RECEIVED_AT_US,
    "native_id": "5f0d",
    "sequence": 17,
    "event_time_us": EVENT_TIME_MS * 1000,
    "set_back_us": 0,
}
# Members that came after the first release; a message without them is an older one.
ADDED = frozenset(("native_id", "sequence", "event_time_us", "verified", "set_back_us"))
GOOD_DEPTH: Mapping[str, Any] = {
    "v": 1,
    "kind": "depth",
    "source": "wallex",
    "symbol": "BTCUSDT",
    "base": "BTC",
    "quote": "USDT",
    "side": "bid",
    "prices": [62525.04, 62424.28],
    "quantities": [0.000451, 0.02624],
    "received_at_us": RECEIVED_AT_US,
    "event_time_us": EVENT_TIME_MS * 1000,
    "sequence": 17,
    "verified": True,
    "set_back_us": 3_600_000_000,
}


class Case(NamedTuple):
    """A bad message of one dataset."""

    name: str
    value: bytes | None
    reason: str


def trade(**changes: Any) -> bytes:
    """Return a good trade with members replaced; bytes are taken as JSON as they are."""
    time_ms = changes.get("event_time_ms")
    if isinstance(time_ms, int) and 0 < time_ms < message_format.MAX_TIME_MS:
        changes = {"event_time_us": time_ms * 1000} | changes
    return _message(GOOD_TRADE, changes)


def depth(**changes: Any) -> bytes:
    """Return a good depth snapshot with members replaced; bytes are taken as JSON as they are."""
    return _message(GOOD_DEPTH, changes)


def _message(good: Mapping[str, Any], changes: Mapping[str, Any]) -> bytes:
    raw = {name: Raw(v) if isinstance(v, bytes) else v for name, v in changes.items()}
    return msgspec.json.encode({**good, **raw})


def _without(good: Mapping[str, Any], name: str) -> bytes:
    return msgspec.json.encode({each: value for each, value in good.items() if each != name})


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


TRADE, DEPTH_ = trade(), depth()

FOREIGN = [
    # Nothing, or not JSON
    Case("null value", None, "empty"),
    Case("empty", b"", "json"),
    Case("one space", b" ", "json"),
    Case("white space", b" \t\r\n" * 50, "json"),
    Case("NUL", b"\0", "json"),
    Case("many NULs", b"\0" * 4096, "json"),
    Case("text", b"not json", "json"),
    Case("brace", b"{", "json"),
    Case("closing brace", b"}", "json"),
    Case("quote", b'"', "json"),
    Case("minus", b"-", "json"),
    Case("comma", b",", "json"),
    Case("single quotes", b"{'v': 1}", "json"),
    Case("names without quotes", b"{v: 1}", "json"),
    Case("comment", b'/* v1 */ {"v":1}', "json"),
    Case("line comment", b'// v1\n{"v":1}', "json"),
    Case("hash comment", b'# v1\n{"v":1}', "json"),
    Case("comma at the end of an object", b'{"v":1,}', "json"),
    Case("two commas", b'{"v":1,,"kind":"trade"}', "json"),
    Case("no colon", b'{"v" 1}', "json"),
    Case("number as name", b"{1:1}", "json"),
    Case("undefined", b"undefined", "json"),
    Case("Python's None", b"None", "json"),
    Case("Python's True", b"True", "json"),
    Case("NaN", b"NaN", "json"),
    Case("Infinity", b"Infinity", "json"),
    Case("minus Infinity", b"-Infinity", "json"),
    Case("hexadecimal number", b"0x10", "schema"),
    Case("leading zero", b"012", "json"),
    Case("leading plus", b"+1", "json"),
    Case("point without digits", b"1.", "json"),
    # JSON, but no object
    Case("null", b"null", "schema"),
    Case("true", b"true", "schema"),
    Case("number", b"42", "schema"),
    Case("zero", b"0", "schema"),
    Case("huge integer", b"9" * 5000, "schema"),
    Case("huge exponent", b"1e999", "schema"),
    Case("string", b'"trade"', "schema"),
    Case("message within a string", _json(TRADE.decode()), "schema"),
    Case("empty array", b"[]", "schema"),
    Case("message within an array", b"[" + TRADE + b"]", "schema"),
    Case("values without names", b'[1,"trade","wallex","USDTTMN"]', "schema"),
    # Objects of others
    Case("empty object", b"{}", "schema"),
    Case("object of another program", b'{"hello":"world"}', "schema"),
    Case("version only", b'{"v":1}', "schema"),
    Case("next version", b'{"v":2,"kind":"trade","id":1}', "schema"),
    Case("unknown kind", b'{"v":1,"kind":"candle","open":1}', "schema"),
    Case("message within an object", b'{"payload":' + TRADE + b"}", "schema"),
    Case("own dead letter", b'{"reason":"json","topic":"radar_trades","offset":7}', "schema"),
    Case("Wallex frame of a trade", b'["USDTTMN@trade",{"isBuyOrder":false,"quantity":"705.0",'
         b'"price":"31704.0","timestamp":"2026-06-26T11:14:09Z"}]', "schema"),
    Case("Wallex frame of a depth", b'["BTCUSDT@buyDepth",[{"price":1,"quantity":1}]]', "schema"),
    Case("Binance trade", b'{"e":"trade","E":1784000000000,"s":"BNBBTC","t":12345,"p":"0.001",'
         b'"q":"100","T":1784000000000,"m":true,"M":true}', "schema"),
    Case("Binance depth", b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","1"]]}',
         "schema"),
    Case("Coinbase match", b'{"type":"match","trade_id":10,"size":"5.2","price":"400.23",'
         b'"side":"sell","product_id":"BTC-USD"}', "schema"),
    Case("Kraken trade", b'[337,[["5541.20","0.15","1534614057.32","s","l",""]],"trade","XBT/USD"]',
         "schema"),
    Case("Nobitex book", b'{"status":"ok","lastUpdate":1784000000000,"bids":[["31704","705"]]}',
         "schema"),
    Case("socket.io frame", b'42["message",{"channel":"USDTTMN@trade"}]', "schema"),
    Case("Debezium envelope", b'{"schema":{"type":"struct"},"payload":{"before":null,'
         b'"after":{"id":1},"op":"c","ts_ms":1784000000000}}', "schema"),
    Case("Debezium tombstone", b'{"schema":null,"payload":null}', "schema"),
    Case("CloudEvent", b'{"specversion":"1.0","type":"trade","source":"/x","id":"1","data":{}}',
         "schema"),
    Case("Avro with schema id", b"\0\0\0\0\x07\x0cwallex\x0eUSDTTMN\x02\x80\xb8\xf6", "json"),
    Case("Avro container", b"Obj\x01\x04\x16avro.schema\x1a{\"type\":\"int\"}\0", "json"),
    Case("Protocol Buffers", b"\x0a\x06wallex\x12\x07USDTTMN\x18\x01\x21\0\0\0\0\0\xf6\xde@",
         "json"),
    Case("MessagePack", msgspec.msgpack.encode(dict(GOOD_TRADE)), "json"),
    Case("CBOR", b"\xa2aV\x01dkindetrade", "json"),
    Case("BSON", b"\x16\0\0\0\x02kind\0\x06\0\0\0trade\0\0", "json"),
    Case("XML", b'<?xml version="1.0"?><trade><price>1</price></trade>', "json"),
    Case("XML entity bomb", b'<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><l>&b;</l>',
         "json"),
    Case("HTML error page", b"<html><body><h1>502 Bad Gateway</h1></body></html>", "json"),
    Case("YAML", b"v: 1\nkind: trade\nprice: '1'\n", "json"),
    Case("TOML", b'v = 1\nkind = "trade"\n', "json"),
    Case("CSV", b"wallex,USDTTMN,sell,31704.5,705\n", "json"),
    Case("INI", b"[trade]\nprice=1\n", "schema"),
    Case("SQL", b"'; DROP TABLE trades_master; --", "json"),
    Case("shell", b"$(reboot)", "json"),
    Case("log line", b"2026-06-26 11:14:09 ERROR something failed", "schema"),
    Case("HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "json"),
    Case("Python pickle", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07USDTTMN\x94.", "json"),
    Case("gzip", gzip.compress(TRADE, mtime=0), "json"),
    Case("zlib", zlib.compress(TRADE), "json"),
    Case("bzip2", bz2.compress(TRADE), "json"),
    Case("PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "json"),
    Case("doubles", struct.pack("<8d", *range(8)), "json"),
    Case("ClickHouse native", b"\x01\x01\x05price\x06String\x011", "json"),
    Case("JSON sequence separator", b"\x1e" + TRADE, "json"),
    # Encodings
    Case("UTF-8 with a byte order mark", b"\xef\xbb\xbf" + TRADE, "json"),
    Case("UTF-16", TRADE.decode().encode("utf-16"), "json"),
    Case("UTF-16 without a mark", TRADE.decode().encode("utf-16-le"), "json"),
    Case("UTF-32", TRADE.decode().encode("utf-32"), "json"),
    Case("EBCDIC", TRADE.decode().encode("cp500"), "json"),
    Case("bytes of no UTF-8", b"\xff\xfe" * 10, "json"),
    Case("every byte", bytes(range(256)), "json"),
    Case("every byte backwards", bytes(range(255, -1, -1)), "json"),
    Case("overlong quote", b'{\xc0\xa2v\xc0\xa2:1}', "json"),
    Case("no-break space first", b"\xc2\xa0" + TRADE, "json"),
    Case("right-to-left mark first", b"\xe2\x80\x8f" + TRADE, "json"),
    Case("zero-width space first", b"\xe2\x80\x8b" + TRADE, "json"),
    Case("Persian text", "۱۲۳ تومان".encode(), "json"),
    # Nesting and size
    Case("deep arrays", b"[" * 100_000, "schema"),
    Case("deep closed arrays", b"[" * 100_000 + b"]" * 100_000, "schema"),
    Case("deep objects", b'{"v":' * 100_000, "schema"),
    Case("only a deep unknown member", b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "json"),
    Case("megabyte of letters", b"a" * MEGABYTE, "json"),
    Case("megabyte of zeros", b"\0" * MEGABYTE, "json"),
    Case("megabyte of spaces", b" " * MEGABYTE, "json"),
    Case("megabyte of digits", b"1" * MEGABYTE, "schema"),
    Case("megabyte string", b'"' + b"a" * MEGABYTE + b'"', "schema"),
    Case("string without an end", b'"' + b"a" * MEGABYTE, "json"),
    Case("megabyte of escapes", b'"' + b"\\u0041" * (MEGABYTE // 6) + b'"', "schema"),
    Case("megabyte of empty arrays", b"[" + b"[]," * (MEGABYTE // 3) + b"[]]", "schema"),
    Case("three megabytes of members",
         b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(200_000)) + b"}", "schema"),
    Case("three megabytes of noise", zlib.compress(bytes(3)) + b"\xa5" * (3 * MEGABYTE), "json"),
]  # fmt: skip

_NAMES_OF_NOTHING: list[tuple[str, Any]] = [
    ("empty", ""),
    ("a space", " "),
    ("a space at the end", "USDT "),
    ("a space first", " USDT"),
    ("a line break at the end", "USDT\n"),
    ("a NUL", "US\0DT"),
    ("33 characters", "A" * 33),
    ("a megabyte", "A" * MEGABYTE),
    ("Persian letters", "تتر"),
    ("Arabic digits", "USDT١٢"),
    ("a right-to-left mark", "USDT\u200f"),
    ("a right-to-left override", "\u202eTDSU"),
    ("a zero-width joiner", "US\u200dDT"),
    ("a byte order mark", "\ufeffUSDT"),
    ("Cyrillic lookalikes", "USDТ"),
    ("an emoji", "🚀"),
    ("a combining accent", "USD\u0301T"),
    ("a quote", "US'DT"),
    ("SQL", "x'); DROP TABLE trades;--"),
    ("a path", "../../etc/passwd"),
    ("a backslash", "US\\DT"),
    ("a number", 7),
    ("true", True),
    ("an array", ["USDT"]),
    ("an object", {"USDT": 1}),
    ("a lone high surrogate", rb'"\ud800"'),
    ("a lone low surrogate", rb'"\udc00"'),
    ("swapped surrogates", rb'"\udc00\ud800"'),
    ("a broken escape", rb'"\u12"'),
    ("an unknown escape", rb'"\x41"'),
    ("a raw line break", b'"US\nDT"'),
    ("a raw NUL", b'"US\0DT"'),
    ("Latin-1", b'"\xe9\xe8"'),
    ("a cut character", b'"USDT\xe2\x80"'),
    ("an encoded surrogate", b'"\xed\xa0\x80"'),
    ("an overlong character", b'"\xc1\x81"'),
    ("a character beyond Unicode", b'"\xf4\x90\x80\x80"'),
]
# These are refused by the JSON parser, the others by what a name may be.
_NO_JSON_NAMES = {
    "a lone high surrogate", "a lone low surrogate", "swapped surrogates", "a broken escape",
    "an unknown escape", "a raw line break", "a raw NUL", "Latin-1", "a cut character",
    "an encoded surrogate", "an overlong character", "a character beyond Unicode",
}  # fmt: skip

_AMOUNTS_OF_NOTHING: list[tuple[str, Any, str]] = [
    ("zero", "0", "amount"),
    ("a number", 31704.5, "schema"),
    ("an integer", 31704, "schema"),
    ("a huge exponent", b"1e999", "schema"),
    ("false", False, "schema"),
    ("an array", ["1"], "schema"),
    ("an object", {"value": "1"}, "schema"),
    ("empty", "", "schema"),
    ("a space", " ", "schema"),
    ("a space first", " 1", "schema"),
    ("a space at the end", "1 ", "schema"),
    ("a line break at the end", "1\n", "schema"),
    ("a NUL at the end", "1\0", "schema"),
    ("negative", "-1", "schema"),
    ("negative zero", "-0", "schema"),
    ("a plus", "+1", "schema"),
    ("NaN", "NaN", "schema"),
    ("a signalling NaN", "sNaN", "schema"),
    ("infinity", "Infinity", "schema"),
    ("inf", "inf", "schema"),
    ("an exponent", "1e3", "schema"),
    ("a bomb of an exponent", "1e1000000", "schema"),
    ("a negative exponent", "1e-7", "schema"),
    ("no whole part", ".5", "schema"),
    ("no fraction", "5.", "schema"),
    ("a point", ".", "schema"),
    ("two points", "1.2.3", "schema"),
    ("a leading zero", "01", "schema"),
    ("many leading zeros", "0000000001", "schema"),
    ("a zero at the end", "1.50", "schema"),
    ("a fraction of zero", "1.0", "schema"),
    ("zero with a fraction", "0.0", "schema"),
    ("nineteen places", "0.1234567890123456789", "schema"),
    ("twenty-one digits", "123456789012345678901", "schema"),
    ("a hundred digits", "9" * 100, "schema"),
    ("a megabyte of digits", "9" * MEGABYTE, "schema"),
    ("an underscore", "1_000", "schema"),
    ("a comma", "1,000", "schema"),
    ("a decimal comma", "1,5", "schema"),
    ("an apostrophe", "1'000", "schema"),
    ("Persian digits", "۱۲۳", "schema"),
    ("Arabic digits", "١٢٣", "schema"),
    ("Arabic decimal point", "1٫5", "schema"),
    ("full-width digits", "１２３", "schema"),
    ("superscripts", "1²", "schema"),
    ("a fraction sign", "½", "schema"),
    ("hexadecimal", "0x10", "schema"),
    ("a unit", "31704 TMN", "schema"),
    ("a right-to-left mark", "\u200f1", "schema"),
    ("a minus sign of typography", "−1", "schema"),
    ("a lone surrogate", rb'"1\ud800"', "json"),
]

_TIMES_OF_NOTHING: list[tuple[str, Any, str]] = [
    ("zero", 0, "schema"),
    ("negative", -1, "schema"),
    ("far negative", -(2**63), "schema"),
    ("one second after 1970", 1_000_000, "schema"),
    ("beyond 64 bits", 2**64, "schema"),
    ("the greatest 64-bit integer", 2**63 - 1, "schema"),
    ("a hundred digits", b"9" * 100, "schema"),
    ("a fraction", b"1784000000000.5", "schema"),
    ("a huge exponent", b"1e999", "schema"),
    ("text", "1784000000000", "schema"),
    ("a date", "2026-06-26T11:14:09Z", "schema"),
    ("a Jalali date", "۱۴۰۵/۰۴/۰۵", "schema"),
    ("true", True, "schema"),
    ("an array", [1_784_000_000_000], "schema"),
    ("NaN", b"NaN", "json"),
    ("a leading zero", b"01784000000000", "json"),
]


def _common(good: Mapping[str, Any], other_side: str, other_dataset: str) -> list[Case]:
    """Return what can be wrong with the members that all datasets have."""
    text = msgspec.json.encode(good)
    return [
        Case("twice", text + text, "json"),
        Case("two lines", text + b"\n" + text, "json"),
        Case("NUL at the end", text + b"\0", "json"),
        Case("comma at the end", text + b",", "json"),
        Case("garbage at the end", text + b"x", "json"),
        Case("byte order mark at the end", text + b"\xef\xbb\xbf", "json"),
        Case("upside down", text[::-1], "json"),
        Case("names in capitals", text.replace(b'"source"', b'"SOURCE"'), "schema"),
        Case("escaped quotes", text.replace(b'"', b'\\"'), "json"),
        Case("unknown member of another encoding", text[:-1] + b',"\xff":1}', "json"),
        Case("unknown member with a lone surrogate", text[:-1] + b',"\\ud800":1}', "json"),
        Case("deep unknown member",
             text[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "json"),
        Case("unknown member twice", text[:-1] + b',"x":1,"x":1}', "json"),
        Case("unknown member that is no JSON", text[:-1] + b',"x":NaN}', "json"),
        *(Case(f"cut at {at}", text[:at], "json") for at in (2, 5, 20, 90, len(text) - 1)),
        *(
            Case(f"without {name}", _without(good, name), "schema")
            for name in good
            if name not in ADDED
        ),
        *(Case(f"null as {name}", _message(good, {name: None}), "schema") for name in good),
        *(
            Case(f"{name} twice", text[:-1] + b"," + _json(name) + b":" + member + b"}", "json")
            for name, value in good.items()
            for member in [_json(value)]
        ),
        Case("another side first", text.replace(b'"side"', b'"side":"%s","side"' %
             other_side.encode()), "schema"),
        *(
            Case(f"version {version!r}", _message(good, {"v": version}), "schema")
            for version in (0, 2, -1, 1.5, "1", True, [1], 2**70, b"1e999")
        ),
        Case("version NaN", _message(good, {"v": b"NaN"}), "json"),
        *(
            Case(f"kind {dataset!r}", _message(good, {"kind": dataset}), "schema")
            for dataset in (other_dataset, "", "Trade", "DEPTH", "trade\0", "trades", 1, ["trade"])
        ),
        *(
            Case(f"side {side!r}", _message(good, {"side": side}), "schema")
            for side in (other_side, "", "hold", "BUY", "Bid", "خرید", 1, True, ["bid"])
        ),
        *(
            Case(f"base: {what}", _message(good, {"base": value}),
                 "json" if what in _NO_JSON_NAMES else "schema")
            for what, value in _NAMES_OF_NOTHING
        ),
        *(
            Case(f"{name}: {what}", _message(good, {name: value}), "schema")
            for name in ("source", "symbol", "quote")
            for what, value in (("empty", ""), ("NUL", "\0"), ("33 characters", "A" * 33),
                                ("a number", 1))
        ),
        *(
            Case(f"received_at_us: {what}", _message(good, {"received_at_us": value}), reason)
            for what, value, reason in _TIMES_OF_NOTHING
        ),
        Case("received before 2015",
             _message(good, {"received_at_us": message_format.MIN_TIME_MS * 1000 - 1}), "schema"),
        Case("received in 2100",
             _message(good, {"received_at_us": message_format.MAX_TIME_MS * 1000}), "schema"),
        Case("received, in milliseconds", _message(good, {"received_at_us": EVENT_TIME_MS}),
             "schema"),
        Case("received, in nanoseconds",
             _message(good, {"received_at_us": RECEIVED_AT_US * 1000}), "schema"),
    ]  # fmt: skip


def _levels(count: int) -> list[float]:
    return [1.0] * count


_BAD_NUMBERS = {
    "negative": b"-1",
    "text": b'"17"',
    "with a point": b"1.5",
    "with an exponent": b"1e400",
    "too large": str(message_format.MAX_NUMBER + 1).encode(),
}
_BROKEN_NUMBERS = {"leading zero": b"017", "underscore": b"1_0", "plus": b"+1", "missing": b""}


def _set_back(make: Callable[..., bytes]) -> list[Case]:
    """Return cases of a clock that was set back by no number, or by too much."""
    good = make(set_back_us=17)
    reaches_2100 = message_format.MAX_TIME_MS * 1000 - RECEIVED_AT_US
    return [
        *(
            Case(f"set_back_us: {name}", make(set_back_us=value), "schema")
            for name, value in _BAD_NUMBERS.items()
        ),
        *(
            Case(f"set_back_us: {name}", good.replace(b":17}", b":%b}" % value), "json")
            for name, value in _BROKEN_NUMBERS.items()
        ),
        Case("set_back_us to 2100", make(set_back_us=reaches_2100), "time"),
    ]


TRADE_CASES = [
    *_common(GOOD_TRADE, other_side="bid", other_dataset="depth"),
    Case("depth snapshot", DEPTH_, "schema"),
    *(
        Case(f"price: {what}", trade(price=value), reason)
        for what, value, reason in _AMOUNTS_OF_NOTHING
    ),
    *(
        Case(f"base_amount: {what}", trade(base_amount=value), reason)
        for what, value, reason in _AMOUNTS_OF_NOTHING
    ),
    *(
        Case(f"event_time_ms: {what}", trade(event_time_ms=value), reason)
        for what, value, reason in _TIMES_OF_NOTHING
    ),
    *(
        Case(f"sequence: {name}", trade(sequence=value), "schema")
        for name, value in _BAD_NUMBERS.items()
    ),
    *(
        Case(f"sequence: {name}", TRADE.replace(b":17,", b":%b," % value), "json")
        for name, value in _BROKEN_NUMBERS.items()
    ),
    *(
        Case(f"native_id: {name}", trade(native_id=value), "schema")
        for name, value in {
            "space": "a b",
            "quote": 'a"b',
            "long": "a" * 65,
            "letter": "ä",
            "number": 17,
        }.items()
    ),
    Case(
        "event_time_us of another millisecond",
        trade(event_time_us=EVENT_TIME_MS * 1000 + 1000),
        "time",
    ),
    *_set_back(trade),
    Case("event before 2015", trade(event_time_ms=message_format.MIN_TIME_MS - 1), "schema"),
    Case("event in 2100", trade(event_time_ms=message_format.MAX_TIME_MS), "schema"),
    Case("event beyond DateTime64", trade(event_time_ms=10_413_792_000_000), "schema"),
    Case("event in the year 9999", trade(event_time_ms=253_402_300_799_000), "schema"),
    Case("event, in seconds", trade(event_time_ms=EVENT_TIME_MS // 1000), "schema"),
    Case("event, in microseconds", trade(event_time_ms=EVENT_TIME_MS * 1000), "schema"),
    Case("event more than a day ahead", trade(event_time_ms=EVENT_TIME_MS + 86_460_000), "time"),
    Case("event two days ahead", trade(event_time_ms=EVENT_TIME_MS + 172_800_000), "time"),
    Case("event in 2099", trade(event_time_ms=message_format.MAX_TIME_MS - 1), "time"),
    Case("total beyond the column", trade(price="9" * 20, base_amount="9" * 20), "amount"),
    Case("total just beyond the column", trade(price="1" + "0" * 19, base_amount="10"), "amount"),
    *(
        Case(f"trade_id: {what}", trade(trade_id=value), reason)
        for what, value, reason in [
            ("empty", "", "schema"),
            ("31 digits", "0" * 31, "schema"),
            ("33 digits", "0" * 33, "schema"),
            ("capitals", "0F" * 16, "schema"),
            ("a line break at the end", "0f" * 16 + "\n", "schema"),
            ("hyphens", "00000000-0000-0000-0000-000000000000", "schema"),
            ("letters beyond f", "0g" * 16, "schema"),
            ("Persian digits", "۰" * 32, "schema"),
            ("a number", 10**31, "schema"),
            ("a megabyte", "0" * MEGABYTE, "schema"),
            ("a lone surrogate", rb'"\ud800"', "json"),
        ]
    ),
]

DEPTH_CASES = [
    *_common(GOOD_DEPTH, other_side="sell", other_dataset="trade"),
    *(
        Case(f"sequence: {name}", depth(sequence=value), "schema")
        for name, value in _BAD_NUMBERS.items()
    ),
    *(
        Case(f"sequence: {name}", DEPTH_.replace(b':17,', b":%b," % value), "json")
        for name, value in _BROKEN_NUMBERS.items()
    ),
    *(
        Case(f"verified: {name}", depth(verified=value), "schema")
        for name, value in {"number": 1, "text": "true"}.items()
    ),
    Case("verified: word", DEPTH_.replace(b":true,", b":tru,"), "json"),
    *_set_back(depth),
    Case("event_time_us negative", depth(event_time_us=-1), "schema"),
    Case("event_time_us of 1970", depth(event_time_us=1_000_000), "time"),
    Case("trade", TRADE, "schema"),
    *(
        Case(f"{name}: {what}", depth(**{name: value}), reason)
        for name in ("prices", "quantities")
        for what, value, reason in [
            ("a number", 1.5, "schema"),
            ("text", "1.5", "schema"),
            ("true", True, "schema"),
            ("an object", {"0": 1.0}, "schema"),
            ("pairs", [[2.0, 1.0], [1.0, 1.0]], "schema"),
            ("texts", ["2", "1"], "schema"),
            ("null within", [2.0, None], "schema"),
            ("true within", [2.0, True], "schema"),
            ("an object within", [2.0, {}], "schema"),
            ("NaN within", b"[2,NaN]", "json"),
            ("Infinity within", b"[Infinity,1]", "json"),
            ("text NaN within", [2.0, "NaN"], "schema"),
            ("a leading zero within", b"[02,1]", "json"),
            ("a comma at the end", b"[2,1,]", "json"),
            ("no comma", b"[2 1]", "json"),
            ("no end", b"[2,1", "schema"),
            ("Persian digits within", "[۲,۱]".encode(), "json"),
            ("empty", [], "levels"),
            ("one too few", [2.0], "levels"),
            ("one too many", [3.0, 2.0, 1.0], "levels"),
            ("a zero", [2.0, 0.0], "amount"),
            ("negative zero", [2.0, -0.0], "amount"),
            ("negative", [2.0, -1.0], "amount"),
            ("far negative", [2.0, -1e308], "amount"),
            ("too small for a double", b"[2,1e-400]", "amount"),
            ("a thousand and one", _levels(1001), "schema"),
            ("a hundred thousand", _levels(100_000), "schema"),
            ("deep arrays", b"[" * 5000 + b"]" * 5000, "schema"),
        ]
    ),
    Case("infinite price", depth(prices=b"[1e999,1]"), "schema"),
    Case("infinite quantity", depth(quantities=b"[1,1e999]"), "schema"),
    Case("minus infinite price", depth(prices=b"[1,-1e999]"), "schema"),
    Case("price of 400 digits", depth(prices=b"[1" + b"0" * 400 + b",1]"), "schema"),
    Case("bids worst first", depth(prices=[1.0, 2.0]), "levels"),
    Case("asks worst first", depth(side="ask"), "levels"),
    Case("bids unsorted", depth(prices=[3.0, 1.0, 2.0], quantities=_levels(3)), "levels"),
    Case("asks unsorted",
         depth(side="ask", prices=[1.0, 3.0, 2.0], quantities=_levels(3)), "levels"),
    Case("a thousand and one levels",
         depth(prices=_levels(1001), quantities=_levels(1001)), "schema"),
    Case("a megabyte of levels",
         depth(prices=_levels(MEGABYTE // 4), quantities=_levels(MEGABYTE // 4)), "schema"),
    Case("a megabyte of digits", depth(prices=b"[1." + b"1" * MEGABYTE + b",2]"), "levels"),
]  # fmt: skip


NAN, INFINITY = float("nan"), float("inf")


def packed(head: Mapping[str, Any] | bytes = b"", **changes: Any) -> bytes:
    """Return a good packed snapshot with members of its head, or numbers, replaced.

    Args:
        head: Members to replace, or the whole text before the numbers.
        changes: Members that are numbers.
    """
    members = {**GOOD_PACKED, **(head if isinstance(head, Mapping) else {})}
    text = head if isinstance(head, bytes) and head else msgspec.json.encode(members) + b"\n"
    numbers = {**GOOD_DEPTH, **changes}
    levels = (*numbers["prices"], *numbers["quantities"])
    return text + struct.pack(
        f"<4q{len(levels)}d",
        *(numbers[name] for name in ("received_at_us", "event_time_us", "sequence", "set_back_us")),
        *levels,
    )


GOOD_PACKED: Mapping[str, Any] = {"v": 2} | {
    name: GOOD_DEPTH[name]
    for name in ("kind", "source", "symbol", "base", "quote", "side", "verified")
}
PACKED = packed()
_HEAD, _, _NUMBERS = PACKED.partition(b"\n")
DEPTH_CASES += [
    Case(f"packed: {name}", value, reason)
    for name, value, reason in [
        ("no line break", _HEAD, "schema"),
        ("no numbers", _HEAD + b"\n", "schema"),
        ("a line break more", _HEAD + b"\n\n" + _NUMBERS, "schema"),
        ("a carriage return", _HEAD + b"\r\n" + _NUMBERS[1:], "schema"),
        *((f"cut at {at}", PACKED[:at], "schema") for at in (len(_HEAD) + 17, len(PACKED) - 1)),
        ("half a level more", PACKED + PACKED[-8:], "schema"),
        ("cut within its head", _HEAD[:40] + b"\n" + _NUMBERS, "json"),
        ("a member twice", packed(_HEAD[:-1] + b',"side":"bid"}\n'), "json"),
        ("another side twice", packed(_HEAD[:-1] + b',"side":"ask"}\n'), "json"),
        ("version 3", packed({"v": 3}), "schema"),
        *((f"without {name}", packed(_without(GOOD_PACKED, name) + b"\n"), "schema")
          for name in GOOD_PACKED if name not in ("v", "verified")),
        *((f"null as {name}", packed({name: None}), "schema") for name in GOOD_PACKED),
        ("a trade's side", packed({"side": "sell"}), "schema"),
        ("a trade", packed({"kind": "trade"}), "schema"),
        ("verified: a number", packed({"verified": 1}), "schema"),
        ("symbol: NUL", packed({"symbol": "A\0"}), "schema"),
        ("source: empty", packed({"source": ""}), "schema"),
        ("received before 2015", packed(received_at_us=message_format.MIN_TIME_MS * 1000 - 1),
         "time"),
        ("received in 2100", packed(received_at_us=message_format.MAX_TIME_MS * 1000), "time"),
        ("received never", packed(received_at_us=-(1 << 63)), "time"),
        ("set back to 2100", packed(set_back_us=message_format.MAX_TIME_MS * 1000 - RECEIVED_AT_US),
         "time"),
        ("set back for ever", packed(set_back_us=(1 << 63) - 1), "time"),
        ("set forward", packed(set_back_us=-1), "time"),
        ("event time negative", packed(event_time_us=-1), "time"),
        ("event time of 1970", packed(event_time_us=1_000_000), "time"),
        ("event time of 2100", packed(event_time_us=message_format.MAX_TIME_MS * 1000), "time"),
        ("sequence negative", packed(sequence=-1), "schema"),
        *(
            (f"{name}: {numbers}", packed(b"", **{name: numbers}), "amount")
            for name in ("prices", "quantities")
            for number in (0.0, -0.0, -1.0, NAN, INFINITY, -INFINITY)
            for numbers in ([number, 1.0], [2.0, number])
        ),
        ("bids worst first", packed(prices=[1.0, 2.0]), "levels"),
        ("asks worst first", packed({"side": "ask"}), "levels"),
        ("bids unsorted", packed(prices=[3.0, 1.0, 2.0], quantities=_levels(3)), "levels"),
        ("too many levels", packed(prices=_levels(1001), quantities=_levels(1001)), "levels"),
        ("a megabyte of levels",
         packed(prices=_levels(MEGABYTE // 16), quantities=_levels(MEGABYTE // 16)), "levels"),
    ]
]  # fmt: skip


def _later(good: Mapping[str, Any]) -> list[Case]:
    """Return messages of a next release, whose unknown members are ignored."""
    text = msgspec.json.encode(good)
    return [
        Case("unknown member", _message(good, {"extra": 1}), ""),
        Case("unknown member first", b'{"extra":1,' + text[1:], ""),
        Case("unknown text with quotes", _message(good, {"extra": 'a"b"'}), ""),
        Case("unknown list", _message(good, {"extra": [1, "a", None, {"v": 2}]}), ""),
        Case("unknown object with known names", _message(good, {"extra": dict(good)}), ""),
        Case("unknown member with a long name", _message(good, {"k" * 5000: 1}), ""),
        Case("unknown member in Persian", _message(good, {"قیمت": 1}), ""),
        Case("unknown member with a line break", _message(good, {"a\r\nb": 1}), ""),
        Case("empty member name", _message(good, {"": 1}), ""),
    ]


LATER_MESSAGES: dict[str, list[Case]] = {
    TRADES.name: _later(GOOD_TRADE),
    DEPTH.name: [
        *_later(GOOD_DEPTH),
        *(
            case._replace(name=f"packed: {case.name}", value=packed((case.value or b"") + b"\n"))
            for case in _later(GOOD_PACKED)
            if case.name != "unknown member first"
        ),
    ],
}

BAD_MESSAGES: dict[str, list[Case]] = {
    TRADES.name: [*FOREIGN, *TRADE_CASES],
    DEPTH.name: [*FOREIGN, *DEPTH_CASES],
}
