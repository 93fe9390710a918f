"""Runs something that blocks in a thread for which the end of the process does not wait."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_Answer = TypeVar("_Answer")


async def aside(action: Callable[[], _Answer], name: str) -> _Answer:
    """Run an action in a thread of its own and return its result.

    Where the waiting is cancelled, the thread goes on alone. The event loop's own threads are not
    used, because the end of the process waits for them.

    Args:
        action: Blocks for as long as it likes.
        name: Of the thread.

    Raises:
        Exception: Whatever the action raises.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[_Answer] = loop.create_future()

    def finish(deliver: Callable[[], None]) -> None:
        if not ended.done():  # else nobody waits any more
            deliver()

    def run() -> None:
        try:
            answer = action()
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            failure = error
            deliver = lambda: ended.set_exception(failure)  # noqa: E731
        else:
            deliver = lambda: ended.set_result(answer)  # noqa: E731
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, deliver)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await ended
