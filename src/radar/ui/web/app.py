"""The dashboard's web server: its pages, its API and its streams."""

import asyncio
import contextlib
import logging
import math
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from bounded_http.bounds import Bounds
from bounded_http.connections import BoundedHttp
from radar import __version__
from radar import exchanges as drivers
from radar.addresses import check_dashboard, url
from radar.errors import ConfigurationError, InvalidRequest, RadarError
from radar.process import handled
from radar.settings import Settings
from radar.status.model import Overview
from radar.status.state import running_pipeline
from radar.text import host_port, is_printable, printable
from radar.ui.web import address, markets, moments, page_subjects, quality, studies
from radar.ui.web.files import Files
from radar.ui.web.guard import Guard
from radar.ui.web.history import KEPT_MINUTES, Sampler
from radar.ui.web.live import EventStream, Hub, Subject, TooManyViewers, encode
from radar.ui.web.markets import Grid, MarketTicker, NoSuchMarket
from radar.ui.web.reader import Reader, Threads

STATIC = Path(__file__).parent / "static"
BOUNDS = Bounds()
GRACE_S = 2  # for answers under way when it ends
_COVERAGE_FRESH_S = 15.0
_NAMES_FRESH_S = 60.0
MAX_TIME_S = 4_102_444_800  # the year 2100; the times of ClickHouse end some time later
MAX_SYMBOL_CHARACTERS = 100
MAX_FOLLOWED = 40  # pages of one stream: the tabs of a browser

_STATUS = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    NoSuchMarket: HTTPStatus.NOT_FOUND,
    TooManyViewers: HTTPStatus.TOO_MANY_REQUESTS,
}

Observe = Callable[[], Overview]
"""Collects the facts about the pipeline; blocks."""


