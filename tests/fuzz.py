"""Feeds mutated frames, answers and messages to every parser: `make fuzz`.

Every input goes to every parser, and each must give records that the rest of the pipeline takes,
or the one error that it names. A seed reproduces a run; a failure shows its input.
"""

import argparse
import contextlib
import gc
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from corpus.bad_messages import BAD_MESSAGES, depth, trade
from radar.codec import message_format
from radar.consumer.accounting import CommitMetadata
from radar.consumer.batch import Plan
from radar.datasets import DATASETS
from radar.decimals import canonical
from radar.errors import ExchangeUnavailable, InvalidFrame, InvalidMessage
from radar.exchanges.base import Send
from radar.exchanges.wallex import EXCHANGE
from radar.producer.markets import Listing, storable
from radar.records import DepthSnapshot, Market, Trade
from support import peak_bytes, reset_peak_bytes

FRAMES = Path(__file__).parent / "fixtures" / "frames" / "wallex.ndjson"
MARKET_LIST = (
    b'{"success":true,"message":"ok","result":{"markets":[{"symbol":"BTCTMN","base_asset":"BTC",'
    b'"quote_asset":"TMN","is_spot":true},{"symbol":"GOLD18","base_asset":"GOLD",'
    b'"quote_asset":"TMN","is_spot":false}]}}'
)
RECENT_TRADES = (
    b'{"success":true,"result":{"latestTrades":[{"symbol":"BTCUSDT","quantity":"0.000002000",'
    b'"price":21100.5,"sum":"0.0211000000000000","isBuyOrder":false,'
    b'"timestamp":"2022-06-17T11:53:03Z"},{"symbol":"BTCUSDT","quantity":"0.0000010000000000",'
    b'"price":"21100.0000000000000000","isBuyOrder":true,"timestamp":"2022-06-17T11:53:02Z"}]}}'
)
PLANS = [b"P|0|0", b"P|41|1040", b"P|9223372036854775807|9223372036854775807", b""]
MARKETS = {
    "USDTTMN": Market("USDTTMN", "USDT", "TMN"),
    "BTCUSDT": Market("BTCUSDT", "BTC", "USDT"),
}
STREAM = EXCHANGE.stream(DATASETS["trades"], MARKETS.values(), whole_books=True)
NOW_US = 1_784_000_000_120_345
MAX_INPUT_BYTES = 1 << 20
# The first inputs fill caches and grow the heap to its working size.
WARM_UP = 2000

# What breaks parsers: numbers and texts at their limits, halves of characters, structure.
TOKENS = [
    b"0", b"-0", b"-1", b"1e999", b"-1e999", b"1e-999", b"1e9999999999", b"1E+99", b"NaN",
    b"Infinity", b"null", b"true", b"false", b'""', b"[]", b"{}", b"[", b"]", b"{", b"}", b",",
    b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\udfff", b"\0", b"\xff", b"\xef\xbb\xbf",
    b"\xed\xa0\x80", "۱۲۳".encode(), "\u202e".encode(), b"1_000", b" ", b"\n", b"|", b"@",
    b"9" * 20, b"9" * 400, b"0." + b"0" * 400 + b"1", b"18446744073709551616",
    b"-9223372036854775809", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:60-23:59",
    b"2022-06-26T11:14:09.999999999999Z", b'"NaN"', b'"-inf"', b'"ping":', b'"sid":',
    b'"2099-12-31T23:59:59Z"', b'"1970-01-01T00:00:00Z"', b'"99999999999999999000"', b"1.1e308",
    b"5e-324", b"__proto__", b"A/../..", b"\\u009b31m", "\u009b2J".encode(), b"A" * 33,
]  # fmt: skip


