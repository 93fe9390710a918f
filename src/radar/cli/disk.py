"""The command that reports disk space: `radar disk`."""

from radar.cli.arguments import AsJson, say, say_json, settings_for
from radar.cli.required_services import require


def disk(*, as_json: AsJson = False) -> None:
    """Show the disk space of each table and each market in ClickHouse.

    A market's size is an estimate: its share of the table's rows, or of the levels of books.
    """
    from radar.checks import disk as module
    from radar.store.client import Store

    settings = settings_for("disk")
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        sizes = module.tables(store)
        found = module.markets(store, sizes) if sizes else []
    finally:
        store.close()
    if as_json:
        say_json(module.facts(sizes, found))
    else:
        say(*module.describe(sizes, found))
