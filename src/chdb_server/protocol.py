"""ClickHouse's HTTP interface as pure translation: request parts in, response parts out.

Sources: ClickHouse documentation "HTTP interface"; the table of HTTP statuses is the one of
ClickHouse's source file `src/Server/HTTP/exceptionCodeToHTTPStatus.cpp`.
"""

import base64
import hmac
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from bounded_http import hosts
from chdb_server.engine import Statistics
from chdb_server.errors import Rejected

AUTHENTICATION_FAILED = 516
REQUIRED_PASSWORD = 194
ACCESS_DENIED = 497
BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SESSION_NOT_FOUND = 372
SET_NON_GRANTED_ROLE = 512
QUERY_IS_TOO_LARGE = 229
TOO_LARGE_RESULT = 396
TIMEOUT_EXCEEDED = 159
CANNOT_SCHEDULE_TASK = 439

DEFAULT_BUFFER_BYTES = 1 << 20
MAX_PARAMETERS = 1000

SECURITY_HEADERS = [
    # A browser must never take an answer, which holds strings of an exchange, for a page.
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]
# One of each at most: of two, one reader takes the first and another the last.
_SINGLE_HEADERS = frozenset(
    {"host", "origin", "referer", "sec-fetch-site", "authorization", "content-encoding"}
    | {"content-type", "x-clickhouse-user", "x-clickhouse-key", "x-clickhouse-database"}
)
_QUERY_ID = re.compile(r"[\x21-\x7e]{0,128}")
_FORMAT_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")

