"""How far the partitions of a worker are behind, shown in the metrics."""

from collections.abc import Mapping

from radar.datasets import Dataset
from radar.telemetry import metrics


class LagGauge:
    """Shows the lag of the partitions that a worker owns, and of no others. For one thread."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset.name
        self._shown: set[int] = set()

    def show(self, ends: Mapping[int, int], positions: Mapping[int, int]) -> None:
        """Show the newest numbers.

        Args:
            ends: The next offset that will be written, by partition.
            positions: The next offset to be stored, by partition that the worker owns.
        """
        for partition in self._shown - positions.keys():
            metrics.LAG.remove(self._dataset, str(partition))
        for partition, position in positions.items():
            lag = max(0, ends.get(partition, position) - position)
            metrics.LAG.labels(self._dataset, str(partition)).set(lag)
        self._shown = set(positions)
