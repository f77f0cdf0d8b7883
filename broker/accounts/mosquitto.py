"""Logins of Mosquitto: its password file and access list, and the signal to read them again."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from broker.acl import is_login
from broker.errors import DataDirectoryError
from broker.generate.files import write_private
from broker.generate.mosquitto import (
    ACL_FILE,
    PASSWORD_FILE,
    PID_FILE,
    access_list,
    password_line,
)
from broker.logs import get_logger
from keydir.stores.credentials import StoredLogin

_log = get_logger(__name__)


class MosquittoAccounts:
    """All logins in two files; Mosquitto drops who is no longer in them, and nobody else."""

    def __init__(self, folder: Path, reload: Callable[[], None]) -> None:
        """Keep the files of a deployment.

        Args:
            folder: Where ``mosquitto.conf`` looks for them.
            reload: Tells Mosquitto to read them again, if it runs.
        """
        self._folder = folder
        self._reload = reload
        self._logins: dict[str, StoredLogin] = {}
        self._told: dict[str, StoredLogin] | None = None

    async def put(self, login: str, stored: StoredLogin) -> None:
        """Admit a login, see ``Accounts``; one without a verifier cannot be admitted."""
        if stored.verifier is None:
            _log.warning("no verifier: this device has to enrol again", login=login)
            self._logins.pop(login, None)
        else:
            self._logins[login] = stored

    async def revoke(self, login: str) -> None:
        """Refuse a login, see ``Accounts``."""
        self._logins.pop(login, None)

    async def settle(self) -> None:
        """Write the files if they have changed and have them read, see ``Accounts``.

        They are read at the first call, too, and where another program wrote them as they are to
        be: that they are right does not say that Mosquitto has read them.

        Raises:
            DataDirectoryError: A file cannot be written, or Mosquitto not be signalled.
        """
        if write_accounts(self._folder, self._logins) or self._told != self._logins:
            self._told = None
            self._reload()
            self._told = dict(self._logins)


def write_accounts(folder: Path, logins: Mapping[str, StoredLogin]) -> bool:
    """Write both files of a deployment; False where nothing has changed.

    Raises:
        DataDirectoryError: A file cannot be written, or nobody could log in: Mosquitto would take
            an empty file for one that was not meant.
    """
    lines = [
        password_line(login, stored.secret_hash, stored.verifier)
        for login, stored in sorted(logins.items())
        if stored.verifier is not None and is_login(login)
    ]
    if not lines:
        raise DataDirectoryError(
            f"no login of the directory could be written to {folder}; nothing was changed: start"
            " the directory once"
        )
    # Rights first: a login never exists without them, should this process end in between.
    changed = write_private(folder / ACL_FILE, access_list(logins))
    return write_private(folder / PASSWORD_FILE, "".join(lines)) or changed


def reload_by_pid_file(folder: Path) -> None:
    """Send SIGHUP to the Mosquitto that wrote the pid file of a deployment, if it runs.

    Raises:
        DataDirectoryError: It belongs to another user.
    """
    try:
        pid = int((folder / PID_FILE).read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == "mosquitto":
            os.kill(pid, signal.SIGHUP)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return  # it reads both files when it starts
    except OSError as error:
        raise DataDirectoryError(
            f"Mosquitto (process {pid}) cannot be told to read its logins ({error.strerror}):"
            " run this command as its user"
        ) from error
