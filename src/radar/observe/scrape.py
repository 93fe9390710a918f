"""Read the metrics that the processes serve, and keep totals over restarts."""

import http.client
import urllib.request
from collections import defaultdict
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 1.0

Sample = dict[tuple[str, str], float]  # (metric, kind) to value, summed over other labels


def scrape(port: int) -> Sample:
    """Read the metrics of one process on this machine; blocks up to `TIMEOUT_S`.

    Returns nothing for a process that does not answer, as one that is starting does.
    """
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S
        ) as answer:
            text = answer.read().decode()
    except (OSError, http.client.HTTPException):  # the latter: it ended while answering
        return {}
    sample: Sample = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for metric in family.samples:
            if metric.name.startswith("radar_") and not metric.name.endswith("_bucket"):
                sample[metric.name, metric.labels.get("kind", "")] += metric.value
    return dict(sample)


class Totals:
    """Counters summed over processes, which survive the restart of any of them."""

    def __init__(self) -> None:
        self._last: dict[str, Sample] = {}
        self._totals: Sample = defaultdict(float)

    def add(self, process: str, sample: Sample) -> None:
        """Take a process's newest sample; a counter that fell was started again at zero."""
        last = self._last.get(process, {})
        for name, value in sample.items():
            if name[0].endswith(("_total", "_sum", "_count")):
                before = last.get(name, 0.0)
                self._totals[name] += value - before if value >= before else value
        if sample:
            self._last[process] = sample

    def total(self, metric: str, kind: str = "") -> float:
        """Return a counter's total since the beginning."""
        return self._totals.get((metric, kind), 0.0)

    def gauge(self, metric: str, kind: str, processes: Iterable[str]) -> float:
        """Return a gauge's newest value, summed over the processes that live."""
        return sum(self._last.get(name, {}).get((metric, kind), 0.0) for name in processes)
