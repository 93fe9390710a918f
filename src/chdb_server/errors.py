"""Errors of the embedded ClickHouse, each named after the reaction that it demands."""

import re

STD_EXCEPTION = 1001
ABORTED = 236

_MESSAGE = re.compile(
    r"Code: (?P<code>\d+)\. (?:DB::Exception: )?(?P<text>.*?)"
    r"(?: \((?P<name>[A-Z0-9_]+)\))?(?: \(version [^)]*\)?\))?\s*\Z",
    re.DOTALL,
)


class ServerError(Exception):
    """Base of every error that this server raises on purpose; its text is one line."""

    exit_code = 1


class DataUnavailable(ServerError):
    """The data folder cannot be opened, created or written: repair it and start again."""


class MissingPassword(ServerError):
    """There is no password: name one, or allow access without one."""

    exit_code = 2


class PathInUse(ServerError):
    """Another process has the data folder open: stop, or talk to that process over HTTP."""

    exit_code = 2


class PortInUse(ServerError):
    """The address cannot be listened on: choose another one."""

    exit_code = 2


class ClientGone(ServerError):
    """The client closed its connection: abandon its request."""


class Rejected(ServerError):
    """ClickHouse, or this server in its place, refuses a request: report it to the client.

    Attributes:
        code: ClickHouse's error number, for example 60.
        name: Its name, for example UNKNOWN_TABLE.
        detail: The message without number, name and version.
    """

    def __init__(self, code: int, name: str, detail: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {detail} ({name})")
        self.code = code
        self.name = name
        self.detail = detail

    @property
    def is_fatal(self) -> bool:
        """Whether the engine will refuse every further query as well."""
        return self.code == ABORTED and "fatal error" in self.detail


def from_engine(error: BaseException) -> Rejected:
    """Translate an engine's exception into the refusal that a client understands."""
    text = str(error).strip()
    start = text.find("Code: ")
    match = _MESSAGE.match(text[start:]) if start >= 0 else None
    if match is None:
        return Rejected(STD_EXCEPTION, "STD_EXCEPTION", text or type(error).__name__)
    return Rejected(int(match["code"]), match["name"] or "UNKNOWN", match["text"])
