"""Translation between HTTP and ClickHouse by the embedded server."""

import base64

import pytest

from chdb_server import protocol
from chdb_server.engine import Statistics
from chdb_server.errors import Rejected, from_engine


def test_parse_request_sorts_settings_from_parameters() -> None:
    values = {
        "query": "SELECT {x:UInt8}",
        "param_x": "1",
        "max_threads": "2",
        "database": "radar",
        "session_id": "of a client that wants one",
        "wait_end_of_query": "1",
        "enable_http_compression": "0",
    }
    request = protocol.parse_request("POST", values, {})
    assert request.settings == {"max_threads": "2"}
    assert request.params == {"x": "1"}
    assert (request.query, request.database) == (b"SELECT {x:UInt8}", "radar")
    assert request.wait_for_end
    assert not request.compress_response
    assert not request.readonly
    assert protocol.parse_request("GET", {}, {}).readonly


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic " + base64.b64encode(b"u:p:q").decode()},
        {"x-clickhouse-user": "u", "x-clickhouse-key": "p:q"},
        {},
    ],
)
def test_authenticate_accepts_the_user_from_each_place(headers: dict[str, str]) -> None:
    values = {} if headers else {"user": "u", "password": "p:q"}
    protocol.authenticate(values, headers, "u", "p:q")
    with pytest.raises(Rejected) as caught:
        protocol.authenticate(values, headers, "u", "other")
    assert caught.value.code == 516


@pytest.mark.parametrize(
    ("headers", "trusted"),
    [
        ({"host": "127.0.0.1:8123"}, True),
        ({"host": "localhost:8123", "origin": "http://localhost:8123"}, True),
        ({"host": "[::1]:8123"}, True),
        ({"host": "db.internal"}, True),
        ({}, False),
        ({"origin": "null"}, False),
        ({"host": "", "origin": "null"}, False),
        ({"host": "", "referer": ""}, False),
        ({"host": "evil.example@localhost"}, False),
        ({"host": "localhost@evil.example"}, False),
        ({"host": "localhost", "origin": "http://evil.example@localhost"}, False),
        ({"host": "localhost", "referer": "http://evil.example\\@localhost/"}, False),
        ({"host": "localhost/x"}, False),
        ({"host": "localhost, evil.example"}, False),
        ({"host": "localhost:8123:80"}, False),
        ({"host": "localhost\t"}, False),
        ({"host": "localhost", "origin": ""}, False),
        ({"host": "localhost", "origin": "localhost"}, False),
        ({"host": "LOCALHOST:8123", "origin": "http://localhost:8123"}, True),
        ({"host": "DB.internal"}, True),
        ({"host": "[::1%25lo]"}, False),
        ({"host": "127.0.0.1:8123", "origin": "https://example.com"}, False),
        ({"host": "127.0.0.1:8123", "origin": "null"}, False),
        ({"host": "example.com:8123"}, False),
        ({"host": "localhost.example.com"}, False),
        ({"host": "[::1"}, False),
        ({"host": "127.0.0.1:8123", "sec-fetch-site": "none"}, True),
        ({"host": "127.0.0.1:8123", "sec-fetch-site": "same-origin"}, True),
        ({"host": "127.0.0.1:8123", "sec-fetch-site": "same-site"}, False),
        ({"host": "127.0.0.1:8123", "sec-fetch-site": "cross-site"}, False),
        ({"host": "127.0.0.1:8123", "sec-fetch-site": "anything"}, False),
        ({"host": "127.0.0.1:8123", "referer": "http://127.0.0.1:8123/"}, True),
        ({"host": "127.0.0.1:8123", "referer": "http://127.0.0.1:9999/"}, False),
        ({"host": "127.0.0.1:8123", "referer": "http://[::1"}, False),
    ],
)
def test_is_trusted_refuses_foreign_pages(headers: dict[str, str], trusted: bool) -> None:
    assert protocol.is_trusted(headers, "db.internal") is trusted


def test_from_engine_keeps_code_name_and_message() -> None:
    error = from_engine(
        RuntimeError(
            "Streaming insert finish failed: Code: 26. DB::Exception: Cannot (really) parse:\n"
            "at row 1. (CANNOT_PARSE_QUOTED_STRING) (version 26.9.2.1)"
        )
    )
    assert (error.code, error.name) == (26, "CANNOT_PARSE_QUOTED_STRING")
    assert error.detail == "Cannot (really) parse:\nat row 1."
    assert protocol.status_of(error.code) == 400
    assert protocol.error_text(error, "1.2").endswith(
        b"at row 1. (CANNOT_PARSE_QUOTED_STRING) (version 1.2)\n"
    )
    assert from_engine(ValueError("odd")).code == 1001


def test_error_within_body_is_framed_by_tag_and_length() -> None:
    error = Rejected(395, "NAME", "no")
    block = protocol.error_within_body(error, "1", "abcd")
    message = b"Code: 395. DB::Exception: no (NAME) (version 1)\n"
    assert block == (
        b"\r\n__exception__\r\nabcd\r\n"
        + message
        + f"{len(message)} abcd\r\n__exception__\r\n".encode()
    )


def test_summary_holds_strings() -> None:
    text = protocol.summary(Statistics(read_rows=3, written_rows=2))
    assert text.startswith('{"read_rows":"3","read_bytes":"0","written_rows":"2"')
