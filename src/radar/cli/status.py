"""The command that reports on the pipeline once: `radar status`."""

import typer

from radar.cli.arguments import STATE_STYLES, AsJson, say, say_json, say_marked, settings_for


def status(*, as_json: AsJson = False) -> None:
    """Report running processes, stored rows, lag and the bottleneck.

    Prints the facts of `radar monitor` once; takes two seconds. Exit code 1: a part of the pipeline
    is stuck or does not answer.
    """
    from radar.status import render as module
    from radar.status.collect import observe_once
    from radar.status.state import running_pipeline

    settings = settings_for("status")
    overview = observe_once(settings)
    problems = module.problems(overview)
    if as_json:
        found = module.facts(overview, running_pipeline(settings.radar_data_dir))
        say_json(found, error="; ".join(problems) or None)
    else:
        for line in module.describe(overview).splitlines():
            mark, separator, rest = line.partition(": ")
            if separator and mark in STATE_STYLES:
                say_marked(f"{mark}: ", STATE_STYLES[mark], rest)
            elif line == "everything flows":
                say_marked(line, "green", "")
            else:
                say(line)
    if problems:
        raise typer.Exit(1)
