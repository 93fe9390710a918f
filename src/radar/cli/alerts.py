"""The commands for alerts that reach people: `radar alerts …`."""

import typer

from radar.cli.arguments import AsJson, say, say_json, settings_for

app = typer.Typer(
    no_args_is_help=True,
    help="Send alerts to the services of ALERT_URLS, or try these services.",
)


@app.command()
def run() -> None:
    """Observe the pipeline and send alerts until SIGTERM or SIGINT.

    Observes the running `radar up`, or else the processes in MONITOR_PROCESSES. `radar up` starts
    this by itself if ALERT_URLS is set.
    """
    from radar.processes import send_alerts

    send_alerts(settings_for("alerts"))


@app.command("test")
def try_urls(*, as_json: AsJson = False) -> None:
    """Send one test message to each URL of ALERT_URLS, and report whether it was taken.

    Exit code 1: a service has not taken the message within 30 seconds.
    """
    from radar.alerts.run import try_services
    from radar.alerts.services import configured
    from radar.cli.arguments import load_options

    found = try_services(configured(load_options()))
    failed = [name for name, taken in found if not taken]
    if as_json:
        rows = [{"service": name, "delivered": taken} for name, taken in found]
        error = f"{', '.join(failed)}: not delivered" if failed else None
        say_json({"services": rows}, error=error)
    else:
        for name, taken in found:
            say(f"{name}: {'delivered' if taken else 'NOT delivered: check the URL, the network'}")
    if failed:
        raise typer.Exit(1)
