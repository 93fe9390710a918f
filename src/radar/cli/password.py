"""The command that shows a secret: `radar password`."""

from enum import StrEnum
from typing import Annotated

import typer

from radar.cli.arguments import settings_for
from radar.errors import ConfigurationError


class Door(StrEnum):
    """Services that a secret opens."""

    CLICKHOUSE = "clickhouse"
    DASHBOARD = "dashboard"


def password(
    door: Annotated[Door, typer.Argument(help="Service that the secret opens.")] = Door.CLICKHOUSE,
) -> None:
    """Show the password of the embedded ClickHouse, or the token of the dashboard.

    Use it in other clients, e.g. curl -u default:$(radar password) http://127.0.0.1:8123/. The
    commands of radar read both secrets themselves.
    """
    from radar.ui.web.address import token

    settings = settings_for("password")
    if door is Door.DASHBOARD:
        typer.echo(token(settings))
        return
    secret = settings.clickhouse_password.get_secret_value()
    if not secret:
        raise ConfigurationError("there is no password yet: `radar up` creates it")
    typer.echo(secret)
