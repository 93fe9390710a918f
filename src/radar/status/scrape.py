"""Read the metrics that the processes serve, and keep totals over restarts."""

import http
import http.client
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlencode

from prometheus_client.parser import text_string_to_metric_families

from radar.text import host_port

TIMEOUT_S = 1.0
STARTED_AT = ("process_start_time_seconds", "")

Sample = dict[tuple[str, str], float]  # (metric, dataset) to value, summed over other labels


class Scraped(NamedTuple):
    """The metrics of a process.

    Attributes:
        sample: Values, summed over all labels but the dataset.
        lag: Waiting messages, by dataset and partition that a worker owns.
        lag_age_s: The age of the oldest of them, by dataset.
    """

    sample: Sample
    lag: dict[tuple[str, int], float]
    lag_age_s: dict[str, float] = {}  # noqa: RUF012 - never changed


def scrape(port: int) -> Sample:
    """Read the metrics of one process on this machine; blocks up to `TIMEOUT_S`.

    The sample is empty for a process that does not answer, for example during its start.
    """
    try:
        return read("127.0.0.1", port).sample
    except OSError:
        return {}


def read(host: str, port: int, names: Iterable[str] = ()) -> Scraped:
    """Read metrics of one process; blocks up to `TIMEOUT_S` for each part of the answer.

    Args:
        host: The host of the process.
        port: The port that serves metrics.
        names: The wanted samples, which saves work on both sides; empty: all.

    Raises:
        OSError: It does not answer.
    """
    query = urlencode([("name[]", name) for name in names])
    try:
        text = fetch(host, port, f"/metrics?{query}").decode()
    except http.client.HTTPException as error:  # it ended while answering
        raise ConnectionError(str(error) or type(error).__name__) from error
    sample: Sample = defaultdict(float)
    lag: dict[tuple[str, int], float] = {}
    lag_age_s: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for metric in family.samples:
            dataset = metric.labels.get("dataset", "")
            if not metric.name.endswith("_bucket"):
                sample[metric.name, dataset] += metric.value
            if metric.name == "radar_lag_messages":
                lag[dataset, int(metric.labels["partition"])] = metric.value
            if metric.name == "radar_lag_seconds":
                lag_age_s[dataset] = max(metric.value, lag_age_s.get(dataset, 0.0))
    return Scraped(dict(sample), lag, lag_age_s)


def fetch(host: str, port: int, path: str, timeout_s: float = TIMEOUT_S) -> bytes:
    """Return the body that a process serves under a path; blocks up to `timeout_s` for each part.

    The request goes to the process directly, whatever proxies the environment names.

    Raises:
        OSError: It does not answer, or not with success.
        HTTPException: Its answer breaks off.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read()
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from error
    except OSError as error:
        raise ConnectionError(f"no server answers at {host_port(host, port)}: {error}") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        where = host_port(host, port)
        raise ConnectionError(f"{where} answers {answer.status} {answer.reason}".rstrip())
    return content


class Totals:
    """Counters of processes, which survive the restart of any of them."""

    def __init__(self) -> None:
        self._last: dict[str, Sample] = {}
        self._totals: dict[str, Sample] = {}

    def add(self, process: str, sample: Sample) -> None:
        """Take a process's newest sample.

        A counter that fell, or whose process began at another time, has restarted from zero.
        """
        last = self._last.get(process, {})
        if last.get(STARTED_AT) != sample.get(STARTED_AT):
            last = {}
        totals = self._totals.setdefault(process, defaultdict(float))
        for name, value in sample.items():
            if name[0].endswith(("_total", "_sum", "_count")):
                before = last.get(name, 0.0)
                totals[name] += value - before if value >= before else value
        if sample:
            self._last[process] = sample

    def total(self, metric: str, dataset: str = "") -> float:
        """Return a counter's total since the beginning, over all processes."""
        return sum(totals.get((metric, dataset), 0.0) for totals in self._totals.values())

    def of(self, process: str, metric: str, dataset: str = "") -> float:
        """Return the total of one process."""
        return self._totals.get(process, {}).get((metric, dataset), 0.0)

    def gauge(self, metric: str, dataset: str, processes: Iterable[str]) -> float:
        """Return a gauge's newest value, summed over the processes that live."""
        return sum(self._last.get(name, {}).get((metric, dataset), 0.0) for name in processes)

    def of_process(self, process: str) -> Sample:
        """Return every total of one process."""
        return self._totals.get(process, {})
