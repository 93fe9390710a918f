"""Which ID a topic has now: asked regularly in a thread of its own."""

import threading
import time
from collections.abc import Callable

import structlog

from radar.errors import RadarError

_log = structlog.get_logger()


class TopicWatch:
    """Asks Kafka for the ID of a topic, so that a recreated topic is noticed. Use as a context."""

    def __init__(self, ask: Callable[[], str], topic_id: str, every_s: float) -> None:
        """Watch nothing yet.

        Args:
            ask: Returns the ID; blocks; raises a RadarError while Kafka does not answer.
            topic_id: The ID that is known.
            every_s: How often to ask.
        """
        self._ask = ask
        self._every_s = every_s
        self._stop = threading.Event()
        self.topic_id = topic_id
        self.asked_at_s = time.monotonic()

    def __enter__(self) -> "TopicWatch":
        """Begin to ask."""
        threading.Thread(target=self._run, name="topic-watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; the thread ends once its last question is answered."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                topic_id = self._ask()
            except RadarError as error:
                _log.debug("cannot ask for the ID of the topic", error=str(error))
                continue
            self.topic_id, self.asked_at_s = topic_id, time.monotonic()
