"""The dashboard's token, and the address that opens the dashboard with it."""

import stat
from pathlib import Path

import pytest

from radar.errors import ConfigurationError
from radar.settings import Settings, load
from radar.ui.web import address

TOKEN = "what-only-the-tests-know"


def settings(directory: Path, **options: object) -> Settings:
    return load(radar_data_dir=directory / "data", **options)


def test_token_is_random_private_and_the_same_again(tmp_path: Path) -> None:
    first = address.token(settings(tmp_path))
    assert len(first) >= 32
    assert address.token(settings(tmp_path)) == first
    assert address.token(settings(tmp_path / "other")) != first
    path = address.token_file(settings(tmp_path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_token_that_somebody_sets_wins_and_creates_no_file(tmp_path: Path) -> None:
    given = settings(tmp_path, dashboard_token=TOKEN)
    assert address.token(given) == TOKEN
    assert not list(tmp_path.iterdir())
    assert address.login_url(given, "127.0.0.1", 8080) == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("radar.example", "http://radar.example:8080"),
    ],
)
def test_login_url_holds_the_token_where_no_server_gets_it(
    tmp_path: Path, host: str, where: str
) -> None:
    found = settings(tmp_path)
    assert address.login_url(found, host, 8080) == f"{where}/#token={address.token(found)}"


def test_names_are_what_the_options_say_but_not_every_address(tmp_path: Path) -> None:
    token = {"dashboard_token": "a-token-of-this-test-0123456789"}
    names = "radar.example,[::2]"
    named = settings(tmp_path, dashboard_hosts=names, dashboard_host="192.0.2.1", **token)
    assert address.names(named) == ["radar.example", "[::2]", "192.0.2.1"]
    assert address.names(settings(tmp_path, dashboard_host="0.0.0.0", **token)) == []


def test_data_folder_that_cannot_be_created_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"RADAR_DATA_DIR=.*set DASHBOARD_TOKEN"):
        address.token(settings(tmp_path))
