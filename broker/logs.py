"""Structured log lines; the host program decides where they go.

Lines carry ids and sizes only: no payload, no password, no text that a stranger chose.
"""

import logging

from keydir.logs import get_logger

__all__ = ["get_logger", "quiet_engine"]


def quiet_engine() -> None:
    """Keep amqtt to warnings: its lower levels print packets, and passwords with them."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.WARNING)
