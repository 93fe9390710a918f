"""`radar export` to object storage, and in partitions: what others read there."""

import json
import signal
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet
import pytest

import object_store
from market_data import insert, insert_market, trade, us
from radar.codec import message_format
from radar.datasets import TRADES, exported
from radar.errors import ConfigurationError, ObjectStorageFailed
from radar.object_storage import MIB, ObjectStorage, Place, parse
from radar.reading import destinations, manifest
from radar.reading.export import Exported, ExportRequest, export
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
HIVE = ExportRequest("trades", "parquet", hive=True)
_TYPES: dict[str, Any] = {
    "exchange": pyarrow.string(),
    "symbol": pyarrow.string(),
    "date": pyarrow.date32(),
}
PARTITIONS = pyarrow.schema(_TYPES)
# A name has at most 32 letters, digits and these other characters.
NAMES = ("USDTTMN", "BTC/a.b", "A:B-c_D.", "0/..x/../y")


def insert_days(store: Store, symbols: tuple[str, ...], days: int, trades: int = 1) -> None:
    """Store trades of each of the last days before today, inserted an hour ago."""
    now_us = time.time_ns() // 1000
    values = [
        message_format.encode_trade(
            trade(us(TODAY - timedelta(days=day + 1)) // 1000 + n, now_us, str(n + 1), symbol),
            f"{number:02}{day:015}{n:015}",
        )
        for number, symbol in enumerate(symbols)
        for day in range(days)
        for n in range(trades)
    ]
    insert(store, TRADES, values, "days")
    store.command(
        "ALTER TABLE trades_master UPDATE inserted_at = now64(3) - INTERVAL 1 HOUR WHERE 1"
        " SETTINGS mutations_sync = 1"
    )


@pytest.fixture
def settings(objects: object_store.Store, store_settings: Settings) -> Settings:
    return store_settings.model_copy(update={"s3_endpoint_url": objects.endpoint})


@pytest.fixture
def place(objects: object_store.Store, request: pytest.FixtureRequest) -> Place:
    """Provide a place in a bucket of this test."""
    number = abs(hash(request.node.nodeid)) % 10**9
    return parse(f"s3://{objects.bucket(f'export-{number}')}/data/radar")


def arrow(objects: object_store.Store) -> pyarrow.fs.S3FileSystem:
    return pyarrow.fs.S3FileSystem(
        access_key=object_store.KEY,
        secret_key=object_store.SECRET,
        endpoint_override=objects.endpoint,
        region="us-east-1",
    )


def entries(objects: object_store.Store, place: Place, name: str) -> dict[str, Any]:
    text = objects.read(place.bucket, f"{place.prefix}{name}")
    found: dict[str, Any] = json.loads(text)["files"]
    return found


def versions(objects: object_store.Store, place: Place) -> dict[str, Any]:
    """Return when each object was written."""
    listed = objects.client.list_objects_v2(Bucket=place.bucket)["Contents"]
    return {each["Key"]: (each["ETag"], each["LastModified"]) for each in listed}


def test_partitions_in_object_storage_are_read_with_their_markets_and_days(
    store: Store, settings: Settings, objects: object_store.Store, place: Place
) -> None:
    insert_days(store, NAMES, 2)
    assert export(settings, HIVE, place) == Exported(8, 0)
    days = [f"{TODAY - timedelta(days=n):%Y-%m-%d}" for n in (2, 1)]
    keys = objects.keys(place.bucket)
    assert (
        f"data/radar/trades_hive/exchange=wallex/symbol=BTC%2Fa%2Eb/date={days[0]}/part.parquet"
        in keys
    )
    assert len(keys) == 9
    found = ds.dataset(
        f"{place.bucket}/{place.prefix}trades_hive",
        filesystem=arrow(objects),
        partitioning=ds.partitioning(PARTITIONS, flavor="hive"),
    )
    rows = found.to_table().to_pylist()
    assert sorted((row["exchange"], row["symbol"], f"{row['date']}") for row in rows) == sorted(
        ("wallex", name, day) for name in NAMES for day in days
    )
    assert {row["price"] for row in rows} == {Decimal(1)}
    assert "source" not in found.schema.names
    listed = entries(objects, place, "trades_hive/_manifest.json")
    for name, entry in listed.items():
        content = objects.read(place.bucket, f"{place.prefix}trades_hive/{name}")
        assert (entry["bytes"], entry["rows"], entry["complete"]) == (len(content), 1, True)


def test_repeated_export_to_object_storage_writes_only_what_is_missing(
    store: Store, settings: Settings, objects: object_store.Store, place: Place
) -> None:
    insert_days(store, ("USDTTMN",), 3)
    wanted = replace(HIVE, hive=False)
    assert export(settings, wanted, place) == Exported(3, 0)
    before = versions(objects, place)
    assert export(settings, wanted, place) == Exported(0, 3)
    assert versions(objects, place) == before
    late = trade(us(TODAY - timedelta(days=2)) // 1000 + 5, us(TODAY), "9")
    insert(store, TRADES, [message_format.encode_trade(late, f"{99:032x}")], "late")
    lost = f"data/radar/trades/wallex/USDTTMN/{TODAY - timedelta(days=3):%F}.parquet"
    objects.client.delete_object(Bucket=place.bucket, Key=lost)
    assert export(settings, wanted, place) == Exported(2, 1)
    after = versions(objects, place)
    assert after[lost][0] == before[lost][0]  # the same bytes
    changed = {key for key in after if after[key][0] != before[key][0]}
    day = f"{TODAY - timedelta(days=2):%F}"
    assert changed == {
        f"data/radar/trades/wallex/USDTTMN/{day}.parquet",
        "data/radar/trades/manifest.json",
    }
    entry = entries(objects, place, "trades/manifest.json")[f"wallex/USDTTMN/{day}.parquet"]
    assert entry["rows"] == 2


def test_export_to_object_storage_that_is_killed_leaves_whole_objects_and_goes_on(
    store: Store, settings: Settings, objects: object_store.Store, place: Place, tmp_path: Path
) -> None:
    insert_days(store, ("USDTTMN",), 60, trades=20)
    command = radar("export", "trades", "--layout", "hive", "--folder", f"{place}")
    process = Process(command, tmp_path / "log", TMPDIR=str(tmp_path))

    def files() -> list[str]:
        return [key for key in objects.keys(place.bucket) if key.endswith(".parquet")]

    eventually(lambda: len(files()) > 2, "some objects are there", 60)
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 2 < len(files()) < 60
    for key in files():
        with arrow(objects).open_input_file(f"{place.bucket}/{key}") as file:
            assert pyarrow.parquet.read_table(file).num_rows == 20
    again = export(settings, HIVE, place)
    assert again.written + again.skipped == 60
    assert len(entries(objects, place, "trades_hive/_manifest.json")) == 60
    assert export(settings, HIVE, place) == Exported(0, 60)


def test_second_export_to_a_place_does_not_replace_the_manifest_of_the_first(
    objects: object_store.Store, place: Place, tmp_path: Path
) -> None:
    storage = ObjectStorage(place, objects.endpoint)
    first, second = (destinations.Bucket(storage, manifest.NAME, tmp_path) for _ in range(2))
    assert first.entries() == second.entries() == {}
    first.save({"a": {"rows": 1}})
    with pytest.raises(ConfigurationError, match="another export writes to s3://"):
        second.save({"b": {"rows": 1}})
    first.save({"a": {"rows": 2}})
    assert second.entries() == {"a": {"rows": 2}}
    second.save({"b": {"rows": 1}})


def test_object_of_several_parts_is_stored_and_read(
    objects: object_store.Store, place: Place, tmp_path: Path
) -> None:
    """Above 8 MiB it has parts."""
    storage, path = ObjectStorage(place, objects.endpoint), tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (20 * MIB // 256))
    storage.upload(path, "large")
    storage.download("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert [tuple(each) for each in storage.objects()] == [("large", 20 * MIB)]
    storage.delete(["large", "missing"])
    assert list(storage.objects()) == []


def test_export_command_names_the_place_and_logs_no_secret(
    store: Store, objects: object_store.Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_days(store, ("USDTTMN",), 1)
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    command = radar("export", "trades", "--folder", f"{place}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"wrote 1 file to {place}\n")
    command[-1] = "s3://missing-bucket/x"
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.endswith(
        "radar: s3://missing-bucket/x/trades: there is no such bucket: create it\n"
    )
    assert object_store.SECRET not in done.stdout + done.stderr + refused.stdout + refused.stderr


def test_missing_credentials_and_servers_are_named(
    objects: object_store.Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ObjectStorageFailed, match="Could not connect"):
        list(ObjectStorage(place, "http://127.0.0.1:1").objects())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ObjectStorageFailed, match="credentials: set AWS_ACCESS_KEY_ID"):
        list(ObjectStorage(place, objects.endpoint).objects())


@pytest.mark.parametrize(
    "url", ["gs://bucket/x", "s3://", "s3:///x", "s3://UPPER/x", "s3://bucket/a/../b", "s3://b?x=1"]
)
def test_other_places_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="use s3://BUCKET/PREFIX"):
        parse(url)


def test_partitions_in_a_folder_are_read_by_query_engines(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    insert_days(store, NAMES, 1)
    assert export(store_settings, HIVE, tmp_path) == Exported(4, 0)
    pattern = f"{tmp_path}/trades_hive/**/*.parquet"
    expected = sorted(("wallex", name, 1) for name in NAMES)
    with duckdb.connect() as database:
        answer = database.execute(
            "SELECT exchange, symbol, price FROM"
            f" read_parquet('{pattern}', hive_partitioning=true, hive_types_autocast=false)"
        ).fetchall()
    assert sorted(answer) == expected
    frame = polars.read_parquet(pattern, hive_partitioning=True, try_parse_hive_dates=True)
    assert sorted(frame.select("exchange", "symbol", "price").rows()) == expected
    assert frame.schema["date"] == polars.Date


@pytest.mark.parametrize("name", ["depth", "candles"])
def test_partitions_lack_only_the_columns_of_their_folders(
    store: Store, store_settings: Settings, tmp_path: Path, name: str
) -> None:
    insert_market(store)
    found = []
    for hive in (False, True):
        folder = tmp_path / f"{hive}"
        export(store_settings, ExportRequest(name, "parquet", hive=hive), folder)
        found.append(pyarrow.parquet.read_schema(next(folder.rglob("*.parquet"))).names)
    assert found[1] == [each for each in found[0] if each not in ("source", "symbol")]


def test_every_exported_dataset_has_the_columns_of_partitions() -> None:
    for dataset in exported():
        assert {"source", "symbol"} <= set(dataset.export_columns.split(", "))


def test_formats_that_change_files_are_refused(objects: object_store.Store, place: Place) -> None:
    with pytest.raises(ConfigurationError, match="export to a folder"):
        export(load(), ExportRequest("", "nautilus"), place)
    with pytest.raises(ConfigurationError, match="--layout hive needs"):
        export(load(), ExportRequest("", "tardis", hive=True), place)
    storage = ObjectStorage(place, objects.endpoint)
    storage.replace("a", b"12345", None)
    with pytest.raises(ObjectStorageFailed, match="larger than"):
        storage.read("a", 4)
