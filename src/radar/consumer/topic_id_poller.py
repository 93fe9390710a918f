"""The present ID of a topic: a thread of its own asks Kafka for it regularly."""

import math
import threading
import time
from collections.abc import Callable

import structlog

from radar.errors import RadarError

# Partitions that are assigned together need one answer.
FRESH_S = 0.2

_log = structlog.get_logger()


class TopicIdPoller:
    """Asks Kafka for the ID of a topic to notice a recreated topic. Use it as a context."""

    def __init__(self, ask: Callable[[], str], topic_id: str, every_s: float) -> None:
        """Start with a known ID; the thread starts on entry.

        Args:
            ask: Returns the ID; blocks; raises a RadarError while Kafka does not answer.
            topic_id: The known ID.
            every_s: How often to ask.
        """
        self._ask = ask
        self._every_s = every_s
        self._stop = threading.Event()
        self.topic_id = topic_id
        self.asked_at_s = -math.inf

    def __enter__(self) -> "TopicIdPoller":
        """Start the thread."""
        threading.Thread(target=self._run, name="topic-watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; the thread ends once its last request is answered."""
        self._stop.set()

    def ask_now(self) -> str:
        """Return the ID as it is now; blocks.

        Raises:
            RadarError: Kafka does not answer.
        """
        if time.monotonic() > self.asked_at_s + FRESH_S:
            self._note()
        return self.topic_id

    def _note(self) -> None:
        asked_at_s = time.monotonic()
        self.topic_id = self._ask()
        self.asked_at_s = asked_at_s

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._note()
            except RadarError as error:
                _log.debug("cannot ask for the ID of the topic", error=str(error))
