"""Sums of the trades of past weeks, which make candles over long times fast.

The views `summed_market_candles` and `summed_market_daily_candles` read them. A week's sums hold
while its part of `trades_master` is the one that was summed. A late, repaired or expired trade
makes another part. Then the week is read from its trades until it is summed again. In a cluster
nothing is summed.
"""

import secrets
from datetime import date
from typing import NamedTuple

from radar.store.client import Store
from radar.store.queries import sums as queries


class Week(NamedTuple):
    """A past week of trades.

    Attributes:
        monday: Its first day, UTC.
        contents: Identifies its trades.
    """

    monday: date
    contents: int


def due(store: Store) -> list[Week]:
    """Return the past weeks that are not summed as they are now, the newest first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    return [Week(monday, int(contents)) for monday, contents in store.rows(queries.DUE)]


def add(store: Store, week: Week) -> bool:
    """Sum a week; return whether the sums count, because it stayed as it was meanwhile; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses a statement.
    """
    values = {
        "week": week.monday.isoformat(),
        "contents": week.contents,
        # Two processes may sum a week at once; each attempt counts by itself.
        "attempt": secrets.randbits(64),
    }
    store.command(queries.SUM, values)
    ((is_whole,),) = store.rows(queries.IS_WHOLE, values)
    # Last: what was read until now is the week of these contents if they are still the present.
    ((contents,),) = store.rows(queries.CONTENTS, values)
    if not is_whole or contents != [week.contents]:
        return False
    store.command(queries.COMPLETE, values)
    return True
