"""The store against the embedded ClickHouse: schema, inserts, migrations."""

import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import numpy as np
import pytest

from ports import free_port
from radar.codec.batch_decoder import Column, Columns, DictionaryColumn, ListColumn
from radar.datasets import DEPTH, TRADES
from radar.errors import ConfigurationError, QueryFailed, StoreRejected, StoreUnavailable
from radar.settings import Settings
from radar.store import schema
from radar.store.client import Store
from radar.store.migrate import migrate
from radar.store.schema import migrations

NOW = 1_800_000_000
# Checksums of the migrations 1 to 20 that databases of development versions recorded.
BEFORE_BASELINE = (
    *("db3c62587a776b2c", "b97f6613c159783c", "5b4c163307b41add", "d210d6faaf75f8b0"),
    *("97fbf85d1ee14134", "7ad23d65f31e5252", "480138147377b9c6", "b256fcdb10f39d31"),
    *("9833249e4758d947", "a327a793b53e1851", "ccb1aecbab95e9b2", "dd2049d6db301db8"),
    *("5d92284290c1f93e", "d52fc1325948208d", "0b861ceff49ec125", "f906626fab39c170"),
    *("a659aea5c694dcd0", "7a885a10e5f260c3", "21709344fb8fa951", "071c27d485d714e9"),
)

TYPES = {
    "event_time": "DateTime64(3, 'UTC')",
    "received_at": "DateTime64(6, 'UTC')",
    "kafka_partition": "UInt16",
    "kafka_offset": "UInt64",
    "prices": "Array(Float64)",
    "quantities": "Array(Float64)",
}
Fields = dict[str, Any]


def trade_row(n: int = 0, **changes: object) -> Fields:
    fields: Fields = {
        "trade_id": str(UUID(int=n)),
        "source": "wallex",
        "symbol": "USDTTMN",
        "base": "USDT",
        "quote": "TMN",
        "side": "buy",
        "price": "31704.1234567890123456",
        "base_amount": "0.000000000000000001",
        "event_time": NOW * 1000,
        "received_at": NOW * 1_000_000 + 123_456,
        "kafka_partition": 2,
        "kafka_offset": n,
    }
    return fields | changes


def depth_row(n: int = 0, **changes: object) -> Fields:
    fields: Fields = {
        "source": "wallex",
        "symbol": "BTCUSDT",
        "base": "BTC",
        "quote": "USDT",
        "side": "bid",
        "prices": [62525.04, 62200.0],
        "quantities": [0.000451, 1e-7],
        "received_at": (NOW + n) * 1_000_000 + 1,
        "kafka_partition": 0,
        "kafka_offset": n,
    }
    return fields | changes


def columns(rows: Sequence[Fields]) -> Columns:
    return [Column(name, TYPES.get(name, "String"), _data(name, rows)) for name in rows[0]]


def _data(name: str, rows: Sequence[Fields]) -> Any:
    values = [row[name] for row in rows]
    if name not in TYPES:
        return values
    if TYPES[name].startswith("Array"):
        return ListColumn(
            np.array(list(map(len, values))), np.array([n for v in values for n in v])
        )
    return np.array(values, np.uint16 if TYPES[name] == "UInt16" else np.int64)


def insert(store: Store, *rows: Fields, token: str = "token") -> None:
    table = DEPTH.table if "prices" in rows[0] else TRADES.table
    store.insert(table, [(len(rows), columns(rows))], token)


def test_insert_trade_is_exact_to_the_last_digit(store: Store) -> None:
    insert(store, trade_row())
    ((price, amount, quote_amount, event_time, received_at),) = store.rows(
        "SELECT price, base_amount, quote_amount, toString(event_time), toString(received_at)"
        " FROM trades"
    )
    assert price == Decimal("31704.1234567890123456")
    assert amount == Decimal("0.000000000000000001")
    assert quote_amount == Decimal("0.000000000000031704")
    assert event_time == "2027-01-15 08:00:00.000"
    assert received_at == "2027-01-15 08:00:00.123456"


