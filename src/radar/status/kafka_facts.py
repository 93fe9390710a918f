"""Facts from Kafka: the lag of the workers, and the messages that could not be stored."""

import heapq
from typing import NamedTuple

from radar.consumer.dlq.reader import DeadLetterReader, DeadLetterState
from radar.datasets import DATASETS, groups
from radar.kafka import Cluster, Lag, origin
from radar.status.model import RecentDeadLetter

SHOWN_LETTERS = 20


class DeadLetterFacts(NamedTuple):
    """The contents of the dead-letter topics."""

    newest: list[RecentDeadLetter]
    open: dict[str, int]
    origin: str = ""  # of the topics' messages: real or simulated; empty: not marked


def ask_lags(cluster: Cluster) -> dict[str, list[Lag]]:
    """Return the lag of the workers, by dataset; blocks.

    Raises:
        BrokerUnavailable: Kafka does not answer.
    """
    found = cluster.lags(groups())
    return {dataset.name: found[dataset.topic] for dataset in DATASETS.values()}


def ask_letters(cluster: Cluster) -> DeadLetterFacts:
    """Read the dead letters, and the topics' origin; blocks.

    Raises:
        BrokerUnavailable: Kafka does not answer.
    """
    newest, still_open = [], {}
    for dataset in DATASETS.values():
        states: dict[DeadLetterState, int] = dict.fromkeys(DeadLetterState, 0)
        letters = []
        for letter, state in DeadLetterReader(cluster, dataset):
            states[state] += 1
            letters.append(
                RecentDeadLetter(
                    dataset=dataset.name,
                    at_s=letter.sent_at_ms / 1000,
                    reason=letter.reason,
                    detail=letter.detail,
                    topic=letter.topic,
                    partition=letter.partition,
                    offset=letter.offset,
                    replayed=state is DeadLetterState.REPLAYED,
                )
            )
            if len(letters) > 100 * SHOWN_LETTERS:
                letters = _newest_letters(letters)
        newest += letters
        still_open[dataset.name] = states[DeadLetterState.OPEN]
    mark = origin.read(cluster)
    return DeadLetterFacts(_newest_letters(newest), still_open, str(mark.origin) if mark else "")


def _newest_letters(letters: list[RecentDeadLetter]) -> list[RecentDeadLetter]:
    return heapq.nlargest(SHOWN_LETTERS, letters, key=lambda each: each.at_s)
