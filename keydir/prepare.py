"""Everything a directory needs on disk before it serves; safe to repeat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client_sdk.transport.mqtt import Login
from client_sdk.wire.verifier import stored_credential
from keydir.config import DirectorySettings
from keydir.data import (
    KEYS_FILE,
    DirectoryKeys,
    make_data_folder,
    make_keys,
    make_login,
    read_keys,
)
from keydir.errors import DataDirectoryError, PolicyError
from keydir.policy import DEFAULT_POLICY, Policy, parse_policy, read_policy
from keydir.ports import Result, Transaction
from keydir.stores.database import file_of, sqlite_file
from keydir.stores.opening import open_store

POLICY_SETTING = "policy"
DIRECTORY_ID_SETTING = "directory_id"


@dataclass(frozen=True, slots=True)
class PreparedDirectory:
    """What was found or made: keys, login, policy and where the database is."""

    keys: DirectoryKeys = field(repr=False)
    login: Login
    policy: Policy
    database: str = field(repr=False)

    @property
    def database_path(self) -> Path:
        """The database's file.

        Raises:
            DatabaseUrlError: It is on a server.
        """
        return file_of(self.database)


def prepare_directory(settings: DirectorySettings) -> PreparedDirectory:
    """Make or check keys, login, database and policy.

    The policy in ``settings`` is stored and holds from now on; without one the stored policy
    holds, which is ``clinic`` at the first start.

    Raises:
        DataDirectoryError: The folder or a file in it cannot be used, or one of keys and
            database is missing beside the other; nothing was changed.
        DirectoryStoreError: The database cannot be used, or a newer program wrote it.
        PolicyError: The policy is not valid, or accounts have roles that it does not name.
    """
    chosen = None if settings.policy is None else read_policy(settings.policy)
    _require_whole(settings, owned=False)
    file = sqlite_file(settings.database)
    if file is not None and not file.exists():
        make_data_folder(settings.data_dir)

    def settle(transaction: Transaction) -> PreparedDirectory:
        # The database is there before the keys: a crash in between is no loss to be told.
        owned = transaction.settings.get(DIRECTORY_ID_SETTING) is not None
        _require_whole(settings, owned=owned)
        keys = read_keys(settings.data_dir) if owned else make_keys(settings.data_dir)
        claim(transaction, keys)
        policy = _settle_policy(transaction, chosen)
        login = make_login(settings.data_dir, settings.login_name)
        credential = stored_credential(login.password)
        if transaction.logins.credential(login.username) != credential:
            transaction.logins.put(login.username, credential, None)
        return PreparedDirectory(keys, login, policy, settings.database)

    return transact(settings.database, settle)


def what_is_lost(settings: DirectorySettings, *, owned: bool) -> str | None:
    """Return which of keys and database is missing beside the other; None where all is well.

    A database on a server may be named for the first time, so an empty one is no loss.

    Args:
        settings: Where both are.
        owned: Whether the database is some directory's already.
    """
    keys, file = settings.data_dir / KEYS_FILE, sqlite_file(settings.database)
    if not keys.exists():
        return (
            f"{keys} is missing, and the database belongs to the directory that had it: "
            "restore it from the backup"
            if owned
            else None
        )
    if file is None or file.exists():
        return None
    return (
        f"{keys} is here, but its database {file} is not: restore it from the backup, name it "
        f"with --database if it is elsewhere, or move {KEYS_FILE} away to begin a new directory"
    )


def _require_whole(settings: DirectorySettings, *, owned: bool) -> None:
    lost = what_is_lost(settings, owned=owned)
    if lost is not None:
        raise DataDirectoryError(f"{lost}; nothing was changed")


def transact(database: str, step: Callable[[Transaction], Result]) -> Result:
    """Return what a step comes to, in one transaction on a database that is opened for it.

    Raises:
        DirectoryStoreError: The database cannot be used; nothing was changed.
    """
    store = open_store(database)

    def work() -> Result:
        with store.transaction() as transaction:
            return step(transaction)

    try:
        return store.submit(work).result()
    finally:
        store.close()


def claim(transaction: Transaction, keys: DirectoryKeys) -> None:
    """Check that database and keys belong together; a new database is bound to the keys.

    Raises:
        DataDirectoryError: The database is another directory's; nothing was changed.
    """
    owner = transaction.settings.get(DIRECTORY_ID_SETTING)
    if owner is None:
        transaction.settings.put(DIRECTORY_ID_SETTING, keys.directory_id)
    elif owner != keys.directory_id:
        raise DataDirectoryError(
            "the database belongs to a directory with other keys; nothing was changed; "
            "restore directory.keys and the database from the same backup"
        )


def stored_policy(transaction: Transaction) -> Policy:
    """Return the policy that holds now."""
    text = transaction.settings.get(POLICY_SETTING)
    return parse_policy(text or read_policy(DEFAULT_POLICY), "of this directory")


def _settle_policy(transaction: Transaction, chosen: str | None) -> Policy:
    stored = transaction.settings.get(POLICY_SETTING)
    text = chosen or stored or read_policy(DEFAULT_POLICY)
    policy = parse_policy(text, "of this directory")
    missing = transaction.accounts.roles_in_use() - set(policy.roles)
    if missing:
        raise PolicyError(
            f"users have roles that this policy does not name: {', '.join(sorted(missing))}; "
            "nothing was changed; add these roles or keep the policy"
        )
    if text != stored:
        transaction.settings.put(POLICY_SETTING, text)
    return policy
