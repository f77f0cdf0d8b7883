"""What was measured on; no dates, no names."""

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "aiomqtt",
    "amqtt",
    "cryptography",
    "msgpack",
    "paho-mqtt",
    "pydantic",
    "sqlcipher3",
)


def machine_facts() -> dict[str, object]:
    """Return processor, cores and versions."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
