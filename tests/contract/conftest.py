"""Fixtures of the tests that read recorded data, from a running database or at rest."""

import shutil
from pathlib import Path

import pytest

from cases import PLACES, RUNNING
from market_data import insert_market, make_data_at_rest
from radar.client import Radar
from radar.settings import Settings


@pytest.fixture(scope="session")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Provide data that nothing runs on, for tests that only read them."""
    return make_data_at_rest(tmp_path_factory.mktemp("rest"))


@pytest.fixture
def copied_at_rest(at_rest: Settings, tmp_path: Path) -> Settings:
    """Provide a copy of the data at rest, which the test may change."""
    copy = tmp_path / "data"
    shutil.copytree(at_rest.radar_data_dir, copy, symlinks=True)
    return at_rest.model_copy(update={"radar_data_dir": copy})


@pytest.fixture(params=PLACES)
def radar(request: pytest.FixtureRequest) -> Radar:
    """Provide the client of a database that runs, and of data that nothing runs on."""
    if request.param == RUNNING:
        insert_market(request.getfixturevalue("store"))
        return Radar()
    settings: Settings = request.getfixturevalue("at_rest")
    return Radar(clickhouse_port=settings.clickhouse_port, radar_data_dir=settings.radar_data_dir)
