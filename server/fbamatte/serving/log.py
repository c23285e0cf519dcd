"""Where the log goes and what it looks like."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


class _IntoStructlog(logging.Handler):
    """Lets what libraries log come out in the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        log = structlog.get_logger(record.name)
        method = log.error if record.levelno >= logging.ERROR else log.warning
        method(record.getMessage(), exc_info=record.exc_info)


def configure(log_format: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging for a whole process.

    Parameters
    ----------
    log_format : str
        ``text`` for people, ``json`` for machines: one object a line.
    level : str
        ``debug``, ``info``, ``warning`` or ``error``.
    stream : text stream, optional
        Standard error by default: standard output belongs to results.
    """
    stream = stream or sys.stderr
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    formatted = [structlog.processors.format_exc_info] if log_format == "json" else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *formatted,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_IntoStructlog()], level=logging.WARNING, force=True)