class Dashboard:
    """The application's routes, and the tasks and connections behind them."""

    def __init__(self, settings: Settings, observe: Observe, ready: Callable[[], None]) -> None:
        """Prepare; opens no connection yet.

        Args:
            settings: The options.
            observe: Collects the facts about the pipeline.
            ready: Called in the event loop, once it turns.
        """
        self._hub = Hub()
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settings = settings
        self._reader = Reader(settings)
        self._files = Files(settings)
        self._started_at_s = time.time()
        self._observer = Threads(1, "observer")
        self._sampler = Sampler(lambda: self._observer.run(observe))
        routes = [
            Route("/api/about", self._about),
            Route("/api/markets", self._markets),
            Route("/api/candles", self._candles),
            Route("/api/book", self._book),
            Route("/api/trades", self._trades),
            Route("/api/moment", self._moment),
            Route("/api/stretch", self._stretch),
            Route("/api/recorded", self._recorded),
            Route("/api/younger-markets", self._younger_markets),
            Route("/api/flow", self._flow),
            Route("/api/spreads", self._spreads),
            Route("/api/profile", self._profile),
            Route("/api/trade-sizes", self._trade_sizes),
            Route("/api/parquet", self._parquet),
            Route("/api/pipeline", self._pipeline),
            Route("/api/pipeline/history", self._history),
            Route("/api/coverage", self._coverage),
            Route("/api/gaps", self._gaps),
            Route("/api/delivery-gaps", self._delivery_gaps),
            Route("/api/letters", self._letters),
            Route("/api/live", self._live),
            Mount("/", _Files(directory=STATIC, html=True)),
        ]
        self.application: ASGIApp = Guard(
            Starlette(
                routes=routes,
                middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)],
                exception_handlers={
                    RadarError: _explain,
                    HTTPException: _explain_http,
                    Exception: _explain_failure,
                },
                lifespan=self._lifespan,
            ),
            address.token(settings),
            address.names(settings),
        )

    def end_streams(self) -> None:
        """End all streams; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hub.close)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        self._ready()
        sampling = asyncio.create_task(self._sampler.run())
        try:
            yield
        finally:
            sampling.cancel()
            self._reader.close()
            self._files.close()
            self._observer.close()

    async def _about(self, _: Request) -> Response:
        running = running_pipeline(self._settings.radar_data_dir) or {}
        settings = self._settings
        return _json(
            {
                "version": __version__,
                "exchanges": settings.exchanges,
                "simulated": bool(running.get("simulated")),
                "started_at_s": running.get("started_at", self._started_at_s),
                "clickhouse": f"{host_port(settings.clickhouse_host, settings.clickhouse_port)}"
                f"/{settings.clickhouse_db}",
            }
        )

    async def _markets(self, _: Request) -> Response:
        at_s = time.time()
        return _json({"at_s": at_s, "markets": await page_subjects.market_rows(self._reader)})

    async def _candles(self, request: Request) -> Response:
        grid = _grid(request)
        before_s = _time(request, "before_s", time.time() + page_subjects.AHEAD_S)
        before_s = grid.ceil(before_s)  # so that equal queries can be shared
        count = _whole(request, "count", 500, 1, markets.MAX_CANDLES)
        at_s = _moment_s(request)
        market = await self._market(request)
        found = await self._reader.shared(
            "candles",
            lambda store: (
                markets.candles(store, market, grid, before_s, count)
                if at_s is None
                else moments.candles_at(store, market, grid, at_s, count)
            ),
            key=(market, grid, before_s, at_s, count),
        )
        return _json(
            {
                "symbol": market.symbol,
                "interval_s": grid.interval_s,
                "time_zone": grid.time_zone,
                "candles": found,
            }
        )

    async def _book(self, request: Request) -> Response:
        at_s = _time(request, "at_s", math.ceil(time.time() + page_subjects.AHEAD_S))
        market = await self._market(request)
        return _json(
            await self._reader.shared(
                "book", lambda store: markets.book(store, market, at_s), key=(market, at_s)
            )
        )

    async def _trades(self, request: Request) -> Response:
        count = _whole(request, "count", 50, 1, markets.MAX_TRADES)
        at_s = _moment_s(request)
        market = await self._market(request)
        found = await self._reader.shared(
            "trades",
            lambda store: (
                markets.trades(store, market, count)
                if at_s is None
                else moments.trades_at(store, market, at_s, count)
            ),
            key=(market, count, at_s),
        )
        return _json({"symbol": market.symbol, "trades": found})

    async def _moment(self, request: Request) -> Response:
        at_s = _needed_s(request, "at_s")
        count = _whole(request, "count", 50, 1, markets.MAX_TRADES)
        market = await self._market(request)
        return _json(
            await self._reader.shared(
                "moment",
                lambda store: moments.moment(store, market, at_s, count),
                key=(market, at_s, count),
            )
        )

    async def _stretch(self, request: Request) -> Response:
        grid = _grid(request)
        from_s = _needed_s(request, "from_s")
        step_ms = _whole(request, "step_ms", 100, 10, moments.MAX_STEP_MS)
        steps = _whole(request, "steps", 100, 1, moments.MAX_STEPS)
        market = await self._market(request)
        return _json(
            await self._reader.shared(
                "stretch",
                lambda store: moments.stretch(store, market, grid, from_s, step_ms, steps),
                key=(market, grid, from_s, step_ms, steps),
            )
        )

    async def _recorded(self, request: Request) -> Response:
        now_s = math.ceil(time.time())  # so that equal queries can be shared
        from_s = _time(request, "from_s", now_s - markets.DAY_S)
        to_s = _time(request, "to_s", now_s + page_subjects.AHEAD_S)
        at_s = _time(request, "at_s", now_s)
        market = await self._market(request)
        return _json(
            await self._reader.shared(
                "recorded",
                lambda store: moments.recorded(store, market, from_s, to_s, at_s),
                key=(market, from_s, to_s, at_s),
            )
        )

    async def _younger_markets(self, _: Request) -> Response:
        found = await self._reader.shared(
            "younger", moments.younger_markets, fresh_s=_COVERAGE_FRESH_S
        )
        return _json({"since_s": found})

    async def _flow(self, request: Request) -> Response:
        grid = _grid(request)
        from_s, to_s = _needed_s(request, "from_s"), _until_s(request)
        periods = (
            _whole(request, "fast", 20, 2, studies.MAX_PERIOD),
            _whole(request, "slow", 50, 2, studies.MAX_PERIOD),
        )
        market = await self._market(request)
        found = await self._reader.shared(
            "flow",
            lambda store: studies.flow(store, market, grid, from_s, to_s, periods),
            key=(market, grid, from_s, to_s, periods),
        )
        return _json({"symbol": market.symbol, "interval_s": grid.interval_s, "flow": found})

    async def _spreads(self, request: Request) -> Response:
        grid = _grid(request)
        from_s, to_s = _needed_s(request, "from_s"), _until_s(request)
        whole = _moment_s(request) is not None
        market = await self._market(request)
        found = await self._reader.shared(
            "spreads",
            lambda store: studies.spreads(store, market, grid, from_s, to_s, whole=whole),
            key=(market, grid, from_s, to_s, whole),
        )
        return _json({"symbol": market.symbol, "interval_s": grid.interval_s, "spreads": found})

    async def _profile(self, request: Request) -> Response:
        from_s, to_s = _needed_s(request, "from_s"), _needed_s(request, "to_s")
        rows = _whole(request, "rows", 50, 10, studies.MAX_ROWS)
        market = await self._market(request)
        return _json(
            await self._reader.shared(
                "profile",
                lambda store: studies.profile(store, market, from_s, to_s, rows),
                key=(market, from_s, to_s, rows),
            )
        )

    async def _trade_sizes(self, request: Request) -> Response:
        to_s = _until_s(request)
        market = await self._market(request)
        return _json(
            await self._reader.shared(
                "sizes",
                lambda store: studies.trade_sizes(store, market, to_s),
                key=(market, to_s),
            )
        )

    async def _parquet(self, request: Request) -> Response:
        grid = _grid(request)
        from_s, to_s = _needed_s(request, "from_s"), _needed_s(request, "to_s")
        if from_s >= to_s:
            raise InvalidRequest("from_s must be before to_s")
        dataset = request.query_params.get("dataset", "trades")
        market = await self._market(request)
        await self._reader.shared(
            "exists", lambda store: markets.must_exist(store, market), key=market
        )
        parts = await self._files.parquet(dataset, market, grid, from_s, to_s)
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{market.source}-{market.symbol}-{dataset}")
        return StreamingResponse(
            parts,
            media_type="application/vnd.apache.parquet",
            headers={
                "cache-control": "no-store",
                "content-disposition": f'attachment; filename="{name}-{from_s:.0f}.parquet"',
            },
        )

    async def _pipeline(self, _: Request) -> Response:
        return _json(await self._sampler.latest())

    async def _history(self, request: Request) -> Response:
        minutes = _whole(request, "minutes", 60, 1, KEPT_MINUTES)
        return _json(self._sampler.history.since(time.time() - minutes * 60))

    async def _coverage(self, request: Request) -> Response:
        days = _whole(request, "days", 7, 1, quality.MAX_DAYS)
        return _json(
            await self._reader.shared(
                "coverage",
                lambda store: quality.covered(store, days),
                key=days,
                fresh_s=_COVERAGE_FRESH_S,
            )
        )

    async def _gaps(self, request: Request) -> Response:
        days = _whole(request, "days", 7, 1, quality.MAX_DAYS)
        market = await self._market(request) if _symbol(request) else None
        return _json(
            await self._reader.shared(
                "gaps", lambda store: quality.gaps(store, days, market), key=(days, market)
            )
        )

    async def _delivery_gaps(self, _: Request) -> Response:
        overview = await self._sampler.latest()
        known = any(each.subject == "tables" and each.holds for each in overview.probes)
        return _json({"delivery_gaps": overview.delivery_gaps if known else None})

    async def _letters(self, _: Request) -> Response:
        return _json({"letters": (await self._sampler.latest()).letters})

    async def _live(self, request: Request) -> EventStream:
        client = request.client.host if request.client else ""
        followed = request.query_params.getlist("follow")
        if not followed:
            subjects = await self._subjects(request)
            return EventStream(self._hub, subjects, client)
        if len(followed) > MAX_FOLLOWED:
            raise InvalidRequest(f"one stream follows at most {MAX_FOLLOWED} pages")
        named: dict[Hashable, tuple[Subject[Any], list[str]]] = {}
        refused = b""
        for n, query in enumerate(followed):
            of_page = Request({**request.scope, "query_string": query.encode()})
            try:
                for subject in await self._subjects(of_page):
                    named.setdefault(subject.key, (subject, []))[1].append(str(n))
            except (InvalidRequest, NoSuchMarket) as error:  # the other pages are right
                refused += b"id: %d\n" % n + encode("refused", {"text": str(error)})
        return EventStream(
            self._hub,
            [subject for subject, _ in named.values()],
            client,
            [",".join(names) for _, names in named.values()],
            refused,
        )

    async def _subjects(self, request: Request) -> list[Subject[Any]]:
        """Return what the page of a request follows."""
        pulse = page_subjects.pulse(self._sampler)
        match request.query_params.get("page", ""):
            case "markets":
                return [*page_subjects.all_markets(self._reader), pulse]
            case "market":
                grid = _grid(request)
                market = await self._market(request)
                await self._reader.shared(
                    "exists", lambda store: markets.must_exist(store, market), key=market
                )
                return [*page_subjects.one_market(self._reader, market, grid), pulse]
            case "pipeline":
                return [*page_subjects.pipeline(self._sampler), pulse]
            case "pulse":
                return [pulse]
            case _:
                raise InvalidRequest("page must be markets, market, pipeline or pulse")

    async def _market(self, request: Request) -> MarketTicker:
        """Return the market that a request names: EXCHANGE:SYMBOL, or a symbol of one exchange."""
        if not (name := _symbol(request)):
            raise InvalidRequest("symbol is missing: name a market, e.g. symbol=wallex:USDTTMN")
        source, _, symbol = name.partition(":")
        if symbol and source in drivers.names():
            return MarketTicker(source, symbol)
        return await self._reader.shared(
            "market", lambda store: markets.find(store, name), key=name, fresh_s=_NAMES_FRESH_S
        )


class _Files(StaticFiles):
    """The pages; browsers check at each use whether they have changed."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["cache-control"] = "no-cache"
        return response


