"""Parquet files of what a page shows: streamed from ClickHouse, and bounded."""

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from radar.errors import InvalidRequest, StoreUnavailable
from radar.settings import Settings
from radar.store.client import Store
from radar.store.queries import seen as queries
from radar.ui.web.live import TooManyViewers
from radar.ui.web.markets import READ_ONLY, Grid, MarketTicker
from radar.ui.web.reader import Threads

MAX_ROWS = {"trades": 1_000_000, "books": 100_000, "candles": 100_000}
MAX_FILES = 2  # at once
MAX_S = 60.0  # of one file, also for a slow client; the user radar_reader is allowed no more
_TIMEOUT_S = 60.0  # of one read
_SETTINGS = READ_ONLY | {"max_execution_time": f"{MAX_S:.0f}"}


class Files:
    """Streams files; for use from one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; connects with the first file."""
        self._settings = settings
        self._threads = Threads(MAX_FILES, "files")
        # By file under way: when it ends at the latest, also if its client has gone unnoticed.
        self._ends_at_s: dict[int, float] = {}
        self._next = 0

    async def parquet(
        self, dataset: str, market: MarketTicker, grid: Grid, from_s: float, to_s: float
    ) -> AsyncIterator[bytes]:
        """Return the parts of a Parquet file with the records of a time.

        Args:
            dataset: A key of MAX_ROWS.
            market: The market.
            grid: The begin of candles.
            from_s: The first moment.
            to_s: The moment before which records count.

        Raises:
            InvalidRequest: The file would have too many rows, or there is no such file.
            TooManyViewers: Too many files are under way.
            StoreUnavailable: ClickHouse does not answer.
            QueryFailed: ClickHouse refuses.
        """
        if dataset not in MAX_ROWS:
            raise InvalidRequest(f"dataset must be one of {', '.join(MAX_ROWS)}")
        if dataset == "candles" and (to_s - from_s) / grid.interval_s > MAX_ROWS[dataset]:
            raise InvalidRequest(
                f"there are more than {MAX_ROWS[dataset]:,} candles: choose a shorter time"
            )
        now_s = time.monotonic()
        self._ends_at_s = {n: end_s for n, end_s in self._ends_at_s.items() if end_s > now_s}
        if len(self._ends_at_s) >= MAX_FILES:
            raise TooManyViewers(f"{MAX_FILES} files are under way: try again later")
        self._next += 1
        number = self._next
        self._ends_at_s[number] = now_s + MAX_S
        asked = market._asdict() | grid._asdict() | {
            "start_ms": round(from_s * 1000), "end_ms": round(to_s * 1000),
            "most": MAX_ROWS[dataset], "beyond": MAX_ROWS[dataset] + 1,
        }  # fmt: skip
        parts = self._parts(dataset, asked, is_local=grid.is_local)
        try:
            first = await self._threads.run(lambda: next(parts, b""))
        except BaseException:
            await self._close(number, parts)
            raise
        return self._rest(number, first, parts)

    def close(self) -> None:
        """Let the threads end. Does not block."""
        self._threads.close()

    async def _rest(
        self, number: int, first: bytes, parts: Iterator[bytes]
    ) -> AsyncIterator[bytes]:
        part = first
        try:
            while part:
                yield part
                if time.monotonic() > self._ends_at_s.get(number, 0):
                    raise StoreUnavailable(f"a file took longer than {MAX_S:.0f} s")
                part = await self._threads.run(lambda: next(parts, b""))
        finally:
            await self._close(number, parts)

    async def _close(self, number: int, parts: Any) -> None:
        self._ends_at_s.pop(number, None)
        # Behind the read under way: a connection is used by one thread at a time.
        with contextlib.suppress(Exception):
            await self._threads.run(parts.close)

    def _parts(self, dataset: str, asked: dict[str, Any], *, is_local: bool) -> Iterator[bytes]:
        store = Store(self._settings, timeout_s=_TIMEOUT_S)
        try:
            if dataset in queries.COUNT:
                ((count,),) = store.rows(queries.COUNT[dataset], asked, READ_ONLY)
                if count > MAX_ROWS[dataset]:
                    raise InvalidRequest(
                        f"there are more than {MAX_ROWS[dataset]:,} rows: choose a shorter time,"
                        " or use `radar export`"
                    )
            sql = {
                "trades": queries.TRADES,
                "books": queries.BOOKS,
                "candles": queries.DAILY_CANDLES if is_local else queries.CANDLES,
            }[dataset]
            yield from store.stream(sql, "Parquet", asked, _SETTINGS)
        finally:
            store.close()
