"""Classification of SQL by the embedded ClickHouse."""

import contextlib

import pytest

from chdb_server.errors import Rejected
from chdb_server.statement import MAX_TOKENS, StatementKind, classify, may_destroy


@pytest.mark.parametrize(
    ("sql", "kind", "result_format"),
    [
        (b"", StatementKind.EMPTY, None),
        (b" ;; -- nothing\n", StatementKind.EMPTY, None),
        (b"SELECT 1", StatementKind.READ, None),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV ;", StatementKind.READ, "CSV"),
        (
            b"/* x */ with 1 AS a SELECT a format JSON SETTINGS max_threads = 1",
            StatementKind.READ,
            "JSON",
        ),
        (b"SELECT format FROM t", StatementKind.READ, None),
        (b"SELECT 'FORMAT CSV'", StatementKind.READ, None),
        (b"SELECT $$a;b FORMAT CSV$$, `x;y`, \"q;\", 'it''s;'", StatementKind.READ, None),
        (b"SELECT * FROM (SELECT 1 FORMAT CSV)", StatementKind.READ, None),
        (b"DESCRIBE TABLE t FORMAT TSVRaw", StatementKind.READ, "TSVRaw"),
        (b"WITH 1 AS a INSERT INTO t SELECT a", StatementKind.OTHER, None),
        (b"INSERT INTO t SELECT * FROM values('a UInt8', 1)", StatementKind.OTHER, None),
        (b"INSERT INTO t (a) (SELECT 1)", StatementKind.OTHER, None),
        (b"CREATE TABLE t (a UInt8) ENGINE = Memory;", StatementKind.OTHER, None),
        (b"KILL QUERY WHERE 1 FORMAT CSV", StatementKind.ANSWER, "CSV"),
        (b"SET a = 1", StatementKind.SET, None),
        (b"USE db;", StatementKind.USE, None),
        (b"INSERT INTO t", StatementKind.INSERT_DATA, None),
    ],
)
def test_classify_statement_finds_kind_and_format(
    sql: bytes, kind: StatementKind, result_format: str | None
) -> None:
    statement = classify(sql)
    assert (statement.kind, statement.format) == (kind, result_format)
    assert not statement.text.endswith(b";") or kind is StatementKind.EMPTY


@pytest.mark.parametrize(
    ("sql", "head", "data_format", "data"),
    [
        (b"INSERT INTO t VALUES (1);", b"INSERT INTO t ", "Values", b" (1);"),
        (b"insert into t format CSV 1,2", b"insert into t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT TSV\n\n1", b"INSERT INTO t ", "TSV", b"\n1"),
        (b"INSERT INTO t FORMAT TSV \r\n;1", b"INSERT INTO t ", "TSV", b";1"),
        (b"INSERT INTO t FORMAT Native\n'\xff;", b"INSERT INTO t ", "Native", b"'\xff;"),
        (
            b"INSERT INTO db.`a;b` (x, `values`) SETTINGS a = 'FORMAT CSV' FORMAT JSONEachRow\n{}",
            b"INSERT INTO db.`a;b` (x, `values`) SETTINGS a = 'FORMAT CSV' ",
            "JSONEachRow",
            b"{}",
        ),
    ],
)
def test_classify_insert_finds_where_data_begins(
    sql: bytes, head: bytes, data_format: str, data: bytes
) -> None:
    statement = classify(sql)
    assert statement.kind is StatementKind.INSERT_DATA
    assert (statement.text, statement.format) == (head, data_format)
    assert sql[statement.data_start :] == data


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (b"SELECT 1; SELECT 2", 62),
        (b"INSERT INTO t SELECT 1; DROP TABLE t", 62),
        (b"SELECT 1 INTO OUTFILE 'x' FORMAT CSV", 358),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", 344),
    ],
)
def test_classify_refuses_what_only_the_command_line_may(sql: bytes, code: int) -> None:
    with pytest.raises(Rejected) as caught:
        classify(sql)
    assert caught.value.code == code


def test_into_puts_the_target_before_format_and_settings() -> None:
    statement = classify(b"SELECT 1 SETTINGS a = 1 FORMAT CSV SETTINGS b = 2;")
    assert statement.into("/dev/fd/9", "TSV") == (
        b"SELECT 1 SETTINGS a = 1 \nINTO OUTFILE '/dev/fd/9' APPEND\nFORMAT CSV SETTINGS b = 2"
    )
    assert classify(b"SELECT 1").into("f", "TSV").endswith(b"APPEND\nFORMAT TSV")


@pytest.mark.parametrize(
    "text",
    [b"'\\", b"\"'`", b"/*", b"/* */ /*", b"$a$ ", b"$", b"--", b"# ", b"''", b"'a'\\"],
)
def test_classify_takes_time_in_proportion_to_the_text(text: bytes) -> None:
    """Text of this size took hours while each unclosed quote meant a search to the end."""
    with contextlib.suppress(Rejected):
        classify(b"SELECT " + text * ((1 << 20) // len(text)))


def test_classify_refuses_many_open_heredocs() -> None:
    tags = b" ".join(b"$%d$" % n for n in range(MAX_TOKENS // 4))
    with pytest.raises(Rejected, match="heredocs"):
        classify(b"SELECT " + tags)


@pytest.mark.parametrize(
    ("sql", "asks"),
    [
        ("SELECT 1", False),
        ("WITH 1 AS drop SELECT drop", False),
        ("INSERT INTO t VALUES (1)", False),
        ("CREATE TABLE t (x Int8) ENGINE = Memory", False),
        ("SELECT 'größer', `größer`", False),
        ("", False),
        ("DROP TABLE t", True),
        ("DROP\u00a0TABLE t", True),
        ("\u00a0SELECT 1", True),
        ("CREATE OR REPLACE TABLE t (x Int8) ENGINE = Memory", True),
        ("REPLACE TABLE t (x Int8) ENGINE = Memory", True),
        ("ALTER TABLE t MODIFY TTL x + INTERVAL 1 DAY", True),
        ("OPTIMIZE TABLE t DEDUPLICATE", True),
        ("EXCHANGE TABLES t AND u", True),
        ("SYSTEM STOP MERGES", True),
        ("SELECT ‘'’; DROP TABLE t", True),
    ],
)
def test_may_destroy_knows_what_is_harmless(sql: str, asks: bool) -> None:
    assert may_destroy(sql.encode()) is asks
