"""How far the partitions of a worker are behind, shown in the metrics."""

from collections.abc import Mapping

from radar.datasets import Dataset
from radar.telemetry import metrics


class LagGauge:
    """Shows the lag of the partitions that a worker owns, and of no others. For one thread."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset.name
        self._shown: set[int] = set()

    def show(self, ends: Mapping[int, int], next_offsets: Mapping[int, int]) -> None:
        """Show the newest numbers.

        Args:
            ends: The next offset that will be written, by partition.
            next_offsets: The next offset to be stored, by partition that the worker owns.
        """
        for partition in self._shown - next_offsets.keys():
            metrics.LAG.remove(self._dataset, str(partition))
        for partition, next_offset in next_offsets.items():
            lag = max(0, ends.get(partition, next_offset) - next_offset)
            metrics.LAG.labels(self._dataset, str(partition)).set(lag)
        self._shown = set(next_offsets)
