"""ClickHouse's HTTP interface as pure translation: request parts in, response parts out.

Sources: ClickHouse documentation "HTTP interface"; the table of HTTP statuses is the one of
ClickHouse's source file `src/Server/HTTP/exceptionCodeToHTTPStatus.cpp`.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from ipaddress import ip_address
from urllib.parse import urlsplit

from radar.local.clickhouse.engine import Statistics
from radar.local.clickhouse.errors import Rejected

AUTHENTICATION_FAILED = 516
REQUIRED_PASSWORD = 194
ACCESS_DENIED = 497
BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
READONLY = 164
INVALID_SESSION_TIMEOUT = 374
SET_NON_GRANTED_ROLE = 512
QUERY_IS_TOO_LARGE = 229

MAX_SESSION_SECONDS = 3600
"""ClickHouse's default `max_session_timeout`."""
DEFAULT_SESSION_SECONDS = 60
DEFAULT_BUFFER_BYTES = 1 << 20

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
    413: (QUERY_IS_TOO_LARGE,),
    501: (NOT_IMPLEMENTED,),
    503: (76, 209, 439),
}
_STATUS_OF_CODE = {code: status for status, codes in _CODES_OF_STATUS.items() for code in codes}


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """A table that a client sends along with its query, in a multipart body.

    Attributes:
        name: Name of the table in the query.
        format: Input format of `data`.
        columns: Its definition as in CREATE TABLE.
        data: The rows.
    """

    name: str
    format: str
    columns: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks for, apart from its body.

    Attributes:
        query: SQL from the URL or the form, empty if it is in the body.
        settings: ClickHouse settings of this request alone.
        params: Values of `{name:Type}` placeholders.
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
    session_id: str
    session_seconds: int
    session_must_exist: bool
    session_ends: bool
    default_format: str
    buffer_bytes: int
    wait_for_end: bool
    readonly: bool
    compress_response: bool
    external: Sequence[ExternalTable] = field(default=())


