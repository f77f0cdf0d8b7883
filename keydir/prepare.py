"""Everything a directory needs on disk before it serves; safe to repeat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client_sdk.transport.mqtt import Login
from client_sdk.wire.invitation import secret_hash
from keydir.config import DirectorySettings
from keydir.data import DirectoryKeys, make_keys, make_login
from keydir.errors import DataDirectoryError, PolicyError
from keydir.policy import DEFAULT_POLICY, Policy, parse_policy, read_policy
from keydir.ports import Result, Transaction
from keydir.stores.database import file_of
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
        DataDirectoryError: The folder or a file in it cannot be used.
        DirectoryStoreError: The database cannot be used, or a newer program wrote it.
        PolicyError: The policy is not valid, or accounts have roles that it does not name.
    """
    chosen = None if settings.policy is None else read_policy(settings.policy)
    keys = make_keys(settings.data_dir)
    login = make_login(settings.data_dir, settings.login_name)

    def settle(transaction: Transaction) -> Policy:
        claim(transaction, keys)
        if transaction.logins.secret_hash(login.username) != secret_hash(login.password):
            transaction.logins.put(login.username, secret_hash(login.password), None)
        return _settle_policy(transaction, chosen)

    policy = transact(settings.database, settle)
    return PreparedDirectory(keys, login, policy, settings.database)


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
