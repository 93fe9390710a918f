"""The command that examines the environment: `radar doctor`."""

import typer

from radar.cli.arguments import STATE_STYLES, AsJson, say_json, say_marked, settings_for


def doctor(*, as_json: AsJson = False) -> None:
    """Check disk, ports, clock, Kafka, ClickHouse and exchange, and name remedies.

    Prints one line per check and changes no data. Exit code 1: there is a problem; a warning is
    none.
    """
    from radar.checks.doctor import describe, examine, worst
    from radar.checks.findings import Finding, State

    found: list[Finding] = []
    for finding in examine(settings_for("doctor")):
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
