"""Who may ask the dashboard: the token, the address that was meant, and what a page may do."""

import hashlib
import hmac
import ipaddress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

COOKIE = "radar_dashboard"
COOKIE_AGE_S = 30 * 86400
LOGIN_FILES = ("/login.html", "/login.css")

# Everything comes from here, nothing stands in the pages themselves.
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


class Guard:
    """An ASGI application around another one, which lets through what may be asked."""

    def __init__(self, app: Any, token: str, host: str) -> None:
        """Guard an application.

        Args:
            app: What answers.
            token: Who asks must know it; empty: nothing.
            host: The name or address that the dashboard listens on.
        """
        self._app = app
        self._token = token
        self._host = host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], *_HEADERS]}
            await send(message)

        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] != "GET":
            await _refuse(guarded, 405, "there is only GET", [(b"allow", b"GET")])
        elif self._token:
            await self._with_token(scope, headers, receive, guarded)
        elif not is_loopback(headers.get(b"host", ""), self._host):
            await _refuse(
                guarded,
                403,
                "this name is not one of the dashboard: set DASHBOARD_TOKEN to use it under"
                " other names than localhost",
            )
        else:
            await self._app(scope, receive, guarded)

    async def _with_token(
        self, scope: Any, headers: dict[bytes, str], receive: Any, send: Any
    ) -> None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and given:
            if _same(given, self._token):
                await _welcome(send, cookie_value(self._token), secure=scope["scheme"] == "https")
            else:
                # The page says so, and what was given stands in no address any more.
                await _redirect(send, b"/#wrong")
        elif self._knows(headers) or scope["path"] in LOGIN_FILES:
            await self._app(scope, receive, send)
        elif scope["path"] == "/":
            await self._login(scope, receive, send)
        else:
            bearer = [(b"www-authenticate", b"Bearer")]
            await _refuse(send, 401, "the token is missing or wrong", bearer)

    def _knows(self, headers: dict[bytes, str]) -> bool:
        kind, _, given = headers.get(b"authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self._token):
            return True
        cookies = (part.strip() for part in headers.get(b"cookie", "").split(";"))
        value = cookie_value(self._token)
        return any(
            name == COOKIE and _same(given, value)
            for name, _, given in (cookie.partition("=") for cookie in cookies)
        )

    async def _login(self, scope: Any, receive: Any, send: Any) -> None:
        async def unauthorized(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message = message | {"status": 401}
            await send(message)

        page = {"path": "/login.html", "raw_path": b"/login.html", "query_string": b""}
        await self._app(scope | page, receive, unauthorized)


def cookie_value(token: str) -> str:
    """Return what stands in the cookie of who knows a token, from which nobody can tell it."""
    return hmac.new(token.encode(), b"radar dashboard", hashlib.sha256).hexdigest()


def is_loopback(host: str, own: str) -> bool:
    """Tell whether a Host header names this machine itself, or the address that is listened on.

    A page anywhere on the web can point a name of its own at 127.0.0.1; it cannot choose what
    browsers then send as Host.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", own.strip("[]").lower()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


async def _welcome(send: Any, cookie: str, *, secure: bool) -> None:
    attributes = f"Path=/; Max-Age={COOKIE_AGE_S}; HttpOnly; SameSite=Strict"
    if secure:
        attributes += "; Secure"
    await _redirect(send, b"/", [(b"set-cookie", f"{COOKIE}={cookie}; {attributes}".encode())])


async def _redirect(
    send: Any, location: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    all_headers = [(b"location", location), (b"cache-control", b"no-store"), *(headers or [])]
    await send({"type": "http.response.start", "status": 303, "headers": all_headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(
    send: Any, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    content = (b"content-type", b"application/json")
    all_headers = [content, (b"cache-control", b"no-store"), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode({"error": text})})
