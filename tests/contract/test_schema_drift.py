"""A database that lacks something that the migrations made: it is named, and made again."""

import time

import pytest

from radar.settings import Settings
from radar.status.store_facts import ask_markets, ask_tables
from radar.store import drift
from radar.store.client import Store
from radar.store.drift import KnownDifferences, differences, repair
from radar.store.migrate import migrate
from radar.store.schema import migrations, newest
from support import eventually, run_command

HARM = {
    "DROP VIEW candles": "view candles is missing",
    "DROP VIEW markets_at": "view markets_at is missing",
    "DROP TABLE orderbook_depth": "table orderbook_depth is missing",
    "DROP TABLE delivery_gaps": "table delivery_gaps is missing",
    "ALTER TABLE trades_master DROP COLUMN kafka_offset": (
        "column kafka_offset of trades_master is missing"
    ),
    "ALTER TABLE orderbook_depth DROP COLUMN best_price": (
        "column best_price of orderbook_depth is missing"
    ),
    "ALTER TABLE trades_master DROP CONSTRAINT positive_price": (
        "constraint positive_price of trades_master is missing"
    ),
}


def run(*command: str) -> tuple[int, str]:
    done = run_command(*command)
    return done.returncode, done.stdout + done.stderr


def definitions(store: Store) -> dict[str, str]:
    return {
        str(name): str(definition)
        for name, definition in store.rows(
            "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
        )
    }


def test_schema_that_is_read_from_the_migrations_is_the_one_of_the_database(store: Store) -> None:
    assert differences(store) == []
    names = set(definitions(store)) - {"schema_migrations"}
    assert names == {*newest().tables, *newest().views}
    columns = {
        (str(table), str(column))
        for table, column in store.rows(
            "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
            " AND table IN {tables:Array(String)}",
            {"tables": list(newest().tables)},
        )
    }
    assert columns == {
        (name, column) for name, table in newest().tables.items() for column in table.columns
    }


@pytest.mark.parametrize("harm", HARM)
def test_difference_is_named_and_repaired(harm: str, store: Store) -> None:
    before = set(definitions(store))
    store.command(harm)
    found = differences(store)
    assert [each.text for each in found] == [HARM[harm]]
    assert ask_tables(store).refused == f"{HARM[harm]}: run `radar migrate`"
    assert repair(store, found) == found
    assert differences(store) == []
    assert set(definitions(store)) == before


def test_known_differences_follow_every_change_at_once(store: Store) -> None:
    known = KnownDifferences()
    assert known.newest(store) == []
    for harm, words in HARM.items():
        store.command(harm)
        assert [each.text for each in known.newest(store)] == [words]
        repair(store, known.newest(store))
        assert known.newest(store) == []
    store.command("CREATE OR REPLACE VIEW candles AS SELECT 1 AS other")
    (found,) = known.newest(store)
    assert found.text == f"view candles is {drift.OTHER_DEFINITION}"


