"""Runs blocking actions in daemon threads, for which the end of the process does not wait.

The threads of an executor are joined at the end of the process, so one action that hangs would
keep it alive.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Answer = TypeVar("_Answer")


def settle(future: "Future[_Answer]", action: Callable[[], _Answer]) -> None:
    """Run an action and give its result, or its exception, to those who wait; blocks."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        answer = action()
    except Exception as error:  # noqa: BLE001 - raised again where the future is awaited
        future.set_exception(error)
    else:
        future.set_result(answer)


def begin(action: Callable[[], _Answer], name: str) -> "Future[_Answer]":
    """Run an action in a thread of its own, which has this name; does not block."""
    future: Future[_Answer] = Future()
    threading.Thread(target=settle, args=(future, action), name=name, daemon=True).start()
    return future


async def aside(action: Callable[[], _Answer], name: str) -> _Answer:
    """Run an action in a thread of its own and return its result.

    If the awaiting task is cancelled, the thread goes on alone.

    Raises:
        Exception: The action raised it.
    """
    return await asyncio.wrap_future(begin(action, name))
