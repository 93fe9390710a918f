"""Structured logs: readable in a terminal, JSON lines elsewhere.

Operators read logs in terminals, and a log holds text from exchanges, Kafka and browsers as well.
So every name and value passes `_make_printable`, whichever module logs it.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

import stamina
import structlog

from radar.settings import Settings
from radar.text import printable, printable_lines

MAX_NAME_CHARACTERS = 100
MAX_VALUE_CHARACTERS = 2000
MAX_ITEMS = 50  # of a list or mapping
MAX_DEPTH = 4
MAX_INTEGER_BITS = 256  # Python writes no integer of thousands of digits
MAX_TRACEBACK_LINES = 200
_LINES = ("exception", "stack")  # values of several lines


def configure(settings: Settings, role: str, *, directory: Path | None = None) -> None:
    """Send all logs, also those of libraries, to standard error; every line carries `role`.

    With a directory they go to `ROLE.log` there instead, as JSON lines.
    """
    as_json = (
        directory is not None
        or settings.log_format == "json"
        or (settings.log_format == "auto" and not sys.stderr.isatty())
    )

    # Not a context variable: the threads of libraries and of checks would lack it.
    def add_role(
        _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return {**event, "role": role}

    shared: list[structlog.typing.Processor] = [
        add_role,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        # Not the default, which shows local variables, passwords and tokens among them.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    formatting: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _make_printable,
    ]
    handler: logging.Handler = _StreamHandler(sys.stderr)
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        handler = _FileHandler(directory / f"{role}.log")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[*formatting, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    # These libraries describe each request and frame at INFO and DEBUG.
    for name in ("httpx", "httpcore", "websockets", "asyncio"):
        logging.getLogger(name).setLevel("WARNING")
    # These only repeat the errors that they raise.
    for name in ("clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel("CRITICAL")
    stamina.instrumentation.set_on_retry_hooks([_log_retry])
    sys.excepthook = _write_uncaught
    threading.excepthook = _write_uncaught_of_thread


class _StreamHandler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's
        """Report which line could not be written; the library would print all of it, unescaped."""
        _write_failure(record)


class _FileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's
        """As above."""
        _write_failure(record)


def _write_failure(record: logging.LogRecord) -> None:
    with suppress(Exception):
        where = printable(f"{record.name}:{record.lineno}: {sys.exc_info()[1]!r}")
        sys.stderr.write(f"a log line could not be written: {where}\n")


def _make_printable(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Return an event of bounded size that cannot control a terminal."""
    return {
        printable(str(name), MAX_NAME_CHARACTERS): _traceback(value)
        if name in _LINES and isinstance(value, str)
        else _shown(value, MAX_DEPTH)
        for name, value in event.items()
    }


def _shown(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= MAX_INTEGER_BITS else printable(hex(value))
    if isinstance(value, str):
        return printable(value, MAX_VALUE_CHARACTERS)
    if isinstance(value, bytes | bytearray):
        return printable(repr(bytes(value[:MAX_VALUE_CHARACTERS])), MAX_VALUE_CHARACTERS)
    if depth and isinstance(value, Mapping):
        pairs = list(value.items())[:MAX_ITEMS]
        return {
            printable(str(name), MAX_NAME_CHARACTERS): _shown(each, depth - 1)
            for name, each in pairs
        }
    if depth and isinstance(value, Sequence | Set):
        return [_shown(each, depth - 1) for each in list(value)[:MAX_ITEMS]]
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the log line is worth more than its value
        text = f"<{type(value).__name__}>"
    return printable(text, MAX_VALUE_CHARACTERS)


def _traceback(text: str) -> str:
    """Return the end of a traceback, with the error itself."""
    lines = text.rstrip("\n").split("\n")[-MAX_TRACEBACK_LINES:]
    return "\n".join(printable(line, MAX_VALUE_CHARACTERS) for line in lines)


def _write_uncaught(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    """Write an uncaught error as Python does, but without control characters for the terminal."""
    text = "".join(traceback.format_exception(kind, error, where))
    sys.stderr.write(f"{printable_lines(text)}")
    sys.stderr.flush()


def _write_uncaught_of_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and failure.exc_type is not SystemExit:
        name = failure.thread.name if failure.thread else "?"
        sys.stderr.write(f"Exception in thread {printable(name)}:\n")
        _write_uncaught(failure.exc_type, failure.exc_value, failure.exc_traceback)


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    structlog.get_logger().warning(
        "retrying", error=str(details.caused_by), wait_s=round(details.wait_for, 1)
    )
