"""The server of embedded data while radar is stopped; it is kept for a moment after a question.

To start it takes a second, and questions come one after the other. While it runs, `radar up` waits.
"""

import atexit
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chdb_server import child
from chdb_server.errors import ServerError
from radar import addresses
from radar.errors import StoreUnavailable

KEPT_S = 5.0
# Another program may have the data open, and keep them for as long.
LEFT_WITHIN_S = KEPT_S + 3


class Kept:
    """A server of one folder, for any number of users at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._address: child.Address | None = None
        self._users = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def used(self, *, keep: bool) -> Iterator[child.Address]:
        """Provide the server's address, and start the server if need be; blocks.

        Args:
            keep: Let it run for `KEPT_S` after its last user, for the next one.

        Raises:
            StoreUnavailable: The folder cannot be opened, or another process has it open.
        """
        with self._lock:
            self._stop_timer()
            address = self._started()
            self._users += 1
        try:
            yield address
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0 and keep:
                    self._timer = threading.Timer(KEPT_S, self.close_if_unused)
                    self._timer.daemon = True
                    self._timer.start()
            if not keep:
                self.close_if_unused()

    def close_if_unused(self) -> None:
        """Stop the server unless somebody uses it; blocks."""
        with self._lock:
            if self._users == 0:
                self._close()

    def _started(self) -> child.Address:
        # Somebody may have ended it.
        if self._address is not None and not addresses.answers(child.HOST, self._address.port):
            self._close()
        if self._address is None:
            try:
                self._address = self._stack.enter_context(child.served(self._path, LEFT_WITHIN_S))
            except ServerError as error:
                raise StoreUnavailable(str(error)) from error
        return self._address

    def _close(self) -> None:
        self._stop_timer()
        self._address = None
        self._stack.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_LOCK = threading.Lock()
_KEPT: dict[Path, Kept] = {}


def server_of(path: Path) -> Kept:
    """Return the server of a data folder; it ends with this process at the latest."""
    with _LOCK:
        if path not in _KEPT:
            _KEPT[path] = Kept(path)
        return _KEPT[path]


@atexit.register
def _close_all() -> None:
    for kept in _KEPT.values():
        kept.close_if_unused()
