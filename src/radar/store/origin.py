"""A database's mark of origin: whether it holds real or simulated data. See `radar.origin`."""

import time

from radar.codec.batch_decoder import Column
from radar.errors import QueryFailed, StoreRejected, StoreUnavailable
from radar.origin import Origin, OriginMark
from radar.store.client import Store

TABLE = "store_origin"
SEEN_WITHIN_S = 5.0
_LOOK_AGAIN_S = 0.05


def read(store: Store) -> OriginMark | None:
    """Return the mark of the database; None if no worker has set it yet; blocks.

    Raises:
        StoreUnavailable: The server does not answer.
        QueryFailed: The table or the right to read it is missing.
    """
    rows = store.rows(
        "SELECT toString(origin), exchange, toUnixTimestamp64Milli(since) / 1e3"
        f" FROM {TABLE} ORDER BY since LIMIT 1"
    )
    return OriginMark(Origin(rows[0][0]), str(rows[0][1]), float(rows[0][2])) if rows else None


def claim(store: Store, origin: Origin, exchange: str) -> OriginMark:
    """Return the mark of the database, and set it if there is none; blocks.

    Args:
        store: The database.
        origin: The origin to set if this worker is the first.
        exchange: REST address of the exchange.

    Raises:
        StoreUnavailable: The server does not answer, or refuses this statement.
    """
    try:
        if (mark := read(store)) is not None:
            return mark
        columns = [
            Column("origin", "String", [str(origin)]),
            Column("exchange", "String", [exchange]),
        ]
        # Of all rows with this token ClickHouse keeps the first.
        store.insert(TABLE, [(1, columns)], TABLE)
        # The row of another, slightly faster worker becomes visible a little later.
        deadline_s = time.monotonic() + SEEN_WITHIN_S
        while (mark := read(store)) is None:
            if time.monotonic() > deadline_s:
                raise StoreUnavailable(
                    f"table {TABLE} takes no row: its row was deleted; run TRUNCATE TABLE {TABLE}"
                )
            time.sleep(_LOOK_AGAIN_S)
    except (QueryFailed, StoreRejected) as error:
        raise StoreUnavailable(f"table {TABLE}: {error}") from error
    return mark
