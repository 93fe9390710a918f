"""ClickHouse: the schema, inserts and queries."""
