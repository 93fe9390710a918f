"""An embedded ClickHouse that speaks ClickHouse's HTTP interface.

`engine` is the only importer of chDB, `statement` and `protocol` are pure, `server` puts
them behind a port: `python -m chdb_server --path DIR --port 8123`.
"""
