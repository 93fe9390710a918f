"""Entries of market lists: bounds on their number and on the texts about malformed ones."""

import msgspec
import pytest
from msgspec import Raw

from radar.datasets import TRADES
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import MarketList
from radar.exchanges.common.entries import MAX_ENTRIES, MAX_MALFORMED, read_markets
from radar.producer.markets import storable
from radar.producer.markets_set_aside import Reason, SetAside
from radar.records import Market

ONE = Raw(b"1")


def parse(entry: Raw) -> Market:
    return Market(msgspec.json.decode(entry, type=str), "A", "B")


def test_a_list_of_more_entries_than_any_exchange_has_markets_is_refused() -> None:
    with pytest.raises(ExchangeUnavailable, match="20001 entries"):
        read_markets([ONE] * (MAX_ENTRIES + 1), parse)


def test_malformed_entries_are_named_up_to_a_number_and_then_counted() -> None:
    listed = storable(read_markets([ONE] * (MAX_ENTRIES - 1) + [Raw(b'"AB"')], parse))
    assert listed.markets == [Market("AB", "A", "B")]
    assert len(listed.malformed) == MAX_MALFORMED
    assert len(listed.malformed) + listed.more_malformed == MAX_ENTRIES - 1
    aside = SetAside(TRADES)
    aside.replace(Reason.MALFORMED, listed.malformed, listed.more_malformed)
    assert aside.text.startswith(f"{MAX_ENTRIES - 1} markets are set aside")


def test_names_that_cannot_be_stored_are_named_up_to_a_number_and_then_counted() -> None:
    markets = [Market(f"\x1b{number}", "A", "B") for number in range(3 * MAX_MALFORMED)]
    listed = storable(MarketList(markets, []))
    assert (len(listed.malformed), listed.more_malformed) == (MAX_MALFORMED, 2 * MAX_MALFORMED)
