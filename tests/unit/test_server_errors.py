"""Errors as ClickHouse words them, and what they are about."""

import pytest

from radar.errors import (
    BlockTooLarge,
    RadarError,
    StoreNeedsRepair,
    StoreRejected,
    StoreUnavailable,
)
from radar.store.server_errors import Sent, of_insert

SENT = Sent("127.0.0.1:8123", "trades_master", 7, 4321, "/data/clickhouse")


def error(code: int | None, words: str, name: str = "NAME") -> RadarError:
    text = (
        f"Received ClickHouse exception, code: {code}, server response: Code: {code}."
        f" DB::Exception: {words}. ({name}) (version 26.9.2.1) (for url http://127.0.0.1:8123)"
    )
    return of_insert(code, words if code is None else text, SENT)


VALUES = [
    (
        469,
        "Constraint `positive_price` for table radar.trades_master (12bc-4d) is violated at row 1",
    ),
    (
        69,
        'Too big: while converting column "price" from type String to type Decimal(38, 18): (in x',
    ),
    (
        376,
        'Cannot parse: while converting column "trade_id" from type String to type UUID: (in file',
    ),
]
SERVERS = [
    (469, "Constraint `foreign` for table radar.trades_master (12bc-4d) is violated at row 1"),
    (469, "Constraint `positive_price` for table radar.other (12bc-4d) is violated at row 1"),
    (469, "Constraint `positive_price` for table radar.trades_master: while pushing to view v"),
    (6, "Cannot parse: while executing 'FUNCTION toUInt8(price)': while pushing to view v"),
    (6, "Cannot parse string as UInt8: while executing 'FUNCTION toUInt8(toString(price) :: 5)'"),
    (69, 'Too big: while converting column "price" from type String to type Decimal(9, 2): (in f'),
    (407, "Decimal convert overflow: while executing 'FUNCTION toDecimal32(price)'"),
    (241, "Memory limit exceeded: while pushing to view radar.v"),
    (60, "Table radar.trades_master does not exist"),
    (16, "No such column x in table radar.trades_master"),
    (243, "Could not perform insert"),
    (1001, "std::filesystem: No space left on device"),
    (516, "Authentication failed"),
    (497, "Not enough privileges"),
    (164, "Cannot execute query in readonly mode"),
    (242, "Table is in readonly mode"),
    (115, "Unknown setting"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "words"), VALUES)
def test_error_about_a_value_of_radars_own_column_rejects_the_row(code: int, words: str) -> None:
    assert isinstance(error(code, words), StoreRejected)


@pytest.mark.parametrize(("code", "words"), SERVERS)
def test_error_about_anything_else_waits_for_a_person(code: int, words: str) -> None:
    found = error(code, words)
    assert isinstance(found, StoreNeedsRepair)
    assert "DB::Exception" not in str(found)
    assert "for url" not in str(found)


@pytest.mark.parametrize("code", [202, 252, 999, 1000, 159, 210])
def test_error_that_may_pass_or_is_unknown_is_retried(code: int) -> None:
    assert type(error(code, "Something happened")) is StoreUnavailable


def test_error_names_the_view_with_its_remedy() -> None:
    assert "DROP VIEW radar.v:" in str(error(6, "Bad: while pushing to view radar.v"))


def test_error_of_a_full_disk_names_the_path() -> None:
    assert "disk full: free space at /data/clickhouse" in str(error(243, "No room"))


@pytest.mark.parametrize("code", [241, 158, 307, 396])
def test_block_that_is_over_a_limit_of_clickhouse_is_too_large(code: int) -> None:
    found = error(code, "Too much")
    assert isinstance(found, BlockTooLarge)
    assert found.is_stored_in_part


def test_block_that_a_proxy_refuses_is_too_large_and_not_stored() -> None:
    found = error(None, "HTTP driver received HTTP status 413, server response: <html> (for url x)")
    assert isinstance(found, BlockTooLarge)
    assert not found.is_stored_in_part
    assert "413 (Request Entity Too Large) to a block of 7 rows and 4,321 bytes" in str(found)


def test_other_answer_of_a_proxy_is_retried() -> None:
    assert type(error(None, "HTTP driver received HTTP status 502")) is StoreUnavailable
