"""The HTTP endpoints of every process: `/healthz`, `/readyz` and `/metrics`.

A producer serves `/connections` as well.
"""

import json
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import make_wsgi_app

from bounded_http import hosts
from bounded_http.threads import HOSTS, BoundedThreads
from radar.errors import ConfigurationError
from radar.telemetry import metrics
from radar.telemetry.connections import Connections
from radar.telemetry.health import Health

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def serve(
    host: str,
    port: int,
    health: Health,
    connections: Connections | None = None,
    names: Iterable[str] = (),
) -> None:
    """Serve health and metrics in a background thread; port 0 disables the server.

    Args:
        host: The address to listen on.
        port: The port to listen on.
        health: The health of the process.
        connections: A producer's connections to its exchange.
        names: Host names with a dot that requests may use.

    Raises:
        ConfigurationError: The address is in use, or is not of this machine.
    """
    if not port:
        return
    metrics.ALIVE.set_function(lambda: not health.why_not_alive())
    metrics.READY.set_function(lambda: not health.why_not_ready())
    metrics.WARNINGS.set_function(lambda: len(health.warnings()))
    try:
        server = BoundedThreads(host, port, application(health, connections, names))
    except OSError as error:
        raise ConfigurationError(
            f"cannot serve health and metrics at METRICS_HOST={host} METRICS_PORT={port}:"
            f" {error.strerror or error}"
        ) from error
    threading.Thread(target=server.serve_forever, name="endpoints", daemon=True).start()


def application(
    health: Health, connections: Connections | None = None, names: Iterable[str] = ()
) -> "WSGIApplication":
    """Return the application that answers the requests."""
    serve_metrics: WSGIApplication = make_wsgi_app()
    known = frozenset(map(hosts.canonical, names))

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if refusal := _refusal(environ, known):
            status, text = refusal
            start_response(status, [("Content-Type", "text/plain")])
            return [text.encode() + b"\n"]
        match environ["PATH_INFO"]:
            case "/metrics":
                return serve_metrics(environ, start_response)
            case "/healthz":
                return _answer_state(start_response, "alive", health.why_not_alive())
            case "/readyz":
                return _answer_state(
                    start_response, "ready", health.why_not_ready(), health.warnings()
                )
            case "/connections" if connections is not None:
                start_response("200 OK", [("Content-Type", "application/json")])
                return [connections.as_json()]
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there are /healthz, /readyz and /metrics\n"]

    return answer


def _refusal(environ: "WSGIEnvironment", known: frozenset[str]) -> tuple[str, str] | None:
    """Return why a request is refused; None if it is not.

    There is no password, so a page of another site must not get an answer. Such a page can use any
    name that its owner can register, and every such name has a dot. It has an IP address as its
    name only if the server at that address has served it.
    """
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return "405 Method Not Allowed", "there are only GET and HEAD"
    name = hosts.host_name(environ.get(HOSTS, ()))
    if not (name in known or hosts.is_address(name) or hosts.is_bare(name)):
        return "403 Forbidden", "this process is not known under this name: add it to METRICS_HOSTS"
    if hosts.is_from_another_site(environ.get("HTTP_SEC_FETCH_SITE", "")):
        return "403 Forbidden", "another page asks"
    return None


def _answer_state(
    start_response: "StartResponse",
    state: str,
    reasons: list[str],
    warnings: list[str] | None = None,
) -> list[bytes]:
    body: dict[str, object] = {
        "status": f"not {state}" if reasons else state,
        "reasons": reasons,
    }
    if warnings:
        body["warnings"] = warnings
    start_response(
        "503 Service Unavailable" if reasons else "200 OK", [("Content-Type", "application/json")]
    )
    return [json.dumps(body).encode() + b"\n"]
