"""What a run of the benchmarks is told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Options that all sections share."""

    folder: Path
    """For data and logs; deleted afterwards."""
    quick: bool
    rounds: int
    scale: float
    """Multiplies how much is measured: messages, seconds and rows of tables."""
    kafka_home: Path | None
    """Folder of Apache Kafka; None is the embedded broker."""

    def scaled(self, amount: float) -> int:
        """Scale an amount, at least one."""
        return max(1, round(amount * self.scale))