def test_known_differences_are_compared_again_only_after_a_change(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    def counted(compared_store: Store) -> list[drift.Difference]:
        nonlocal compared
        compared += 1
        return differences(compared_store)

    monkeypatch.setattr(drift, "differences", counted)
    known = KnownDifferences()

    def is_settled() -> bool:
        before = compared
        known.newest(store)
        return compared == before

    eventually(is_settled, "a definition that was changed some time ago is not compared again")
    before = compared
    store.command("DROP VIEW candles")
    assert known.newest(store)
    assert compared == before + 1
    monkeypatch.setattr(drift, "COMPARE_EVERY_S", 0.0)
    known.newest(store)
    assert compared == before + 2


def test_status_shows_the_other_tables_while_one_is_missing(store: Store) -> None:
    store.command("DROP TABLE orderbook_depth")
    tables = ask_tables(store)
    assert [state.dataset for state in tables.states] == [
        *("trades", "book_updates", "exchange_candles", "frames", "gaps", "watches"),
    ]
    assert tables.refused is not None
    assert "table orderbook_depth is missing" in tables.refused


@pytest.mark.fault(
    "A table, column, constraint or view of radar is missing or different",
    report="each by name, with what was lost",
    place="doctor (schema), migrate, status, page, log and readiness of the worker",
    within_s=30,
)
@pytest.mark.usefixtures("within_s")
def test_doctor_names_what_is_missing_and_migrate_makes_it_again(
    store: Store, within_s: float
) -> None:
    for harm in HARM:
        if "orderbook_depth DROP COLUMN" not in harm:  # the table is missing by then
            store.command(harm)
    harmed_s = time.monotonic()
    code, text = run("doctor")
    assert code == 1
    assert time.monotonic() - harmed_s < within_s
    (line,) = [line for line in text.splitlines() if " schema: " in line]
    for words in set(HARM.values()) - {"column best_price of orderbook_depth is missing"}:
        assert words in line
    code, text = run("migrate")
    assert code == 0, text
    assert "repaired: table orderbook_depth is missing" in text
    assert "lost: orderbook_depth: its rows" in text
    assert differences(store) == []
    assert run("migrate")[1].splitlines() == [f"database {store.database} is up to date"]


def test_migrate_changes_a_type_only_with_repair(store: Store) -> None:
    store.command("ALTER TABLE gaps MODIFY COLUMN repaired UInt8")
    words = "column repaired of gaps is UInt8, not Bool"
    assert words in run("doctor")[1]
    code, text = run("migrate")
    assert code == 1
    assert words in text
    assert "radar migrate --repair" in text
    assert run("migrate", "--repair")[0] == 0
    assert differences(store) == []


def test_view_with_another_definition_is_named_and_changed_only_with_repair(store: Store) -> None:
    store.command("CREATE OR REPLACE VIEW trades AS SELECT * FROM trades_master")
    words = "view trades is not defined as radar defines it"
    assert [each.text for each in differences(store)] == [words]
    assert words in run("doctor")[1]
    code, text = run("migrate")
    assert code == 1
    assert words in text
    assert run("migrate", "--repair")[0] == 0
    assert differences(store) == []


def test_doctor_names_every_table_that_a_worker_may_not_write(store: Store) -> None:
    # Takes no rows, as a table without the right to insert.
    store.command("DROP TABLE restore_orders")
    store.command("CREATE VIEW restore_orders AS SELECT 1 AS one")
    (line,) = [line for line in run("doctor")[1].splitlines() if "table restore_orders: " in line]
    assert line.startswith("problem")
    assert "this user may not insert" in line
    assert f"GRANT SELECT, INSERT ON {store.database}.restore_orders" in line


def test_status_lists_the_time_in_which_radar_did_not_run_as_a_gap(store: Store) -> None:
    for began_min, ended_min in ((60, 50), (30, 20)):
        store.command(
            "INSERT INTO watches (source, record_kind, connection, symbols, began_at, ended_at,"
            " end_reason, interval_ms, received_at, kafka_partition, kafka_offset)"
            f" SELECT 'wallex', 'trades', 'c{began_min}', ['USDTTMN', 'BTCTMN'],"
            f" now64(6) - {60 * began_min}, now64(6) - {60 * ended_min}, 'stopped', 0, now64(6),"
            f" 0, {began_min}"
        )
    lasting, before = ask_markets(store).gaps
    assert (before.dataset, before.cause, before.repaired) == ("trades", "not_recording", False)
    assert before.symbols == ["BTCTMN", "USDTTMN"]
    assert before.ended_at_s - before.began_at_s == pytest.approx(20 * 60, abs=30)
    assert lasting.began_at_s == pytest.approx(time.time() - 20 * 60, abs=60)
    assert lasting.ended_at_s == pytest.approx(time.time(), abs=60)


def test_view_of_a_newer_radar_is_no_difference(store: Store) -> None:
    store.command("CREATE OR REPLACE VIEW trades AS SELECT * FROM trades_master")
    newer = migrations()[-1].version + 1
    store.command(f"INSERT INTO schema_migrations (version) VALUES ({newer})")
    assert differences(store) == []


def test_doctor_takes_migrations_before_the_baseline_for_known_ones(store: Store) -> None:
    store.command("INSERT INTO schema_migrations (version) SELECT number FROM numbers(1, 19)")
    (line,) = [line for line in run("doctor")[1].splitlines() if " schema: " in line]
    assert line.endswith(" schema: up to date")


def test_doctor_names_missing_migrations_and_migrate_applies_them_again(
    store: Store, store_settings: Settings
) -> None:
    store.command("DROP TABLE schema_migrations")
    code, text = run("doctor")
    assert code == 1
    assert "table schema_migrations is missing" in text
    assert migrate(store, store_settings.retention_days)
    assert differences(store) == []
