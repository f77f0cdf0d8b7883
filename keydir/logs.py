"""Structured log lines, as text or JSON on stderr.

Lines carry ids and sizes only: no payload, no password, no text that a stranger chose. What
libraries say is cut to its template, and of an error only its type and its frames are shown:
either could quote what was received.
"""

import logging
import sys
import traceback
from collections.abc import Callable
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]

OURS: Final = ("broker", "keydir", "client_sdk")
_FIRST: Final = ("timestamp", "level", "logger", "event")
_MAX_FRAMES: Final = 20


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a structured logger that hands its fields to the standard logger ``name``."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    )
    return logger


def configure_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Log to stderr from now on, in place of what was set before.

    Args:
        level: The least of our own lines; of libraries, warnings and errors are shown.
        log_format: Text for people, or one JSON object a line.
    """
    logging.raiseExceptions = False  # a stderr that is gone stops no server
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_shown)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.ExtraAdder(),
                _without_messages,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _render[log_format],
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _is_shown(record: logging.LogRecord) -> bool:
    """Let our lines pass, and of other loggers the template of what needs somebody."""
    if _is_ours(record.name):
        return True
    if record.levelno < logging.WARNING:
        return False
    record.msg = str(record.msg).partition("\n")[0] if record.args else "a library's message"
    record.args = None
    return True


def _without_messages(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put types and frames in place of an exception, whose message may quote what came in."""
    record: logging.LogRecord = event["_record"]
    error = record.exc_info[1] if record.exc_info else None
    record.exc_info = record.exc_text = None
    event.pop("exc_info", None)
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
        event["exception"] = type(error).__qualname__
        event["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event


def _text(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Return ``2026-01-31T12:00:00Z WARNING broker.engine connected login=alice-1``."""
    head = " ".join(_plain(event.get(name, "")) for name in _FIRST)
    fields = (f"{name}={_quoted(value)}" for name, value in event.items() if name not in _FIRST)
    return " ".join((head, *fields))


def _plain(value: object) -> str:
    return "".join(one if one.isprintable() else "\ufffd" for one in str(value))


def _quoted(value: object) -> str:
    text = _plain(value)
    return text if text and " " not in text and '"' not in text else repr(text)


_render: Final[dict[LogFormat, Callable[[WrappedLogger, str, EventDict], str | bytes]]] = {
    "json": structlog.processors.JSONRenderer(sort_keys=False, default=str),
    "text": _text,
}
