"""Decides which requests the dashboard answers: under which name, from which page, which token."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bounded_http import connections, hosts

COOKIE = "radar_dashboard"
COOKIE_AGE_S = 30 * 86400
LOGIN = "/login"
LOGIN_FILES = ("/login.html", "/login.css", "/login.js")
MAX_LOGIN_BYTES = 8192
LOGIN_TIMEOUT_S = 10.0

# All content comes from this server, and the pages hold no inline scripts or styles.
_CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NOT_KEPT = {"cache-control": "no-store"}


class Guard:
    """An ASGI application around another one; it passes allowed requests on."""

    def __init__(self, app: ASGIApp, token: str, names: Iterable[str]) -> None:
        """Guard an application.

        Args:
            app: The application.
            token: The token that every request must prove to know; not empty.
            names: Names and addresses of the dashboard besides those of the loopback interface.
        """
        self._app = app
        self._token = token
        self._cookie = cookie_name(token)
        self._names = frozenset(map(hosts.canonical, names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        await (await self._answer(Request(scope, receive)))(scope, receive, guarded)

    async def _answer(self, request: Request) -> ASGIApp:
        headers, path = request.headers, request.scope["path"]
        if request.method != "GET" and (request.method, path) != ("POST", LOGIN):
            allow = "POST" if path == LOGIN else "GET"
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"there is only {allow}", allow=allow)
        name = hosts.host_name(headers.getlist("host"))
        allowed = self._allowed(request.scope, name)
        if name not in allowed:
            return _refuse(
                HTTPStatus.FORBIDDEN,
                "the dashboard is not known under this name: add it to DASHBOARD_HOSTS",
            )
        if _is_of_another_page(headers):
            return _refuse(HTTPStatus.FORBIDDEN, "another page asks: open the dashboard itself")
        # The library checks the header once more, in case of a mistake in this check.
        return TrustedHostMiddleware(
            await self._let_in(request), [_in_header(each) for each in allowed], www_redirect=False
        )

    def _allowed(self, scope: Scope, name: str) -> set[str]:
        """Return the names of the dashboard on this connection."""
        allowed = {*self._names, "localhost", "127.0.0.1", "::1"}
        # For a server on all addresses: the address at which the connection arrived.
        if (server := scope.get("server")) and server[1] is not None:
            allowed.add(hosts.canonical(server[0]))
        if hosts.is_loopback(name):
            allowed.add(name)
        return allowed

    async def _let_in(self, request: Request) -> ASGIApp:
        path = request.scope["path"]
        if request.method == "POST":
            return await self._log_in(request)
        if path == "/" and "token" in request.query_params:
            return self._welcome(request, request.query_params["token"])
        if self._knows(request):
            connections.admit(request.scope)
            return self._app
        if path in LOGIN_FILES:
            return self._app
        if path == "/":
            return self._show_login
        return _refuse(
            HTTPStatus.UNAUTHORIZED,
            "the token is missing or wrong",
            **{"www-authenticate": "Bearer"},
        )

    def _knows(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self._token):
            return True
        return _same(request.cookies.get(self._cookie, ""), cookie_value(self._token))

    async def _log_in(self, request: Request) -> Response:
        # Our own form says "null", because its page has the policy to send no referrer.
        origin = request.headers.get("origin", "null")
        if origin != "null" and not hosts.is_own_page(origin, request.headers["host"]):
            return _refuse(HTTPStatus.FORBIDDEN, "another page asks: open the dashboard itself")
        body = b""
        try:
            async with asyncio.timeout(LOGIN_TIMEOUT_S):
                async for part in request.stream():
                    body += part
                    if len(body) > MAX_LOGIN_BYTES:
                        return _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "this is no token")
        except (TimeoutError, ClientDisconnect):
            return _refuse(HTTPStatus.REQUEST_TIMEOUT, "the token did not arrive in time")
        try:
            fields = parse_qs(body.decode("ascii"), max_num_fields=5)
        except ValueError:
            return _refuse(HTTPStatus.BAD_REQUEST, "send token=… as a form does")
        return self._welcome(request, fields.get("token", [""])[0])

    def _welcome(self, request: Request, given: str) -> Response:
        if not _same(given.strip(), self._token):
            # The page shows the mistake, and the wrong token leaves the address bar.
            return RedirectResponse("/#wrong", HTTPStatus.SEE_OTHER, _NOT_KEPT)
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER, _NOT_KEPT)
        response.set_cookie(
            self._cookie,
            cookie_value(self._token),
            max_age=COOKIE_AGE_S,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def _show_login(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def unauthorized(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.OK:
                message = {**message, "status": int(HTTPStatus.UNAUTHORIZED)}
            await send(message)

        page = {"path": "/login.html", "raw_path": b"/login.html", "query_string": b""}
        await self._app({**scope, **page}, receive, unauthorized)


def cookie_value(token: str) -> str:
    """Return an HMAC of a token for the cookie; it does not reveal the token."""
    return hmac.new(token.encode(), b"radar dashboard", hashlib.sha256).hexdigest()


def cookie_name(token: str) -> str:
    """Return the cookie's name: browsers keep cookies by host, not by port.

    So two dashboards of a machine do not log each other out.
    """
    return f"{COOKIE}_{hmac.new(token.encode(), b'name', hashlib.sha256).hexdigest()[:8]}"


def _is_of_another_page(headers: Headers) -> bool:
    """Return whether a page of another site or port sent the request; links are allowed."""
    if not hosts.is_from_another_site(headers.get("sec-fetch-site", "")):
        return False
    opens = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return opens != ("navigate", "document")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _in_header(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _refuse(status: int, text: str, **headers: Any) -> Response:
    return JSONResponse({"error": text}, status, _NOT_KEPT | headers)
