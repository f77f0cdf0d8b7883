"""What can go wrong in the key directory, beside what its peers send."""

from client_sdk.wire.errors import MisuseError, OperationalError, ProtocolError


class RefusedRequestError(ProtocolError):
    """A request whose records break a rule; nothing was changed."""

    code = "refused_request"


class DirectoryStoreError(OperationalError):
    """The directory's database could not be read or written; nothing of the step was kept."""

    code = "directory_store"


class DirectoryBusyError(OperationalError):
    """Another transaction, or a lost connection, broke a step off; it is begun again."""

    code = "directory_busy"


class NewerDirectoryError(DirectoryStoreError):
    """The database was written by a newer version; it was not touched."""

    code = "newer_directory"


class DirectoryBackupError(OperationalError):
    """A database could not be copied into a file; none was left, and it was not changed."""

    code = "directory_backup"


class DirectoryMoveError(OperationalError):
    """A database could not be copied into another; neither was changed."""

    code = "directory_move"


class DataDirectoryError(OperationalError):
    """The data directory or a file in it cannot be used; nothing was changed."""

    code = "data_directory"


class PolicyError(MisuseError):
    """A policy that is not valid, or does not fit the accounts; nothing was changed."""

    code = "policy"


class UnknownRoleError(MisuseError):
    """A role that the policy does not name, or none where it names several."""

    code = "unknown_role"


class UserExistsError(MisuseError):
    """An invitation for a user who has enrolled already; nothing was changed."""

    code = "user_exists"


class NumbersUsedUpError(MisuseError):
    """A user has had every device number; nothing was changed."""

    code = "numbers_used_up"


class UnknownUserError(MisuseError):
    """A user or device that the directory does not know; nothing was changed."""

    code = "unknown_user"


class NoBrokerUrlError(MisuseError):
    """No broker address is known for an invitation; nothing was changed."""

    code = "no_broker_url"
