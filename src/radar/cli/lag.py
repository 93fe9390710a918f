"""The command that reports waiting messages: `radar lag`."""

from radar.cli.arguments import AsJson, say, say_json, settings_for
from radar.cli.required_services import require


def lag(*, as_json: AsJson = False) -> None:
    """Report the waiting messages and the owner of each partition."""
    from radar.errors import BrokerUnavailable
    from radar.status import render as module
    from radar.status.collect import observe_lag
    from radar.status.deployment import find

    settings = settings_for("lag")
    require(find(settings).reach(settings), kafka=True)
    overview = observe_lag(settings)
    if overview.kafka_error:
        raise BrokerUnavailable(overview.kafka_error)
    partitions = overview.partitions
    if as_json:
        say_json({"partitions": module.lag_facts(partitions)})
    else:
        say(*module.describe_lag(partitions).splitlines())
