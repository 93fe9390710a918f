"""Kafka: the only package that imports the client library.

Producers and the dead-letter queue use a `Publisher`, workers a `GroupReader`, and the command line
a `Cluster`, for topics and lag. Library errors leave as `radar.errors`.
"""

from radar.kafka.client import Committed, check_answer, client_config, library_version
from radar.kafka.cluster import (
    Broker,
    Cluster,
    Growth,
    Lag,
    TopicDescription,
    TopicSettings,
    TopicState,
    least_in_sync,
)
from radar.kafka.group_reader import GroupReader
from radar.kafka.messages import MAX_MESSAGE_BYTES, Message, StoredMessage
from radar.kafka.publisher import Publisher
from radar.kafka.refused_messages import REFUSAL_REASONS
from radar.kafka.unreadable import OffsetProbe, OffsetRange, Unreadable

__all__ = [
    "MAX_MESSAGE_BYTES",
    "REFUSAL_REASONS",
    "Broker",
    "Cluster",
    "Committed",
    "GroupReader",
    "Growth",
    "Lag",
    "Message",
    "OffsetProbe",
    "OffsetRange",
    "Publisher",
    "StoredMessage",
    "TopicDescription",
    "TopicSettings",
    "TopicState",
    "Unreadable",
    "check_answer",
    "client_config",
    "least_in_sync",
    "library_version",
]
