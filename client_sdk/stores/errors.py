"""What can go wrong with a store; nothing was changed by the call that raised."""

from client_sdk.wire.errors import MisuseError, OperationalError


class StoreError(OperationalError):
    """The store could not be read or written."""

    code = "store_error"


class StorageFullError(StoreError):
    """The disk, or what this account may use of it, is full."""

    code = "storage_full"


class StoreCorruptError(StoreError):
    """The store's content is damaged."""

    code = "store_corrupt"


class StaleSnapshotError(StoreError):
    """Another task or process changed these rows first; plan the step again."""

    code = "stale_snapshot"


class StoreLockedError(MisuseError):
    """The passphrase is wrong, or the file is no store."""

    code = "wrong_passphrase"


class PassphraseNeededError(StoreLockedError):
    """The store has a passphrase, and none was given."""


class StoreMissingError(MisuseError):
    """There is no store at this path, or none can be made there."""

    code = "store_missing"


class StoreTooNewError(MisuseError):
    """The store was written by a newer version."""

    code = "store_too_new"
