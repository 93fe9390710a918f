"""After the exchange has asked for silence, a producer sends nothing before that time."""

import asyncio
import contextlib
import time
from email.utils import formatdate

import pytest

from cases import others_nightly
from hostile_exchange import NO_TRADES, Peer, frame, hostile_exchange
from producing import metric, producing, until
from radar.datasets import DEPTH, TRADES, Dataset
from radar.settings import Settings
from radar.telemetry.health import Health

MARKETS = [f"M{n}TMN" for n in range(12)]
BAN_S = 3.0
# Requests that were under way when the first answer came.
UNDER_WAY_S = 0.5
LISTED = (
    b'{"result":{"markets":['
    + b",".join(
        b'{"symbol":"%s","base_asset":"M","quote_asset":"TMN","is_spot":true}' % each.encode()
        for each in MARKETS
    )
    + b"]}}"
)


class LimitingExchange:
    """Bans everybody for a while when told to; notes when it was asked meanwhile."""

    def __init__(self, status: int, *, is_date: bool) -> None:
        self.banned_until = 0.0
        self.asked_at: list[float] = []
        self._status = status
        self._is_date = is_date

    async def _refuse(self, peer: Peer) -> bool:
        left_s = self.banned_until - time.monotonic()
        if left_s <= 0:
            return False
        self.asked_at.append(time.monotonic())
        wait = formatdate(time.time() + left_s, usegmt=True) if self._is_date else f"{left_s:.0f}"
        await peer.answer(
            b"{}",
            f"Retry-After: {wait}",
            f"Date: {formatdate(usegmt=True)}",
            status=f"{self._status} No",
        )
        return True

    async def rest(self, peer: Peer, path: str) -> None:
        if not await self._refuse(peer):
            await peer.answer(LISTED if "/markets" in path else NO_TRADES)

    async def socket(self, peer: Peer) -> None:
        if await self._refuse(peer):
            return
        await peer.upgrade()
        until_gone = asyncio.create_task(peer.until_gone())
        with contextlib.suppress(ConnectionError):
            while not until_gone.done() and self.banned_until < time.monotonic():
                await peer.send(frame(b'["@",1]'))
                await asyncio.sleep(0.05)
        until_gone.cancel()
        peer.writer.transport.abort()


@pytest.mark.slow
@pytest.mark.fault(
    "The exchange limits the rate: 429, 418 or 503 with Retry-After",
    report="nothing is requested before that time, which is named; all connections return after it",
    place="status, radar_rate_limit_wait_seconds, radar_rate_limited_total, log of the producer",
    within_s=5,
)
@pytest.mark.parametrize(
    ("dataset", "status", "is_date"),
    others_nightly([(TRADES, 429, False), (DEPTH, 418, False), (TRADES, 503, True)]),
    ids=["429 trades", "418 depth", "503 with a date"],
)
def test_producer_that_is_told_to_wait_sends_nothing_before_that_time(
    kafka_settings: Settings, dataset: Dataset, status: int, is_date: bool, within_s: float
) -> None:
    async def record() -> None:
        exchange = LimitingExchange(status, is_date=is_date)

        def sockets() -> object:
            while True:
                yield exchange.socket

        async with hostile_exchange(sockets(), exchange.rest) as served:  # type: ignore[arg-type]
            health = Health()
            settings = kafka_settings.model_copy(
                update={
                    "exchange_ws_url": f"ws://127.0.0.1:{served.port}",
                    "exchange_rest_url": f"http://127.0.0.1:{served.port}",
                    "symbols_per_connection": 3,
                    "reconnect_max_seconds": 0.2,
                    "markets_refresh_seconds": 0.2,
                    "freshness_seconds": 1.0,
                }
            )
            before = metric("radar_rate_limited_total", exchange="wallex")
            async with producing(settings, dataset, health):
                await until(lambda: served.open == 4)
                exchange.banned_until = time.monotonic() + BAN_S
                await until(
                    lambda: any("limits the rate" in each for each in health.warnings()), within_s
                )
                assert metric("radar_rate_limit_wait_seconds", exchange="wallex") > 0
                await until(lambda: served.open == 4, BAN_S + 3 * within_s)
            first = exchange.asked_at[0]
            late = [at - first for at in exchange.asked_at if at > first + UNDER_WAY_S]
            assert late == []
            assert metric("radar_rate_limited_total", exchange="wallex") == before + 1

    asyncio.run(record())
