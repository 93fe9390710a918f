"""Regular checks, beside the main loop, whether a process's dependencies answer."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

import structlog

from radar.errors import RadarError
from radar.telemetry.health import Health

CHECK_EVERY_S = 3.0
# Of each request of a check; so a missing dependency is noticed within ten seconds.
CHECK_TIMEOUT_S = 2.0

# Blocks for a few seconds at most; raises a RadarError if the dependency does not answer.
Check = Callable[[], object]

_log = structlog.get_logger()


@contextlib.contextmanager
def checking(health: Health, checks: Mapping[str, Check]) -> Iterator[None]:
    """Run each check every CHECK_EVERY_S in a thread of its own, while the context lasts.

    A failed check sets the condition of its name, with the error as the reason.
    """
    stop = threading.Event()
    for name, check in checks.items():
        arguments = (health, name, check, stop)
        threading.Thread(target=_repeat, args=arguments, name=f"check {name}", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _repeat(health: Health, name: str, check: Check, stop: threading.Event) -> None:
    answered = True
    while not stop.is_set():
        try:
            check()
        except RadarError as error:
            health.set(name, str(error))
            if answered:
                _log.info("not ready", check=name, error=str(error))
            answered = False
        else:
            health.clear(name)
            if not answered:
                _log.info("check passed again", check=name)
            answered = True
        stop.wait(CHECK_EVERY_S)
