"""Which stores of others `radar up` records into."""

from pathlib import Path

import pytest

from radar.errors import ConfigurationError
from radar.local.joining import FILE, ID_FILE, Joining, deployment_id

ADDRESS = "127.0.0.1:9092"


def test_store_without_radars_data_is_used(tmp_path: Path) -> None:
    Joining(tmp_path, wanted=False).check("KAFKA_BROKER", ADDRESS, None)


def test_store_of_another_deployment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Joining(tmp_path, wanted=False).check("KAFKA_BROKER", ADDRESS, "a")
    assert str(refused.value) == (
        "127.0.0.1:9092 holds the data of another deployment: set another KAFKA_BROKER, or run"
        " `radar up --join` once to record into it from now on"
    )


def test_store_that_was_joined_once_is_used_again(tmp_path: Path) -> None:
    first = Joining(tmp_path, wanted=True)
    first.check("KAFKA_BROKER", ADDRESS, "a")
    first.remember(ADDRESS, "a")
    first.remember("127.0.0.1:8123", "b")
    again = Joining(tmp_path, wanted=False)
    again.check("KAFKA_BROKER", ADDRESS, "a")
    again.check("CLICKHOUSE_PORT", "127.0.0.1:8123", "b")


@pytest.mark.parametrize(("address", "data"), [(ADDRESS, "b"), ("127.0.0.1:9093", "a")])
def test_other_data_or_another_address_is_another_deployment(
    tmp_path: Path, address: str, data: str
) -> None:
    Joining(tmp_path, wanted=True).remember(ADDRESS, "a")
    with pytest.raises(ConfigurationError):
        Joining(tmp_path, wanted=False).check("KAFKA_BROKER", address, data)


@pytest.mark.parametrize("content", ["", "{", "7"])
def test_file_that_cannot_be_read_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ConfigurationError):
        Joining(tmp_path, wanted=False).check("KAFKA_BROKER", ADDRESS, "a")


def test_id_of_a_deployment_stays_and_differs_from_others(tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    made = deployment_id(first)
    assert deployment_id(first) == made
    assert deployment_id(other) != made
    (first / ID_FILE).write_text("")  # cut off by a full disk
    assert len(deployment_id(first)) == len(made)