def seeds() -> list[bytes]:
    """Return what inputs are made of: good ones of every parser, and some bad ones."""
    bad = [case.value for cases in BAD_MESSAGES.values() for case in cases]
    return [
        *FRAMES.read_bytes().splitlines() * 20,
        *(MARKET_LIST, RECENT_TRADES) * 10,
        *PLANS * 3,
        *(trade(), depth()) * 20,
        *(value for value in bad if value is not None and len(value) < 2000),
    ]


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    """Return a seed with one to six changes."""
    data = bytearray(rng.choice(pool))
    for _ in range(rng.randint(1, 6)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.randint(0, rng.choice((1, 4, 40, 400))))
        rng.choice(_CHANGES)(rng, pool, data, slice(start, end))
        del data[MAX_INPUT_BYTES:]
    return bytes(data)


def _replace(rng: random.Random, _pool: list[bytes], data: bytearray, at: slice) -> None:
    data[at] = rng.choice(TOKENS)


def _insert(rng: random.Random, _pool: list[bytes], data: bytearray, at: slice) -> None:
    # Rarely so much that nesting and size count.
    token = rng.choice(TOKENS)
    times = rng.choice((5000, 100_000)) if rng.randrange(2000) == 0 else 1
    data[at.start : at.start] = token * min(times, MAX_INPUT_BYTES // len(token))


def _delete(_rng: random.Random, _pool: list[bytes], data: bytearray, at: slice) -> None:
    del data[at]


def _cut(_rng: random.Random, _pool: list[bytes], data: bytearray, at: slice) -> None:
    del data[at.start :]


def _flip(rng: random.Random, _pool: list[bytes], data: bytearray, at: slice) -> None:
    if data:
        data[at.start % len(data)] ^= 1 << rng.randrange(8)


def _noise(rng: random.Random, _pool: list[bytes], data: bytearray, at: slice) -> None:
    data[at] = rng.randbytes(at.stop - at.start)


def _repeat(rng: random.Random, _pool: list[bytes], data: bytearray, at: slice) -> None:
    data[at] = data[at] * rng.choice((2, 3, 20))


def _splice(rng: random.Random, pool: list[bytes], data: bytearray, at: slice) -> None:
    other = rng.choice(pool)
    data[at.start :] = other[rng.randint(0, len(other)) :]


_CHANGES = (_replace, _insert, _delete, _cut, _flip, _noise, _repeat, _splice)


def parse_frame(data: bytes) -> None:
    """Let the frame parser and what takes its records try; its error is InvalidFrame."""
    try:
        events = STREAM.receive(data, NOW_US)
    except InvalidFrame as error:
        str(error).encode()
        return
    for event in events:
        if isinstance(event, Send):
            msgspec.json.decode(event.text)
        elif isinstance(event, Trade):
            _take_trade(event)
        elif isinstance(event, DepthSnapshot):
            _take_depth(event)


def parse_recent_trades(data: bytes) -> None:
    """Let the parser of recent trades try; its error is ExchangeUnavailable."""
    try:
        recent = EXCHANGE.parse_recent_trades(data, MARKETS["BTCUSDT"], NOW_US)
    except ExchangeUnavailable:
        return
    for each in recent.trades:
        _take_trade(each)


def parse_markets(data: bytes) -> None:
    """Let the parser of the market list and what follows try; its error is ExchangeUnavailable."""
    try:
        markets = EXCHANGE.parse_markets(data)
    except ExchangeUnavailable:
        return
    changes = Listing(3).start(storable(markets).markets)
    assert len(changes.new) <= 3
    for each in changes.new:
        assert message_format.are_names(each.symbol, each.base, each.quote)
        EXCHANGE.recent_trades_path(each)
        for dataset in ("trades", "depth"):
            EXCHANGE.stream(DATASETS[dataset], [each], whole_books=True).opened()


def decode_messages(data: bytes) -> None:
    """Let the decoders of all datasets try; their error is InvalidMessage, and they agree."""
    for dataset in DATASETS.values():
        try:
            row = dataset.decode(data)
        except InvalidMessage as error:
            str(error).encode()
            with contextlib.suppress(InvalidMessage):
                dataset.read_columns([data])
                raise AssertionError("valid in a block, but not by itself") from error
        else:
            msgspec.json.encode(row)
            dataset.read_columns([data])
            if isinstance(row, message_format.TradeMessage):
                assert (canonical(row.price), canonical(row.base_amount)) == (
                    row.price, row.base_amount,
                )  # fmt: skip


def parse_plan(data: bytes) -> None:
    """Let the parser of commit metadata try, which knows no error."""
    plan = Plan.parse(data.decode("utf-8", "replace"))
    if plan is not None:
        assert 0 <= plan.lo <= plan.hi
        assert Plan.parse(str(plan)) == plan
    mark = CommitMetadata.parse(data.decode("utf-8", "replace"))
    if mark is not None and mark.topic_id is not None:
        assert CommitMetadata.parse(str(mark)) == mark


def _take_trade(event: Trade) -> None:
    try:
        message_format.check_trade(event)
    except InvalidMessage:
        return  # as producers do
    row = message_format.decode_trade(message_format.encode_trade(event, "0" * 32))
    assert (row.price, row.base_amount) == (event.price, event.base_amount)


def _take_depth(event: DepthSnapshot) -> None:
    try:
        message_format.check_depth(event)
    except InvalidMessage:
        return
    row = message_format.decode_depth(message_format.encode_depth(event))
    assert (row.prices, row.quantities) == (list(event.prices), list(event.quantities))


PARSERS: list[Callable[[bytes], None]] = [
    parse_frame, parse_recent_trades, parse_markets, decode_messages, parse_plan,
]  # fmt: skip


@dataclass
class Report:
    """What a run found out."""

    seed: int
    frames: int = 0
    input_bytes: int = 0
    seconds: float = 0
    slowest_s: float = 0
    slowest_input: bytes = b""
    peak_growth_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"{self.frames} frames ({self.input_bytes / 1e6:.0f} MB) in {self.seconds:.0f} s,"
            f" each given to {len(PARSERS)} parsers; seed {self.seed}\n"
            f"slowest frame: {self.slowest_s * 1000:.1f} ms of CPU,"
            f" {len(self.slowest_input)} bytes: {self.slowest_input[:60]!r}\n"
            f"peak memory growth: {self.peak_growth_bytes / 1e6:.1f} MB"
        )


