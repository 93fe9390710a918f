"""Whether a process lives, and whether it can do its job.

The process reports its state; the threads that serve `/healthz` and `/readyz` read it.
"""

import asyncio
import time
from collections.abc import Callable

BEAT_WITHIN_S = 60.0
LOOP_BEAT_S = 1.0
LOOP_BEAT_WITHIN_S = 10.0


class Health:
    """A process's report about itself; any thread may call any method, none blocks.

    The process lives while its main loop turns: each `beat` announces the latest time of the next
    one. The process is ready while it lives and no condition is set. A warning leaves it ready, but
    every view shows the warning instead of "everything flows".
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start alive and ready.

        Args:
            clock: Returns the time in seconds; only differences count.
        """
        self._clock = clock
        self._beat = (clock(), BEAT_WITHIN_S)
        self._conditions: dict[str, str] = {}
        self._warnings: dict[str, str] = {}

    def beat(self, within_s: float = BEAT_WITHIN_S) -> None:
        """Record that the main loop turns, and how long its next step may take."""
        self._beat = (self._clock(), within_s)

    async def keep_beating(self, within_s: float = LOOP_BEAT_WITHIN_S) -> None:
        """Beat for as long as the event loop turns, which may stand so long; until cancelled."""
        while True:
            self.beat(within_s)
            await asyncio.sleep(LOOP_BEAT_S)

    def set(self, condition: str, reason: str) -> None:
        """Set the reason why the process is not ready, under a name; replaces an earlier reason."""
        self._conditions[condition] = reason
        self._warnings.pop(condition, None)

    def warn(self, condition: str, reason: str) -> None:
        """Set a warning for the operator; the process stays ready; replaces an earlier one."""
        self._warnings[condition] = reason
        self._conditions.pop(condition, None)

    def clear(self, condition: str) -> None:
        """Remove a condition, if it is set."""
        self._conditions.pop(condition, None)
        self._warnings.pop(condition, None)

    def part(self, name: str) -> "Health":
        """Return the health of one part of the process; its conditions and reasons bear its name.

        A part beats for the whole process.
        """
        return _Part(self, name)

    def why_not_alive(self) -> list[str]:
        """Return the reasons for which the process is not alive; none if it is."""
        beat_at_s, within_s = self._beat
        silent_s = self._clock() - beat_at_s
        if silent_s <= within_s:
            return []
        return [f"the main loop has not turned for {silent_s:.0f} s, {within_s:.0f} s are allowed"]

    def why_not_ready(self) -> list[str]:
        """Return the reasons for which the process is not ready; none if it is."""
        conditions = self._conditions.copy()  # another thread may change it
        return [*self.why_not_alive(), *(conditions[name] for name in sorted(conditions))]

    def warnings(self) -> list[str]:
        """Return the warnings for the operator, although the process may be ready."""
        warnings = self._warnings.copy()
        return [warnings[name] for name in sorted(warnings)]


class _Part(Health):
    """A part of a process, which reports its conditions under its name."""

    def __init__(self, whole: Health, name: str) -> None:
        self._whole, self._name = whole, name

    def beat(self, within_s: float = BEAT_WITHIN_S) -> None:
        self._whole.beat(within_s)

    def set(self, condition: str, reason: str) -> None:
        self._whole.set(f"{self._name} {condition}", f"{self._name}: {reason}")

    def warn(self, condition: str, reason: str) -> None:
        self._whole.warn(f"{self._name} {condition}", f"{self._name}: {reason}")

    def clear(self, condition: str) -> None:
        self._whole.clear(f"{self._name} {condition}")

    def part(self, name: str) -> Health:
        return self._whole.part(f"{self._name} {name}")

    def why_not_alive(self) -> list[str]:
        return self._whole.why_not_alive()

    def why_not_ready(self) -> list[str]:
        return self._whole.why_not_ready()

    def warnings(self) -> list[str]:
        return self._whole.warnings()
