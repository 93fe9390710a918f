"""The dashboard's token, and the address that opens the dashboard with it."""

from pathlib import Path

from radar.addresses import url
from radar.data_folder import explain
from radar.errors import ConfigurationError
from radar.secret_file import read_or_create
from radar.settings import Settings
from radar.status.health_probe import reachable

TOKEN_FILE = "dashboard.token"  # noqa: S105 - a name


def token_file(settings: Settings) -> Path:
    """Return the file with the token that radar creates where DASHBOARD_TOKEN is empty."""
    return settings.radar_data_dir / TOKEN_FILE


def token(settings: Settings) -> str:
    """Return DASHBOARD_TOKEN; where it is empty, the token in the data folder, created if missing.

    Raises:
        ConfigurationError: The file cannot be read or written, or other users may read it.
    """
    if given := settings.dashboard_token.get_secret_value():
        return given
    try:
        settings.radar_data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason, remedy = explain(error, settings.radar_data_dir)
        raise ConfigurationError(
            f"RADAR_DATA_DIR={settings.radar_data_dir} {reason}, and the dashboard's token belongs"
            f" there: set DASHBOARD_TOKEN, or {remedy}"
        ) from error
    return read_or_create(token_file(settings))


def login_url(settings: Settings, host: str, port: int) -> str:
    """Return the URL that opens the dashboard; for a terminal only, never for a log.

    The token that radar created is its fragment, which browsers send to no server. A token from the
    options is not shown.

    Raises:
        ConfigurationError: As for `token`.
    """
    where = url(reachable(host), port)
    if settings.dashboard_token.get_secret_value():
        return where
    return f"{where}/#token={token(settings)}"


def names(settings: Settings) -> list[str]:
    """Return the names and addresses of the dashboard besides those of the loopback interface."""
    host = settings.dashboard_host
    return [*settings.dashboard_hosts, *([host] if reachable(host) == host else [])]