# Everything else in the URL is a setting.
_NOT_SETTINGS = frozenset(
    {
        "buffer_size",
        "client_protocol_version",
        "close_session",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "output_format",
        "password",
        "query",
        "query_id",
        "quota_key",
        "readonly",
        "role",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)

_BAD_REQUEST = (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 167, 168, 223, 321, 376)
_CODES_OF_STATUS = {
    400: (*_BAD_REQUEST, 427, 441, 675, 676),
    401: (REQUIRED_PASSWORD,),
    403: (192, 193, ACCESS_DENIED, SET_NON_GRANTED_ROLE, AUTHENTICATION_FAILED),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (QUERY_IS_TOO_LARGE, TOO_LARGE_RESULT),
    501: (NOT_IMPLEMENTED,),
    503: (76, 209, CANNOT_SCHEDULE_TASK),
}
_STATUS_OF_CODE = {code: status for status, codes in _CODES_OF_STATUS.items() for code in codes}


@dataclass(frozen=True, slots=True)
class Request:
    """A request, apart from its body.

    Attributes:
        query: SQL from the URL or the form, empty if it is in the body.
        database: The database of unqualified names; None: the server's default.
        settings: ClickHouse settings of this request alone.
        params: Values of `{name:Type}` placeholders.
        query_id: The client's name of the request; empty: it gave none.
        default_format: The format of a result if the statement names none.
        buffer_bytes: How much of a result is held back, so that an error can still get its
            own status.
        wait_for_end: Hold back the whole result.
        readonly: Refuse everything that writes.
        compress_response: The client allows a compressed answer.
    """

    query: bytes
    database: str | None
    settings: Mapping[str, str]
    params: Mapping[str, str]
    query_id: str
    default_format: str
    buffer_bytes: int
    wait_for_end: bool
    readonly: bool
    compress_response: bool


def headers_of(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """Return header values by lower-case name; None if one that decides who asks is there twice."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
    counts = Counter(name for name, _ in headers)
    if any(counts[name] > 1 for name in _SINGLE_HEADERS):
        return None
    return dict(headers)


def values_of(query_string: bytes) -> dict[str, str]:
    """Return the parameters of a URL by name.

    Raises:
        Rejected: There are too many.
    """
    try:
        return dict(
            parse_qsl(
                query_string.decode("latin-1"),
                keep_blank_values=True,
                max_num_fields=MAX_PARAMETERS,
            )
        )
    except ValueError as error:
        raise Rejected(
            BAD_ARGUMENTS, "BAD_ARGUMENTS", f"The URL has more than {MAX_PARAMETERS} parameters"
        ) from error


def parse_request(
    method: str,
    values: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    compression_by_default: bool = True,
) -> Request:
    """Sort the parameters of a request.

    Args:
        method: HTTP method; GET and HEAD imply readonly.
        values: Parameters of the URL and of the form.
        headers: Header values by lower-case name.
        compression_by_default: The engine's default of `enable_http_compression`.

    Raises:
        Rejected: A parameter that is malformed or that this server cannot honour.
    """
    _refuse_unsupported(values)
    settings = {
        name: value
        for name, value in values.items()
        if name not in _NOT_SETTINGS and not name.startswith("param_")
    }
    compress = values.get("enable_http_compression")
    return Request(
        query=values.get("query", "").encode("utf-8", "replace"),
        database=values.get("database") or headers.get("x-clickhouse-database") or None,
        settings=settings,
        params={k[6:]: v for k, v in values.items() if k.startswith("param_")},
        query_id=_matching("query_id", values.get("query_id", ""), _QUERY_ID),
        default_format=_matching(
            "default_format",
            values.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
            _FORMAT_NAME,
        ),
        buffer_bytes=_bytes(values.get("buffer_size", ""), DEFAULT_BUFFER_BYTES),
        wait_for_end=_flag(values.get("wait_end_of_query", "")),
        readonly=method in ("GET", "HEAD") or _flag(values.get("readonly", "")),
        compress_response=compression_by_default if compress is None else _flag(compress),
    )


def authenticate(
    values: Mapping[str, str], headers: Mapping[str, str], user: str, password: str
) -> None:
    """Check the credentials from headers, Basic authorization or URL, in ClickHouse's order.

    Raises:
        Rejected: AUTHENTICATION_FAILED.
    """
    given_user, given_password = _credentials(values, headers)
    # As with ClickHouse, who needs no password may give any.
    knows = not password or _same(given_password, password)
    if not (_same(given_user, user) & knows):
        raise Rejected(
            AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            "Authentication failed: password is incorrect, or there is no user with such name.",
        )


def is_trusted(headers: Mapping[str, str], own_host: str) -> bool:
    """Whether no web page stands behind a request.

    A page anywhere on the web can make its reader's browser send requests to a port of the
    reader's machine: as an image, a frame, a form, a script, or by leading the tab there. Browsers
    say so in `Sec-Fetch-Site`, older ones in `Origin` or `Referer`. A page can also point a name
    of its own at 127.0.0.1; then `Host` is that name. Other clients send none of the three, and
    name an address or localhost. A request without `Host` is refused.
    """
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    host = headers.get("host", "")
    pages = (headers[name] for name in ("origin", "referer") if name in headers)
    if not all(hosts.is_own_page(page, host) for page in pages):
        return False
    name = hosts.host_name([host])
    return name in ("localhost", hosts.canonical(own_host)) or hosts.is_address(name)


def status_of(code: int) -> int:
    """Return the HTTP status that ClickHouse gives an error number."""
    return _STATUS_OF_CODE.get(code, 500)


def error_text(error: Rejected, version: str) -> bytes:
    """Return the body of an error response; the version is empty for a client without password."""
    return f"{error} (version {version})\n".encode() if version else f"{error}\n".encode()


def error_within_body(error: Rejected, version: str, tag: str) -> bytes:
    """Return the block that ends a body which had already begun when the query failed.

    Its frame is `__exception__`, the tag that the response's header announced, the message,
    and the message's length in bytes (documentation "HTTP interface", "HTTP error codes").
    """
    message = error_text(error, version)
    start = f"\r\n__exception__\r\n{tag}\r\n".encode()
    return start + message + f"{len(message)} {tag}\r\n__exception__\r\n".encode()


def summary(statistics: Statistics) -> str:
    """Return the value of the header X-ClickHouse-Summary."""
    values = {
        "read_rows": statistics.read_rows,
        "read_bytes": statistics.read_bytes,
        "written_rows": statistics.written_rows,
        "written_bytes": statistics.written_bytes,
        "total_rows_to_read": statistics.read_rows,
        "result_rows": statistics.result_rows,
        "result_bytes": statistics.result_bytes,
        "elapsed_ns": statistics.elapsed_ns,
    }
    return json.dumps({name: str(value) for name, value in values.items()}, separators=(",", ":"))


def _refuse_unsupported(values: Mapping[str, str]) -> None:
    for name in ("compress", "decompress"):
        if _flag(values.get(name, "")):
            raise Rejected(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                f"{name}=1 (ClickHouse's own block compression) is not supported by the embedded "
                "server; use Content-Encoding, or Accept-Encoding with enable_http_compression=1",
            )
    # A `session_id` alone changes nothing: clickhouse-connect sends one with every request.
    if _flag(values.get("session_check", "")):
        raise Rejected(
            SESSION_NOT_FOUND,
            "SESSION_NOT_FOUND",
            "Session not found: this server keeps no sessions; send settings and database as "
            "parameters of each request",
        )
    if values.get("role"):
        raise Rejected(
            SET_NON_GRANTED_ROLE,
            "SET_NON_GRANTED_ROLE",
            f"Role {values['role']} should be granted to set as a current",
        )


def _same(given: str, wanted: str) -> bool:
    # What is no text at all is no password either.
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _credentials(values: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            raise Rejected(
                BAD_ARGUMENTS, "BAD_ARGUMENTS", "Invalid HTTP Basic authentication"
            ) from None
        return user, password
    if scheme:
        raise Rejected(
            AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported",
        )
    return values.get("user") or "default", values.get("password", "")


def _matching(name: str, value: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(value):
        raise Rejected(
            BAD_ARGUMENTS, "BAD_ARGUMENTS", f"{name} is not of the form {pattern.pattern}"
        )
    return value


def _bytes(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else default


def _flag(text: str) -> bool:
    return text not in ("", "0", "false", "False")
