"""What can keep the embedded broker from starting."""

from collections.abc import Sequence
from typing import NamedTuple

from client_sdk.wire.errors import MisuseError, OperationalError


class PortInUseError(OperationalError):
    """Another program listens on the port; nothing was started or written."""

    code = "port_in_use"


class ListenError(OperationalError):
    """The system refuses to listen on the host and port; nothing was started or written."""

    code = "cannot_listen"


class DataDirectoryError(OperationalError):
    """The data directory or the file of waiting mail cannot be used; it was left as it was."""

    code = "data_directory"


class DataDirectoryInUseError(DataDirectoryError):
    """Another server runs on the data directory; it was left as it was."""

    code = "data_directory_in_use"


class BrokerProgramError(OperationalError):
    """The program of another broker is not installed, too old, or does not start."""

    code = "broker_program"


class Fault(NamedTuple):
    """One thing that is wrong with the settings: which source, which key, and what."""

    where: str
    key: str
    text: str

    def __str__(self) -> str:
        """Return it as one line."""
        told = f"{self.key} {self.text}" if self.key else self.text
        return f"{self.where}: {told}" if self.where else told


class SettingsError(MisuseError):
    """Settings that are unknown, wrong or do not fit together; nothing was started or written."""

    code = "settings"

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Say the first fault, and how many more there are.

        Args:
            faults: All of them, at least one.
        """
        self.faults = tuple(faults)
        more = len(self.faults) - 1
        rest = f" ({more} more: `ratchetmq broker check FILE` lists all)" if more else ""
        super().__init__(f"{self.faults[0]}{rest}; nothing was started")


class UnsafeError(MisuseError):
    """A start that would expose what must not be; nothing was started or written."""

    code = "unsafe"
