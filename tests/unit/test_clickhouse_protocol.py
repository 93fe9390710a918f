"""Translation between HTTP and ClickHouse by the embedded server."""

import base64

import pytest

from radar.local.clickhouse import protocol
from radar.local.clickhouse.engine import Statistics
from radar.local.clickhouse.errors import Rejected, from_engine
from radar.local.clickhouse.sessions import Sessions


def test_parse_request_sorts_settings_from_parameters() -> None:
    values = {
        "query": "SELECT {x:UInt8}",
        "param_x": "1",
        "max_threads": "2",
        "database": "radar",
        "session_id": "s",
        "session_timeout": "5",
        "wait_end_of_query": "1",
        "enable_http_compression": "0",
    }
    request = protocol.parse_request("POST", values, {})
    assert request.settings == {"max_threads": "2"}
    assert request.params == {"x": "1"}
    assert (request.query, request.database) == (b"SELECT {x:UInt8}", "radar")
    assert (request.session_id, request.session_seconds) == ("s", 5)
    assert request.wait_for_end
    assert not request.compress_response
    assert not request.readonly
    assert protocol.parse_request("GET", {}, {}).readonly


def test_parse_request_takes_external_tables_out_of_the_settings() -> None:
    values = {"e_types": "UInt8, Enum8('a,b' = 1, 'c' = 2), Decimal(3, 2)", "e_format": "CSV"}
    request = protocol.parse_request("POST", values, {}, b"SELECT 1", [("e", b"1\n")])
    (table,) = request.external
    assert (table.name, table.format, table.data) == ("e", "CSV", b"1\n")
    assert table.columns == "_1 UInt8, _2 Enum8('a,b' = 1, 'c' = 2), _3 Decimal(3, 2)"
    assert request.settings == {}


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
        ({}, True),
        ({"host": "127.0.0.1:8123", "origin": "https://example.com"}, False),
        ({"host": "127.0.0.1:8123", "origin": "null"}, False),
        ({"host": "example.com:8123"}, False),
    ],
)
def test_is_trusted_refuses_foreign_pages(headers: dict[str, str], trusted: bool) -> None:
    assert protocol.is_trusted(headers, "db.internal") is trusted


def test_multipart_body_is_split_into_fields_and_files() -> None:
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n2\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="e"; filename="e.csv"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n1,\xff\r\n\r\n--xyz--\r\n"
    )
    fields, files = protocol.parse_multipart('multipart/form-data; boundary="xyz"', body)
    assert fields == {"query": b"SELECT 1\r\n2"}
    assert files == [("e", b"1,\xff\r\n")]
    with pytest.raises(Rejected):
        protocol.parse_multipart("multipart/form-data; boundary=xyz", body[:-20])


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


def test_session_is_forgotten_when_idle_beyond_its_time() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    session = sessions.enter("s", 10, must_exist=False)
    with pytest.raises(Rejected) as caught:
        sessions.enter("s", 10, must_exist=True)
    assert caught.value.code == 373
    now = 100.0
    sessions.take_expired()
    sessions.leave(session)
    now = 109.0
    sessions.take_expired()
    assert sessions.enter("s", 10, must_exist=True) is session
    sessions.leave(session)
    now = 119.0
    sessions.take_expired()
    with pytest.raises(Rejected) as caught:
        sessions.enter("s", 10, must_exist=True)
    assert caught.value.code == 372
