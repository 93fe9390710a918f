"""A query and its parameters as a form, which clients send when they are too long for a URL.

Source: ClickHouse documentation "HTTP interface", "Queries with parameters" and "External data".
"""

from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from chdb_server import protocol
from chdb_server.errors import Rejected

# As much as a URL may hold. Less than what the library would write to the disk.
MAX_FORM_BYTES = (1 << 20) - 1
_KIND = "multipart/form-data"
_NO_ENCODING = {"UPLOAD_ERROR_ON_BAD_CTE": True}


def is_form(headers: Mapping[str, str]) -> bool:
    """Whether the body of a request is a form."""
    return headers.get("content-type", "").strip().lower().startswith("multipart/")


def values_of(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Return the fields of a form by name: `query` and `param_NAME`.

    Args:
        headers: The headers of the request by lower-case name.
        body: The form, of at most `MAX_FORM_BYTES`.

    Raises:
        Rejected: It is malformed, or holds another field, a field twice or a file.
    """
    kind, options = parse_options_header(headers["content-type"])
    boundary = options.get(b"boundary")
    if kind != _KIND.encode() or not boundary:
        raise _refused(f"its Content-Type is not {_KIND} with a boundary")
    if "content-encoding" in headers:
        raise _refused("it is compressed")
    values: dict[str, str] = {}
    ends: list[bool] = []

    def take(field: Field) -> None:
        name = (field.field_name or b"").decode("utf-8", "replace")
        if name != "query" and not name.startswith("param_"):
            raise _refused("it holds another field")
        if name in values:
            raise _refused("a field is there twice")
        if len(values) == protocol.MAX_PARAMETERS:
            raise _refused(f"it has more than {protocol.MAX_PARAMETERS} fields")
        values[name] = (field.value or b"").decode("utf-8", "replace")

    def take_no_file(_: File) -> None:
        raise _refused("it holds a file")

    parser = FormParser(
        _KIND, take, take_no_file, lambda: ends.append(True), boundary, config=_NO_ENCODING
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _refused("it is malformed") from error
    # The library takes a form that breaks off for a whole one.
    if not ends:
        raise _refused("it has no end")
    return values


def _refused(reason: str) -> Rejected:
    return Rejected(
        protocol.BAD_ARGUMENTS,
        "BAD_ARGUMENTS",
        f"Cannot read the form: {reason}. A form holds the fields query and param_NAME, each once; "
        "external tables are not supported by the embedded server",
    )
