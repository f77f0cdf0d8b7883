"""Logging as the key directory has it, and the engine kept quiet."""

import logging

from keydir.logs import OURS, configure_logging, get_logger

__all__ = ["OURS", "configure_logging", "get_logger", "quiet_engine"]


def quiet_engine() -> None:
    """Keep amqtt to warnings: its lower levels print packets, and passwords with them."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.WARNING)
