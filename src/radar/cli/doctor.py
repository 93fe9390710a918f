"""The command that examines the environment: `radar doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import STATE_STYLES, AsJson, say_json, say_marked, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from radar.checks.findings import Finding


def doctor(
    *,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster",
            help="Check the servers of CLICKHOUSE_CLUSTER instead: replicas, Keeper, shards. It"
            " creates a table of its own and drops it.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check disk, ports, clock, Kafka, ClickHouse and exchange, and name remedies.

    Prints one line per check and changes no data. Exit code 1: there is a problem; a warning is
    none.
    """
    from radar.checks.doctor import describe, worst
    from radar.checks.findings import State

    found: list[Finding] = []
    for finding in _examine(cluster=cluster):
        found.append(finding)
        if not as_json:
            state = str(finding.state)
            say_marked(state, STATE_STYLES[state], describe(finding).removeprefix(state))
    if as_json:
        problems = [describe(each) for each in found if each.state is State.PROBLEM]
        say_json(
            {"findings": [finding._asdict() for finding in found]},
            error="; ".join(problems) or None,
        )
    if worst(found) is State.PROBLEM:
        raise typer.Exit(1)


def _examine(*, cluster: bool) -> "Iterator[Finding]":
    settings = settings_for("doctor")
    if cluster:
        from radar.checks.cluster import examine
    else:
        from radar.checks.doctor import examine
    return examine(settings)
