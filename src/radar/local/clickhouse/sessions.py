"""Named sessions: `session_id` keeps one engine handle from request to request.

ClickHouse documentation "HTTP interface", "Using ClickHouse sessions in HTTP": settings and
temporary tables persist, one request at a time, gone after `session_timeout` of idleness.
"""

from collections.abc import Callable
from dataclasses import dataclass

from radar.local.clickhouse.engine import Handle
from radar.local.clickhouse.errors import Rejected

SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373


@dataclass(slots=True)
class Session:
    """A named session; `handle` is opened by the first request that runs in it."""

    name: str
    seconds: int
    handle: Handle | None = None
    busy: bool = True
    expires: float = 0.0


class Sessions:
    """The sessions of one server. For use by one thread; never blocks."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Use `clock`, which tells monotonic seconds."""
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def enter(self, name: str, seconds: int, *, must_exist: bool) -> Session:
        """Lock a session for one request, opening it if it is new.

        Raises:
            Rejected: Another request runs in it, or it must exist and does not.
        """
        session = self._sessions.get(name)
        if session is None:
            if must_exist:
                raise Rejected(SESSION_NOT_FOUND, "SESSION_NOT_FOUND", f"Session {name} not found")
            session = self._sessions[name] = Session(name, seconds)
            return session
        if session.busy:
            raise Rejected(
                SESSION_IS_LOCKED,
                "SESSION_IS_LOCKED",
                f"Session {name} is locked by a concurrent client",
            )
        session.busy = True
        session.seconds = seconds
        return session

    def leave(self, session: Session, *, ends: bool = False) -> Handle | None:
        """Unlock a session; return its handle, to be closed, if the client ends it."""
        session.busy = False
        session.expires = self._clock() + session.seconds
        if ends:
            del self._sessions[session.name]
            return session.handle
        return None

    def take_expired(self) -> list[Handle]:
        """Forget the sessions whose time is over; return their handles, to be closed."""
        now = self._clock()
        over = [s for s in self._sessions.values() if not s.busy and s.expires <= now]
        for session in over:
            del self._sessions[session.name]
        return [session.handle for session in over if session.handle]

    def take_all(self) -> list[Handle]:
        """Forget every session; return their handles, to be closed."""
        handles = [s.handle for s in self._sessions.values() if s.handle]
        self._sessions.clear()
        return handles
