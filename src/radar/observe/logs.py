"""Structured logs: readable in a terminal, JSON lines elsewhere."""

import logging
import sys
from pathlib import Path

import stamina
import structlog

from radar.settings import Settings


def configure(settings: Settings, role: str, *, directory: Path | None = None) -> None:
    """Send all logs, also those of libraries, to standard error; every line carries `role`.

    With a directory they go to `ROLE.log` there instead, as JSON lines.
    """
    as_json = (
        directory is not None
        or settings.log_format == "json"
        or (settings.log_format == "auto" and not sys.stderr.isatty())
    )

    # Not a context variable, which other threads would lack: the library's, those of checks.
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
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    formatting: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta
    ]
    if as_json:
        formatting.append(structlog.processors.format_exc_info)
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(directory / f"{role}.log")
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
    # And these add lines to what they raise anyway.
    for name in ("clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel("CRITICAL")
    stamina.instrumentation.set_on_retry_hooks([_log_retry])


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    structlog.get_logger().warning(
        "retrying", error=str(details.caused_by), wait_s=round(details.wait_for, 1)
    )
