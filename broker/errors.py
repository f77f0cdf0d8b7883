"""What can keep the embedded broker from starting."""

from client_sdk.wire.errors import OperationalError


class PortInUseError(OperationalError):
    """Another program listens on the port; nothing was started or written."""

    code = "port_in_use"


class ListenError(OperationalError):
    """The system refuses to listen on the host and port; nothing was started or written."""

    code = "cannot_listen"


class DataDirectoryError(OperationalError):
    """The data directory or the file of waiting mail cannot be used; it was left as it was."""

    code = "data_directory"