def run(frames: int, seed: int, inputs: Iterable[bytes] = ()) -> Report:
    """Feed inputs, then as many mutated ones as told.

    Raises:
        AssertionError: A parser raised another error than its own; the input is in the message.
    """
    rng, pool, report = random.Random(seed), seeds(), Report(seed)
    started_s = time.perf_counter()
    before_bytes = 0

    def feed(data: bytes) -> None:
        fed_s = time.process_time()
        for parser in PARSERS:
            try:
                parser(data)
            except Exception as error:
                raise AssertionError(
                    f"{parser.__name__}, seed {seed}, frame {report.frames}:"
                    f" {type(error).__name__}: {error}: {data[:2000]!r}"
                ) from error
        took_s = time.process_time() - fed_s
        report.frames += 1
        report.input_bytes += len(data)
        if took_s > report.slowest_s:
            report.slowest_s, report.slowest_input = took_s, data

    for data in inputs:
        feed(data)
    for number in range(frames):
        if number == min(WARM_UP, frames // 2):
            gc.collect()
            before_bytes = reset_peak_bytes(os.getpid())
        feed(mutated(rng, pool))
    report.seconds = time.perf_counter() - started_s
    report.peak_growth_bytes = peak_bytes(os.getpid()) - before_bytes
    return report


def main() -> None:
    """Run as the arguments say and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    arguments = parser.parse_args()
    sys.stdout.write(f"seed {arguments.seed}\n")
    sys.stdout.flush()
    sys.stdout.write(f"{run(arguments.frames, arguments.seed)}\n")


if __name__ == "__main__":
    main()