class _Http(BoundedHttp):
    bounds = BOUNDS


class _Server(uvicorn.Server):
    """Ends the streams at a signal: uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._end_streams()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture signals as uvicorn does, but keep ignoring one that was ignored at the start."""
        own = handled(signal.SIGTERM, signal.SIGINT)
        with super().capture_signals():
            for number in {signal.SIGTERM, signal.SIGINT}.difference(own):
                signal.signal(number, signal.SIG_IGN)
            yield


def serve(settings: Settings, observe: Observe, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; blocks; call it from the main thread.

    Args:
        settings: The options; DASHBOARD_PORT 0 takes a free port.
        observe: Collects the facts about the pipeline.
        ready: Called in the event loop with the dashboard's URL, as soon as it answers.

    Raises:
        ConfigurationError: The address is taken, or needs a token.
    """
    check_dashboard(settings)
    with _listen(settings.dashboard_host, settings.dashboard_port) as listener:
        where = url(settings.dashboard_host, listener.getsockname()[1])
        dashboard = Dashboard(settings, observe, lambda: ready(where))
        config = configuration(settings, dashboard.application)
        server = _Server(config, dashboard.end_streams)
        # A signal may come before uvicorn has handlers of its own, and it raises the signal again
        # when it has shut down: the first must end this server, and the second must not kill it.
        for number in handled(signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not its own start
        server.run(sockets=[listener])


def configuration(settings: Settings, application: ASGIApp) -> uvicorn.Config:
    """Return how to serve the application."""
    return uvicorn.Config(
        application,
        access_log=False,  # addresses may hold a token
        log_config=None,
        server_header=False,
        http=_Http,
        ws="none",
        # Any program on this machine could claim to be another client: trust only a proxy.
        proxy_headers=bool(settings.dashboard_hosts),
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot serve the dashboard at DASHBOARD_HOST={host} DASHBOARD_PORT={port}:"
            f" {error.strerror or error}"
        ) from error


def _json(content: object) -> Response:
    return Response(
        msgspec.json.encode(content),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


def _symbol(request: Request) -> str:
    text = request.query_params.get("symbol", "")
    if len(text) > MAX_SYMBOL_CHARACTERS or not is_printable(text):
        raise InvalidRequest(
            f"symbol must be at most {MAX_SYMBOL_CHARACTERS} characters that can be seen"
        )
    return text


def _grid(request: Request) -> Grid:
    """Return the grid of the wanted candles; days are the exchange's by default."""
    time_zone = request.query_params.get("time_zone", "") or markets.TIME_ZONES[0]
    grid = Grid(_whole(request, "interval_s", 60), time_zone)
    markets.check_grid(grid)
    # Only days depend on the time zone, so other intervals share one query.
    return grid if grid.is_local else Grid(grid.interval_s)


def _whole(
    request: Request, name: str, default: int, least: int | None = None, most: int | None = None
) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InvalidRequest(f"{name} must be a whole number")
    if (least is not None and int(text) < least) or (most is not None and int(text) > most):
        raise InvalidRequest(f"{name} must be from {least} to {most}")
    return int(text)


def _time(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", text):
        raise InvalidRequest(f"{name} must be a Unix time in seconds")
    if float(text) > MAX_TIME_S:
        raise InvalidRequest(f"{name} must be at most {MAX_TIME_S}")
    return float(text)


def _needed_s(request: Request, name: str) -> float:
    if not request.query_params.get(name):
        raise InvalidRequest(f"{name} is missing: give a Unix time in seconds")
    return _time(request, name, 0.0)


def _moment_s(request: Request) -> float | None:
    """Return the moment in the past that a request names, if any."""
    return _needed_s(request, "at_s") if request.query_params.get("at_s") else None


def _until_s(request: Request) -> float:
    """Return the moment until which a request looks; without one, a little later than now."""
    return _time(request, "at_s", math.ceil(time.time() + page_subjects.AHEAD_S))


def _explain(_: Request, error: Exception) -> Response:
    status = next(
        (status for dataset, status in _STATUS.items() if isinstance(error, dataset)),
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return _problem(status, str(error))


def _explain_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    return _problem(status, f"{printable(request.url.path)}: {HTTPStatus(status).phrase.lower()}")


def _explain_failure(_: Request, _error: Exception) -> Response:
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the dashboard has failed: see its log")


def _problem(status: int, text: str) -> Response:
    response = _json({"error": text})
    response.status_code = status
    return response
