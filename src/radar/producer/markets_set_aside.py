"""Markets that are not recorded, each with a reason; all others are recorded.

A market is set aside in three cases: its entry in the market list is malformed, SYMBOLS names it
and the exchange does not list it, or the exchange ends each connection that subscribes to it.
"""

from collections.abc import Mapping
from enum import StrEnum

import structlog

from radar.datasets import Dataset
from radar.telemetry import metrics

# An exchange may list any number of malformed entries; this many are remembered by name.
MAX_NAMES = 1000
SHOWN_NAMES = 5

_log = structlog.get_logger()


class Reason(StrEnum):
    """Why a market is set aside."""

    MALFORMED = "malformed"  # its entry in the market list cannot be stored as a market
    UNKNOWN = "unknown"  # SYMBOLS names it, the market list does not
    REFUSED = "refused"  # the exchange ends each connection that subscribes to it


class SetAside:
    """Which markets are set aside. No method blocks."""

    def __init__(self, dataset: Dataset) -> None:
        """Start with none."""
        self._dataset = dataset
        self._found: dict[Reason, dict[str, str]] = {reason: {} for reason in Reason}
        self._counts = dict.fromkeys(Reason, 0)

    def replace(self, reason: Reason, found: Mapping[str, str], more: int = 0) -> None:
        """Replace the markets that are set aside for a reason.

        Args:
            reason: The reason.
            found: Printable names and explanations.
            more: How many others there are.
        """
        kept = dict(list(found.items())[:MAX_NAMES])
        new = {name: why for name, why in kept.items() if name not in self._found[reason]}
        self._found[reason] = kept
        self._counts[reason] = len(found) + more
        if new:
            _log.warning(
                "markets set aside",
                reason=reason.value,
                count=len(new),
                markets=_shown(new, len(new)),
            )

    def add(self, reason: Reason, name: str, why: str) -> None:
        """Set one more market aside."""
        self.replace(reason, self._found[reason] | {name: why})

    def discard(self, reason: Reason, name: str) -> None:
        """Remove a market that is no longer set aside for this reason."""
        self.replace(
            reason, {each: why for each, why in self._found[reason].items() if each != name}
        )

    def symbols(self, reason: Reason) -> frozenset[str]:
        """Return the markets that are set aside for a reason."""
        return frozenset(self._found[reason])

    @property
    def text(self) -> str:
        """Return the markets that are set aside, and why, on one line; empty if there are none."""
        parts = [
            f"{self._counts[reason]} {reason.value}: {_shown(found, self._counts[reason])}"
            for reason, found in self._found.items()
            if found
        ]
        total = sum(self._counts.values())
        several = "markets are" if total != 1 else "market is"
        return f"{total} {several} set aside and not recorded ({'; '.join(parts)})" if parts else ""

    def show(self) -> None:
        """Copy the numbers into the metrics."""
        for reason, count in self._counts.items():
            metrics.SET_ASIDE_MARKETS.labels(self._dataset.name, reason.value).set(count)


def _shown(found: Mapping[str, str], count: int) -> str:
    names = [f"{name} ({why})" for name, why in list(found.items())[:SHOWN_NAMES]]
    return ", ".join(names) + (", …" if count > SHOWN_NAMES else "")
