"""Structured log lines; the host program decides where they go.

Lines carry ids and sizes only: no payload, no password, no text that a stranger chose.
"""

import logging

import structlog


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a structured logger that hands its fields to the standard logger ``name``."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    )
    return logger


def quiet_engine() -> None:
    """Keep amqtt to warnings: its lower levels print packets, and passwords with them."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.WARNING)
