"""Every migration has a form from which the schema is read."""

import pytest

from radar.store.schema import UnknownStatement, newest, read


def test_schema_of_all_migrations_has_tables_columns_and_views() -> None:
    schema = newest()
    assert {"trades_master", "orderbook_depth", "gaps", "watches"} <= schema.tables.keys()
    assert all(table.columns for table in schema.tables.values())
    assert "trades" in schema.views


def test_schema_with_a_statement_of_another_form_is_refused() -> None:
    with pytest.raises(UnknownStatement):
        read(["CREATE FUNCTION f AS x -> x"])
