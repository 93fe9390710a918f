"""The topics' mark of origin: whether they hold real or simulated data. See `radar.origin`.

The first message of the topic `radar_origin` is the mark. The log orders the messages of all
writers, so one of two first writers wins, and both see which.
"""

import time
from typing import Annotated

import msgspec
from msgspec import Meta

from radar.errors import BrokerUnavailable
from radar.kafka.cluster import Cluster
from radar.kafka.publisher import Publisher
from radar.origin import Origin, OriginMark
from radar.settings import Settings

TOPIC = "radar_origin"
WRITE_WITHIN_S = 10.0
MAX_ADDRESS_CHARACTERS = 2_000
# Until the year 2100, as in `codec.message_format`.
_Time = Annotated[float, Meta(ge=0, lt=4_102_444_800)]
_Address = Annotated[str, Meta(max_length=MAX_ADDRESS_CHARACTERS)]
_decoder = msgspec.json.Decoder(tuple[Origin, _Address, _Time])


def read(cluster: Cluster) -> OriginMark | None:
    """Return the mark of the topics; None if no producer has set it yet; blocks.

    Raises:
        BrokerUnavailable: The broker did not answer.
    """
    # Most brokers have no mark at this point, and reading a topic needs a client.
    if not cluster.has_topic(TOPIC):
        return None
    for message in cluster.messages(TOPIC):
        if (mark := decode(message.value() or b"")) is not None:
            return mark
    return None


def decode(value: bytes) -> OriginMark | None:
    """Return the mark that a message holds; None if radar has not written the message."""
    try:
        return OriginMark(*_decoder.decode(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def claim(settings: Settings, origin: Origin, exchange: str) -> OriginMark:
    """Return the mark of the topics, and set it if there is none; blocks.

    Args:
        settings: The options.
        origin: The origin to set if this producer is the first.
        exchange: REST address of the exchange.

    Raises:
        BrokerUnavailable: The broker did not answer or refused.
    """
    cluster = Cluster(settings)
    if (mark := read(cluster)) is not None:
        return mark
    cluster.create_lasting_topic(TOPIC)
    publisher = Publisher(settings, TOPIC)
    publisher.publish(b"origin", msgspec.json.encode((origin, exchange, time.time())))
    if publisher.flush(WRITE_WITHIN_S) or publisher.failed:
        publisher.give_up()
        raise BrokerUnavailable(
            f"Kafka at {settings.kafka_broker} does not take the mark of its origin: allow this"
            f" user to create and to write the topic {TOPIC}"
        )
    if (mark := read(cluster)) is None:
        raise BrokerUnavailable(
            f"Kafka at {settings.kafka_broker} does not show the mark of its origin: allow this"
            f" user to read the topic {TOPIC}"
        )
    return mark
