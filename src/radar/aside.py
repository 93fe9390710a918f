"""Runs a blocking action in a thread that does not delay the end of the process."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_Answer = TypeVar("_Answer")


async def aside(action: Callable[[], _Answer], name: str) -> _Answer:
    """Run an action in a thread of its own and return its result.

    If the waiting is cancelled, the thread goes on alone. It is none of the event loop's own
    threads, because the end of the process waits for those.

    Args:
        action: Blocks for as long as it likes.
        name: Of the thread.

    Raises:
        Exception: Any error of the action.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[_Answer] = loop.create_future()

    def finish(deliver: Callable[[], None]) -> None:
        if not ended.done():  # else no caller waits any more
            deliver()

    def run() -> None:
        try:
            answer = action()
        except Exception as error:  # noqa: BLE001 - the waiting caller raises it again
            failure = error
            deliver = lambda: ended.set_exception(failure)  # noqa: E731
        else:
            deliver = lambda: ended.set_result(answer)  # noqa: E731
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, deliver)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await ended