def test_insert_with_the_same_token_changes_nothing(store: Store) -> None:
    for _ in range(3):
        insert(store, trade_row(1), trade_row(2))
    assert store.rows("SELECT count() FROM trades_master") == [(2,)]


def test_insert_of_the_same_trade_again_is_one_trade_received_first(store: Store) -> None:
    insert(store, trade_row(1, received_at=NOW * 1_000_000 + 500_000), token="a")
    insert(store, trade_row(1, received_at=NOW * 1_000_000 + 200_000), token="b")
    insert(store, trade_row(1, received_at=NOW * 1_000_000 + 900_000), token="c")
    assert store.rows("SELECT toString(received_at) FROM trades") == [
        ("2027-01-15 08:00:00.200000",)
    ]


def test_insert_old_trades_of_many_weeks_at_once_are_stored_and_kept(store: Store) -> None:
    rows = [trade_row(n, event_time=(NOW - n * 604_800) * 1000) for n in range(150)]
    insert(store, *rows)
    store.command("OPTIMIZE TABLE trades_master FINAL")
    assert store.rows("SELECT count() FROM trades") == [(150,)]


@pytest.mark.parametrize(
    "row",
    [
        trade_row(price="-1"),
        trade_row(price="0"),
        trade_row(base_amount="0"),
        trade_row(symbol=""),
        trade_row(side="hold"),
        trade_row(price="1e99"),
        trade_row(price="99999999999999999999", base_amount="99999999999999999999"),
        trade_row(trade_id="nonsense"),
        depth_row(quantities=[1.0]),
        depth_row(prices=[0.0, 1.0]),
        depth_row(quantities=[-1.0, 1.0]),
        depth_row(side="middle"),
    ],
)
def test_insert_bad_row_is_rejected_and_nothing_is_stored(store: Store, row: Fields) -> None:
    good = depth_row(9) if "prices" in row else trade_row(9)
    with pytest.raises(StoreRejected):
        insert(store, good, row)
    table = DEPTH.table if "prices" in row else TRADES.table
    assert store.rows(f"SELECT count() FROM {table}") == [(0,)]


def test_insert_in_whatever_parts_is_one_block_of_one_name(store: Store) -> None:
    store.command("SYSTEM STOP MERGES trades_master")
    rows = [trade_row(n, symbol=f"S{n % 7}") for n in range(30)]
    for size in (3, 30, 7, 1):
        some = [rows[n : n + size] for n in range(0, 30, size)]
        store.insert(TRADES.table, [(len(each), columns(each)) for each in some], "token")
    assert store.rows("SELECT countIf(symbol = 'S' || (kafka_offset % 7)) FROM trades_master") == [
        (30,)
    ]
    assert store.rows("SELECT count(), uniqExact(_part) FROM trades_master") == [(30, 1)]


@pytest.mark.parametrize("different", [1, 255, 256, 300, 70_000])
def test_insert_of_coded_texts_keeps_each(store: Store, different: int) -> None:
    symbols = [f"S{n}" for n in range(different)]
    codes = np.arange(2 * different, dtype=np.uint32) % different
    rows = [trade_row(n) for n in range(2 * different)]
    indexed = Column("symbol", "LowCardinality(String)", DictionaryColumn(symbols, codes))
    given = [indexed if column.name == "symbol" else column for column in columns(rows)]
    store.insert(TRADES.table, [(len(rows), given)], "token")
    counted = store.rows(
        "SELECT count(), uniqExact(symbol), countIf(symbol = 'S' || toString(kafka_offset %"
        f" {different})) FROM trades_master"
    )
    assert counted == [(2 * different, different, 2 * different)]


