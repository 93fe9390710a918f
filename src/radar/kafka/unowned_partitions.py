"""Finds partitions of a topic that no member of a stable group owns.

In a cooperative rebalance a member first gives partitions up. Then it asks to join again, and only
that gives them a new owner. If a static member dies in between, its successor takes its place
without a rebalance, and nobody asks: the partitions would stay without an owner until the next
worker comes or goes.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from radar.kafka.client import REQUEST_TIMEOUT_S, client_config
from radar.settings import Settings

if TYPE_CHECKING:
    from concurrent.futures import Future

LOOK_EVERY_S = 5.0
# A rebalance that has just ended may be followed by the next.
LOOKS = 3
CLOSE_S = 2.0


class UnownedPartitions:
    """Looks at a group regularly, as one of its members. No method blocks."""

    def __init__(self, settings: Settings, topic: str, group: str) -> None:
        """Prepare; the first look comes later."""
        self._settings = settings
        self._topic, self._group = topic, group
        self._admin: AdminClient | None = None
        self._answer: Future[Any] | None = None
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        self._looks = 0  # in a row that found some

    def check(self, member_id: str, owned: Collection[int], count: Callable[[], int]) -> bool:
        """Return whether this member should join again, so that every partition gets an owner.

        Only one member of the group gets the answer yes: one that owns few.

        Args:
            member_id: The name that the group's coordinator has given the member.
            owned: Its partitions.
            count: Returns how many partitions the topic has.
        """
        now_s = time.monotonic()
        if self._answer is not None and self._answer.done():
            answer, self._answer = self._answer, None
            return self._take(answer, member_id, frozenset(owned), count)
        if self._answer is None and now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            if self._admin is None:
                self._admin = AdminClient(client_config(self._settings))
            asked = self._admin.describe_consumer_groups(
                [self._group], request_timeout=REQUEST_TIMEOUT_S
            )
            self._answer = asked[self._group]
        return False

    def close(self) -> None:
        """Wait for a request that is under way; blocks for CLOSE_S at most.

        Its answer must not come to an interpreter that is ending.
        """
        if self._answer is not None:
            with suppress(KafkaException, TimeoutError):
                self._answer.result(CLOSE_S)
        self._admin = self._answer = None

    def _take(
        self, answer: "Future[Any]", member_id: str, owned: frozenset[int], count: Callable[[], int]
    ) -> bool:
        try:
            group = answer.result(0)
        except (KafkaException, TimeoutError):
            return False
        members = {
            member.member_id: frozenset(
                each.partition
                for each in member.assignment.topic_partitions
                if each.topic == self._topic
            )
            for member in group.members
        }
        # An answer that does not know this member as it is proves nothing about the others.
        is_proof = group.state is ConsumerGroupState.STABLE and members.get(member_id) == owned
        if not is_proof or len(frozenset().union(*members.values())) >= count():
            self._looks = 0
            return False
        self._looks += 1
        chosen = min(members, key=lambda name: (len(members[name]), name))
        if self._looks < LOOKS or chosen != member_id:
            return False
        self._looks = 0
        return True
