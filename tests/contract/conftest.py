"""Fixtures of the tests of the Python client."""

from collections.abc import Iterator

import pytest

from market_data import data_at_rest, insert_market
from radar.client import Radar
from radar.settings import Settings


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with data_at_rest(tmp_path_factory.mktemp("rest")) as settings:
        yield settings


@pytest.fixture(params=["running", "at rest"])
def radar(request: pytest.FixtureRequest) -> Radar:
    """Provide the client of a database that runs, and of data that nothing runs on."""
    if request.param == "running":
        insert_market(request.getfixturevalue("store"))
        return Radar()
    settings: Settings = request.getfixturevalue("at_rest")
    return Radar(clickhouse_port=settings.clickhouse_port, radar_data_dir=settings.radar_data_dir)
