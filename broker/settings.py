"""The settings of the embedded broker."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from broker.limits import BrokerLimits

MAX_PORT: Final = 65535
"""The largest TCP port; 0 asks the system for a free one."""


class BrokerSettings(BaseModel):
    """Where the embedded broker listens and where it keeps waiting mail.

    Attributes:
        host: The address to listen on; loopback unless told otherwise, as MQTT here has no TLS.
        port: The TCP port, 0 for any free one.
        data_dir: The folder of the file of waiting mail; made if it is missing.
        limits: What clients are allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=1883, ge=0, le=MAX_PORT)
    data_dir: Path
    limits: BrokerLimits = BrokerLimits()
