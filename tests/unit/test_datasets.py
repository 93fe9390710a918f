"""A dataset is one object: commands, readers, deployment files and documents follow from it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import toy_dataset
from column_values import plain
from corpus import version_1
from dataset_places import ROOT, missing_places
from radar.checks.rows import read_key
from radar.datasets import DATASETS, DEPTH, TRADES, Dataset, exported, quiet
from radar.settings import load
from radar.store.schema import newest
from toy_dataset import TICKERS

RECEIVED_US = 1_784_000_000_120_345
MESSAGE = msgspec.json.encode(
    toy_dataset.TickerMessage(
        v=1,
        kind="ticker",
        source="wallex",
        symbol="USDTTMN",
        last="31704.5",
        received_at_us=RECEIVED_US,
    )
)
each_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)


def toy_radar(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, toy_dataset.__file__, str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    return done.stdout


@each_dataset
def test_dataset_stands_in_deployment_files_and_documents(dataset: Dataset) -> None:
    assert missing_places(dataset) == []


@each_dataset
def test_columns_are_those_of_the_decoder_and_of_the_table(dataset: Dataset) -> None:
    declared = [(column.name, column.type) for column in dataset.columns]
    read = dataset.read_columns(version_1.MESSAGES[dataset.name])
    assert [(column.name, column.type) for column in read] == declared
    assert {name for name, _ in declared} <= set(newest().tables[dataset.table].columns)
    assert {column.field for column in dataset.columns} <= set(dataset.message.__struct_fields__)
    assert {*dataset.row_key, dataset.time} <= {name for name, _ in declared}
    assert dataset.look_up in dataset.row_key


@each_dataset
def test_columns_are_named_once(dataset: Dataset) -> None:
    names = [column.name for column in dataset.columns]
    assert len(set(names)) == len(names)


@each_dataset
def test_row_key_is_read_from_a_message(dataset: Dataset) -> None:
    keys = [read_key(dataset, value) for value in version_1.MESSAGES[dataset.name]]
    assert all(key is not None and len(key.identity) == len(dataset.row_key) for key in keys)
    assert len(set(keys)) == len(keys)


def test_names_topics_groups_and_tables_are_different() -> None:
    topics = [topic for each in DATASETS.values() for topic in (each.topic, each.dead_letter_topic)]
    assert len(set(topics)) == len(topics)
    for attribute in ("name", "message", "group", "table"):
        values = {getattr(each, attribute) for each in DATASETS.values()}
        assert len(values) == len(DATASETS), attribute


def test_default_numbers_of_workers_are_those_of_the_datasets() -> None:
    settings = load()
    assert settings.trades_workers == TRADES.workers
    assert settings.depth_workers == DEPTH.workers


def test_toy_dataset_is_missing_everywhere_that_cannot_follow_from_it() -> None:
    files = [work.partition(":")[0] for work in missing_places(TICKERS)]
    assert files == [
        *("deploy/clickhouse/users.xml", "docker-compose.yml", "docs/queries.md"),
        "tests/corpus",
    ]


def test_toy_dataset_is_served_with_the_quiet_ones_and_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DATASETS, TICKERS.name, TICKERS)
    assert quiet()[-1] is TICKERS
    assert exported()[-1] is TICKERS


def test_toy_message_has_the_columns_of_its_dataset() -> None:
    old = MESSAGE.replace(b',"is_open":true', b"")
    new = MESSAGE[:-1] + b',"volume":"7"}'
    assert MESSAGE not in (old, new)
    assert plain(TICKERS.read_columns([MESSAGE, old, new])) == {
        "source": ["wallex"] * 3,
        "symbol": ["USDTTMN"] * 3,
        "last": ["31704.5"] * 3,
        "is_open": [True] * 3,
        "received_at": [RECEIVED_US] * 3,
    }
    key = read_key(TICKERS, MESSAGE)
    assert key is not None
    assert (key.identity, key.symbol) == (("wallex", "USDTTMN", RECEIVED_US), "USDTTMN")


@pytest.mark.parametrize("command", ["consume", "export", "skip", "restore", "dlq list"])
def test_toy_dataset_is_a_choice_of_the_command(command: str, tmp_path: Path) -> None:
    assert TICKERS.name in toy_radar(tmp_path, *command.split(), "--help")


def test_documented_steps_are_those_of_the_toy_dataset() -> None:
    page = (ROOT / "docs" / "adding-a-dataset.md").read_text()
    steps = re.findall(r"^```(?:python|sql)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(steps) == 3
    source = Path(toy_dataset.__file__).read_text()
    for step in steps:
        assert step in source
