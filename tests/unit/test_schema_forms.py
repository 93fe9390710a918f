"""Every migration has a form from which the schema is read."""

import pytest

from radar.store.schema import UnknownStatement, newest, read


def test_schema_of_all_migrations_has_tables_columns_and_views() -> None:
    schema = newest()
    assert {"trades_master", "orderbook_depth", "gaps", "watches"} <= schema.tables.keys()
    assert all(table.columns for table in schema.tables.values())
    assert "trades" in schema.views


def test_schema_after_changes_of_a_table_has_its_new_columns_and_types() -> None:
    create = "CREATE TABLE IF NOT EXISTS t (n UInt8 DEFAULT 1, why Enum8('a' = 1)) ENGINE = Memory"
    codec = "ALTER TABLE t MODIFY COLUMN n CODEC(LZ4)"
    modify = "MODIFY COLUMN why Enum8('a' = 1, 'b' = 2) COMMENT 'a, or b'"
    add = "ADD COLUMN IF NOT EXISTS m UInt64 ALIAS n"
    table = read([create, codec, f"ALTER TABLE t {modify}, {add}"]).tables["t"]
    assert table.statements == [create, codec, f"ALTER TABLE t {modify}, {add}"]
    assert {
        name: (column.type, column.default, column.statements[1:])
        for name, column in table.columns.items()
    } == {
        "n": ("UInt8", "DEFAULT", [codec]),
        "why": ("Enum8('a'=1,'b'=2)", "", [f"ALTER TABLE t {modify}"]),
        "m": ("UInt64", "ALIAS", []),
    }
    assert table.columns["m"].statements == [f"ALTER TABLE t {add}"]


def test_schema_with_a_change_of_another_form_is_refused() -> None:
    create = "CREATE TABLE IF NOT EXISTS t (n UInt8, m UInt8) ENGINE = Memory"
    with pytest.raises(UnknownStatement, match="DROP COLUMN m"):
        read([create, "ALTER TABLE t DROP COLUMN m"])


def test_schema_with_a_statement_of_another_form_is_refused() -> None:
    with pytest.raises(UnknownStatement):
        read(["CREATE FUNCTION f AS x -> x"])