def test_insert_of_texts_of_any_length_and_script_keeps_them(store: Store) -> None:
    symbols = ["a" * 127, "a" * 128, "a" * 100_000, "\u06f1\u06f2", "\N{GRINNING FACE}" * 40]
    rows = [trade_row(n, symbol=symbol) for n, symbol in enumerate(symbols)]
    insert(store, *rows)
    stored = store.rows("SELECT symbol FROM trades_master ORDER BY kafka_offset")
    assert [symbol for (symbol,) in stored] == symbols


def test_insert_without_a_table_is_unavailable_not_rejected(store: Store) -> None:
    store.command("DROP TABLE trades_master")
    with pytest.raises(StoreUnavailable, match="trades_master"):
        insert(store, trade_row())


def test_insert_without_a_server_is_unavailable(
    store_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = store_settings.model_copy(update={"clickhouse_port": free_port()})
    with pytest.raises(StoreUnavailable, match=str(unreachable.clickhouse_port)):
        insert(Store(unreachable), trade_row())


def test_insert_depth_keeps_every_double_exactly(store: Store) -> None:
    prices = [7286137604.05, 123456.789012345, 0.30000000000000004, 1e-7, 5e-324]
    insert(store, depth_row(prices=prices, quantities=prices))
    assert store.rows("SELECT prices, quantities, levels FROM orderbook_depth") == [
        (prices, prices, 5)
    ]


def test_insert_depth_of_300_levels_counts_300(store: Store) -> None:
    levels = [float(n) for n in range(300, 0, -1)]
    insert(store, depth_row(prices=levels, quantities=levels))
    assert store.rows("SELECT levels FROM orderbook_depth") == [(300,)]


def test_order_book_view_joins_the_newest_sides(store: Store) -> None:
    ask = {"side": "ask", "prices": [62579.56], "quantities": [0.5]}
    insert(store, depth_row(1), depth_row(5, prices=[62526.0, 62200.0]), token="bids")
    insert(store, depth_row(3, **ask), depth_row(2, **(ask | {"prices": [1.0]})), token="asks")
    insert(store, depth_row(1, symbol="ETHUSDT", base="ETH"), token="other")
    rows = store.rows(
        "SELECT symbol, base, best_bid, bid_quantities, best_ask, ask_prices FROM order_book"
        " ORDER BY symbol"
    )
    assert rows == [
        ("BTCUSDT", "BTC", 62526.0, [0.000451, 1e-7], 62579.56, [62579.56]),
        ("ETHUSDT", "ETH", 62525.04, [0.000451, 1e-7], None, []),
    ]


def test_migrate_by_many_at_once_gives_one_schema(store_settings: Settings) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        own = Store(store_settings)
        try:
            migrate(own, 90)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    store = Store(store_settings)
    recorded = store.rows("SELECT version FROM schema_migrations FINAL ORDER BY version")
    assert recorded == [(migration.version,) for migration in migrations()]
    store.command(f"DROP DATABASE {store.database}")
    store.close()


def test_migrate_again_changes_nothing_but_the_retention(store: Store) -> None:
    assert migrate(store, 7) == []
    for table in ("trades_master", "orderbook_depth"):
        ((definition,),) = store.rows(f"SHOW CREATE TABLE {table}")
        assert "toIntervalDay(7)" in definition


def test_migrate_with_a_table_missing_leaves_it_missing(store: Store) -> None:
    # Made again without a word it would be empty as if nothing had been lost.
    store.command("DROP TABLE orderbook_depth")
    assert migrate(store, 7) == []
    assert not store.has_table("orderbook_depth")


def test_migrate_of_a_changed_migration_is_refused(store: Store) -> None:
    store.command("INSERT INTO schema_migrations (version, name, checksum) VALUES (20, 'x', 'y')")
    with pytest.raises(ConfigurationError, match="0020 was changed"):
        migrate(store, 90)


def record(store: Store, checksums: Sequence[str]) -> None:
    """Record migrations from 1 on in place of the recorded ones."""
    store.command("TRUNCATE TABLE schema_migrations")
    values = ", ".join(f"({n}, 'x', '{checksum}')" for n, checksum in enumerate(checksums, 1))
    store.command(f"INSERT INTO schema_migrations (version, name, checksum) VALUES {values}")


def test_migrate_of_a_database_with_all_migrations_before_the_baseline_runs_only_later_ones(
    store: Store, store_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, BEFORE_BASELINE)
    ran: list[str] = []
    command = store.command

    def run(sql: str) -> None:
        ran.append(sql)
        command(sql)

    monkeypatch.setattr(store, "command", run)
    later = migrations()[1:]
    assert migrate(store, store_settings.retention_days) == later
    assert not set(ran) & set(migrations()[0].statements)
    assert set(ran) >= {statement for each in later for statement in each.statements}


def test_migrate_of_a_database_from_before_the_baseline_applies_later_migrations(
    store: Store, store_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, BEFORE_BASELINE)
    for migration in migrations():
        (tmp_path / f"{migration.version:04}_{migration.name}.sql").write_text(migration.sql)
    (tmp_path / "9001_later.sql").write_text("CREATE OR REPLACE VIEW later AS SELECT 1 AS one;")
    monkeypatch.setattr(schema, "FOLDER", tmp_path)
    known = [migration.name for migration in migrations()[1:-1]]
    applied = migrate(store, store_settings.retention_days)
    assert [migration.name for migration in applied] == [*known, "later"]
    assert store.rows("SELECT one FROM later") == [(1,)]
    assert migrate(store, store_settings.retention_days) == []


@pytest.mark.parametrize(
    "checksums",
    [BEFORE_BASELINE[:1], BEFORE_BASELINE[:19], (*BEFORE_BASELINE[:19], "changed")],
)
def test_migrate_of_a_database_with_other_migrations_before_the_baseline_is_refused(
    store: Store, checksums: Sequence[str]
) -> None:
    record(store, checksums)
    words = rf"at migration {len(checksums):04} of an older .* before 0020_baseline\.sql once"
    with pytest.raises(ConfigurationError, match=words):
        migrate(store, 90)


def test_migrate_of_a_newer_database_is_refused(store: Store) -> None:
    store.command("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'x', 'y')")
    with pytest.raises(ConfigurationError, match="install the newer radar"):
        migrate(store, 90)


def test_rows_of_a_wrong_query_fail_with_the_servers_words(store: Store) -> None:
    with pytest.raises(QueryFailed, match="UNKNOWN_TABLE"):
        store.rows("SELECT * FROM nothing_there")


class Restricted(Store):
    """As a user who may insert and read, and create nothing."""

    def command(self, sql: str, parameters: object = None) -> None:
        raise QueryFailed(f"not enough privileges: {sql}")

    def create_database(self) -> None:
        self.command("CREATE DATABASE")


def test_migrate_finished_database_needs_no_right_to_create(
    store: Store, store_settings: Settings
) -> None:
    restricted = Restricted(store_settings)
    assert migrate(restricted, store_settings.retention_days) == []
    restricted.close()


def test_migrate_missing_database_says_what_may_not_be_done(store_settings: Settings) -> None:
    restricted = Restricted(store_settings)
    with pytest.raises(QueryFailed, match="CREATE DATABASE"):
        migrate(restricted, store_settings.retention_days)
    restricted.close()


def test_clickhouse_users_grants_are_understood(store: Store) -> None:
    tree = ElementTree.parse(Path(__file__).parents[2] / "deploy" / "clickhouse" / "users.xml")
    grants = [query.text for query in tree.iterfind("users/*/grants/query")]
    assert grants
    for grant in grants:
        # In the file the grantee is the user around it.
        rows = store.rows("SELECT formatQuery({query:String})", {"query": f"{grant} TO somebody"})
        assert str(rows[0][0]).startswith("GRANT ")
