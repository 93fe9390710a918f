"""`radar query`: ask the database that runs, or open the embedded data itself."""

import re
from collections.abc import Iterator
from pathlib import Path

from radar.errors import ConfigurationError, QueryFailed, StoreUnavailable
from radar.local import addresses
from radar.settings import Settings

_OWN_FORMAT = re.compile(r"\sFORMAT\s+(\w+)[\s;]*$", re.IGNORECASE)


def ask(settings: Settings, sql: str, output_format: str) -> Iterator[bytes]:
    """Yield the answer in a ClickHouse format; blocks.

    A format that the query ends with counts instead.

    Raises:
        ConfigurationError: The query is empty.
        StoreUnavailable: Nothing runs and there is no embedded data.
        QueryFailed: ClickHouse refuses the query.
    """
    if own := _OWN_FORMAT.search(sql):
        sql, output_format = sql[: own.start()], own[1]
    if not sql.strip(" \n\t;"):
        raise ConfigurationError("the query is empty")
    try:
        yield from _answer(settings, sql, output_format)
    except QueryFailed as error:
        # What could have stood there instead is a page of words.
        raise QueryFailed(str(error).partition(" Expected one of: ")[0]) from error


def _answer(settings: Settings, sql: str, output_format: str) -> Iterator[bytes]:
    host, port = settings.clickhouse_host, settings.clickhouse_port
    if not addresses.answers(host, port) and addresses.is_loopback(host):
        yield _ask_directly(settings, sql, output_format)
        return
    from radar.store.client import Store

    store = Store(settings, timeout_s=3600)
    try:
        yield from store.stream(sql, output_format)
    finally:
        store.close()


def _ask_directly(settings: Settings, sql: str, output_format: str) -> bytes:
    path = _newest_data(settings)
    if path is None:
        raise StoreUnavailable(
            f"nothing answers at {settings.clickhouse_host}:{settings.clickhouse_port} and there is"
            f" no data in {settings.radar_data_dir}: start `radar up`"
        )
    from radar.local.clickhouse.engine import query_directly

    return query_directly(path, sql, output_format, settings.clickhouse_db)


def _newest_data(settings: Settings) -> Path | None:
    base = settings.radar_data_dir.absolute()
    found = [
        path for path in (base / "clickhouse", base / "simulated" / "clickhouse") if path.is_dir()
    ]
    return max(found, key=_last_used_s, default=None)


def _last_used_s(path: Path) -> float:
    # The lock of a run is rewritten when it starts; data that was copied here may lack it.
    lock = path.parent / "lock"
    return lock.stat().st_mtime if lock.exists() else 0.0