def parse_request(
    method: str,
    values: Mapping[str, str],
    headers: Mapping[str, str],
    query: bytes | None = None,
    files: Sequence[tuple[str, bytes]] = (),
    *,
    compression_by_default: bool = True,
) -> Request:
    """Sort the parameters of a request.

    Args:
        method: HTTP method; GET and HEAD imply readonly.
        values: Parameters of the URL and of a form.
        headers: Header values by lower-case name.
        query: The SQL if it came as a form field, where it may be binary.
        files: Name and content of the form's files.
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
    external = [_external_table(name, data, values) for name, data in files]
    for table in external:
        for suffix in ("format", "types", "structure"):
            settings.pop(f"{table.name}_{suffix}", None)
    compress = values.get("enable_http_compression")
    return Request(
        query=values.get("query", "").encode() if query is None else query,
        database=values.get("database") or headers.get("x-clickhouse-database") or None,
        settings=settings,
        params={k[6:]: v for k, v in values.items() if k.startswith("param_")},
        query_id=values.get("query_id", ""),
        session_id=values.get("session_id", ""),
        session_seconds=_session_seconds(values.get("session_timeout", "")),
        session_must_exist=_flag(values.get("session_check", "")),
        session_ends=_flag(values.get("close_session", "")),
        default_format=values.get("default_format")
        or headers.get("x-clickhouse-format")
        or "TabSeparated",
        buffer_bytes=_bytes(values.get("buffer_size", ""), DEFAULT_BUFFER_BYTES),
        wait_for_end=_flag(values.get("wait_end_of_query", "")),
        readonly=method in ("GET", "HEAD") or _flag(values.get("readonly", "")),
        compress_response=compression_by_default if compress is None else _flag(compress),
        external=external,
    )


def authenticate(
    values: Mapping[str, str], headers: Mapping[str, str], user: str, password: str
) -> None:
    """Check the credentials from headers, Basic authorization or URL, in ClickHouse's order.

    Raises:
        Rejected: AUTHENTICATION_FAILED.
    """
    given_user, given_password = _credentials(values, headers)
    matches = hmac.compare_digest(given_user.encode(), user.encode())
    matches &= hmac.compare_digest(given_password.encode(), password.encode())
    if not matches:
        raise Rejected(
            AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            f"{given_user}: Authentication failed: password is incorrect, or there is no user "
            "with such name.",
        )


def is_trusted(headers: Mapping[str, str], own_host: str) -> bool:
    """Whether no web page stands behind a request.

    A page anywhere on the web can make its reader's browser send requests to a port of the
    reader's machine, either openly (then `Origin` names the page) or after pointing its own
    name at 127.0.0.1 (then `Host` is that name). Other clients send no `Origin`, and name
    an address or localhost.
    """
    host = headers.get("host", "")
    origin = headers.get("origin", "")
    if origin and origin.partition("://")[2] != host:
        return False
    name = urlsplit(f"//{host}").hostname or ""
    if name in ("", "localhost", own_host):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def status_of(code: int) -> int:
    """Return the HTTP status that ClickHouse gives an error number."""
    return _STATUS_OF_CODE.get(code, 500)


def error_text(error: Rejected, version: str) -> bytes:
    """Return the body of an error response."""
    return f"{error} (version {version})\n".encode()


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


def parse_multipart(
    content_type: str, body: bytes
) -> tuple[dict[str, bytes], list[tuple[str, bytes]]]:
    """Split a multipart/form-data body into fields and files, each by name.

    Raises:
        Rejected: The body has no boundary or is cut short.
    """
    boundary = _header_parameter("content-type", content_type, "boundary")
    delimiter = b"--" + boundary.encode()
    parts = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if not boundary or len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise Rejected(BAD_ARGUMENTS, "BAD_ARGUMENTS", "The multipart body is malformed")
    fields: dict[str, bytes] = {}
    files: list[tuple[str, bytes]] = []
    for part in parts[1:-1]:
        head, _, content = part.lstrip(b" \t").partition(b"\r\n\r\n")
        disposition = _disposition(head.decode("utf-8", "replace").splitlines())
        name = _header_parameter("content-disposition", disposition, "name")
        if "filename" in disposition:
            files.append((name, content))
        else:
            fields[name] = content
    return fields, files


def _disposition(lines: Iterable[str]) -> str:
    return next((x.partition(":")[2] for x in lines if x.lower().startswith("content-disp")), "")


def _header_parameter(header: str, value: str, parameter: str) -> str:
    message = Message()
    message[header] = value
    found = message.get_param(parameter, "", header)
    return found if isinstance(found, str) else ""


def _external_table(name: str, data: bytes, values: Mapping[str, str]) -> ExternalTable:
    structure = values.get(f"{name}_structure", "")
    types = values.get(f"{name}_types", "")
    if structure:
        columns = structure
    elif types:
        columns = ", ".join(f"_{n} {x.strip()}" for n, x in enumerate(_split_types(types), 1))
    else:
        raise Rejected(
            BAD_ARGUMENTS,
            "BAD_ARGUMENTS",
            f"Neither structure nor types have not been provided for external table {name}. "
            "Use fields --structure or --types to do so.",
        )
    table_format = values.get(f"{name}_format") or "TabSeparated"
    return ExternalTable(name, table_format, columns, data)


def _split_types(types: str) -> Iterable[str]:
    """Split at commas that are not within parentheses or quotes."""
    depth, quoted, start = 0, False, 0
    for position, character in enumerate(types):
        if character == "'":
            quoted = not quoted
        elif not quoted:
            depth += (character == "(") - (character == ")")
            if character == "," and depth == 0:
                yield types[start:position]
                start = position + 1
    yield types[start:]


def _refuse_unsupported(values: Mapping[str, str]) -> None:
    for name in ("compress", "decompress"):
        if _flag(values.get(name, "")):
            raise Rejected(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                f"{name}=1 (ClickHouse's own block compression) is not supported by the embedded "
                "server; use Content-Encoding, or Accept-Encoding with enable_http_compression=1",
            )
    if values.get("role"):
        raise Rejected(
            SET_NON_GRANTED_ROLE,
            "SET_NON_GRANTED_ROLE",
            f"Role {values['role']} should be granted to set as a current",
        )


def _credentials(values: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
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


def _session_seconds(text: str) -> int:
    if not text:
        return DEFAULT_SESSION_SECONDS
    if not text.isascii() or not text.isdigit() or int(text) > MAX_SESSION_SECONDS:
        raise Rejected(
            INVALID_SESSION_TIMEOUT,
            "INVALID_SESSION_TIMEOUT",
            f"Session timeout '{text}' is not a number of seconds up to {MAX_SESSION_SECONDS}",
        )
    return int(text)


def _bytes(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() else default


def _flag(text: str) -> bool:
    return text not in ("", "0", "false", "False")
