"""Keeps the members of a consumer group in the same round of a rebalance.

In a round every member asks to join and is answered, then asks for its share and is answered. The
embedded broker answers the members one after the other. If the first one begins the next round
meanwhile, the broker forgets to answer the others, and from then on they wait for each other: seen
about once in ten starts on a busy machine.

So the fetch proxy holds a request to join until every member that waited in the same round has its
answer.
"""

import asyncio
import contextlib
from collections import defaultdict

# The broker answers the others within some milliseconds. Longer, and they wait for another round.
HOLD_S = 1.0


class GroupRounds:
    """The requests of group members that the broker has not answered yet.

    Only one event loop uses it. A request is known by the API, the group and any object that tells
    it from the others.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[tuple[int, bytes], set[int]] = defaultdict(set)
        # By group: those that waited while another one of their round was answered.
        self._owed: defaultdict[bytes, set[int]] = defaultdict(set)
        self._settled = asyncio.Event()  # set when a group is owed no answer any more

    async def next_round(self, group: bytes) -> None:
        """Wait until every member of the last round has its answer, for HOLD_S at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                while self._owed.get(group):
                    await self._settled.wait()

    def asked(self, api_key: int, group: bytes, request: int) -> None:
        """Take a request that goes to the broker."""
        self._waiting[api_key, group].add(request)

    def answered(self, api_key: int, group: bytes, request: int, *, granted: bool) -> None:
        """Take the answer to a request, or the end of its connection as one that is not granted."""
        waiting = self._waiting[api_key, group]
        waiting.discard(request)
        owed = self._owed[group]
        owed.discard(request)
        if granted:
            owed |= waiting
        if not waiting:
            del self._waiting[api_key, group]
        if not owed:
            del self._owed[group]
            self._settled.set()
            self._settled = asyncio.Event()
