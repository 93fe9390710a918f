"""The command for the live view of the pipeline: `radar monitor`."""

from radar.cli.arguments import load_options
from radar.cli.running import addresses_of_running
from radar.errors import ConfigurationError


def monitor() -> None:
    """Show the whole pipeline live on one screen: bottleneck, lag, markets, problems.

    Shows the running `radar up`, or else the processes in MONITOR_PROCESSES. It changes no data.
    Keys: ? explains the screen, q quits.
    """
    from radar.ui.terminal.run import has_terminal
    from radar.ui.terminal.run import monitor as run

    if not has_terminal():
        raise ConfigurationError("monitor needs a terminal: use radar status elsewhere")

    settings = load_options()
    run(settings, addresses_of_running(settings))
