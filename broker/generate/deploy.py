"""A whole deployment in one folder: configuration, logins and secrets of the broker chosen."""

import os
import pwd
import secrets
import stat
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from broker.accounts.mosquitto import write_accounts
from broker.accounts.nkeys import Signer
from broker.addresses import pinned_ca, public_host, url_of
from broker.directory import directory_of
from broker.errors import DataDirectoryError, UnsafeError
from broker.generate import mosquitto, nats
from broker.generate.files import make_folder, write_private
from broker.generate.routes import unfit_certificate
from broker.generate.rules import is_quotable, require_deployable
from broker.safety import Level, unsafe_files
from broker.settings import BrokerSettings
from client_sdk.entropy import draw_bytes
from keydir.data import write_broker_urls
from keydir.prepare import prepare_directory
from keydir.stores.server_credentials import open_credentials

ACCOUNTS_FILE: Final = "accounts.json"
"""What ``ratchetmq accounts nats`` knows."""

_WRITTEN_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
SEED_BYTES: Final = 32
_Password = Annotated[str, Field(min_length=43, max_length=43, repr=False)]


class NatsAccountsFile(BaseModel):
    """The private key that signs rights, and the passwords of a deployment of NATS."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    format: Literal[1] = 1
    seed: Annotated[Base64Bytes, Field(min_length=SEED_BYTES, max_length=SEED_BYTES, repr=False)]
    callout: _Password
    system: _Password
    route: _Password

    def signer(self) -> Signer:
        """Return who signs rights."""
        return Signer(self.seed)


def require_safe_deployment(settings: BrokerSettings) -> None:
    """Return if ``settings`` may be deployed; reads files, changes nothing.

    Raises:
        UnsafeError: They may not; all reasons are in the text.
    """
    require_deployable(settings)
    refused = [one.text for one in unsafe_files(settings) if one.level is Level.REFUSED]
    refused += unfit_certificate(settings)
    if refused:
        raise UnsafeError(f"{'; '.join(refused)}; nothing was written or started")


def write_deployment(settings: BrokerSettings, folder: Path) -> tuple[Path, ...]:
    """Write a deployment and make the directory that its logins come from.

    What was written for the same folder before is replaced; secrets stay as they were. No
    directory is made for a cluster: not every machine with a node has its keys.

    Args:
        settings: Which broker, and all about it.
        folder: Where to; made if it is missing.

    Returns:
        The configuration files, one a node.

    Raises:
        UnsafeError: The settings cannot be deployed safely; nothing was written.
        OperationalError: A folder, file or the directory's database cannot be used.
    """
    require_safe_deployment(settings)
    folder = folder.absolute()
    _require_own(folder)
    whole = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    if not whole.cluster_nodes:
        prepare_directory(directory_of(whole))
    make_folder(whole.data_dir)
    make_folder(folder)
    urls = whole.public_urls or (device_url(whole),)
    write_broker_urls(whole.data_dir, urls, pinned_ca(whole))
    if whole.broker == "mosquitto":
        return (_write_mosquitto(whole, folder),)
    return _write_nats(whole, folder)


def _require_own(folder: Path) -> None:
    if not is_quotable(str(folder)):
        raise UnsafeError(
            f"--out: {str(folder)!r} has a character that a configuration file cannot hold; nothing"
            " was written: name another folder"
        )
    if folder.exists() and (mode := stat.S_IMODE(folder.stat().st_mode)) & _WRITTEN_BY_OTHERS:
        raise UnsafeError(
            f"--out: {folder} can be written to by others (mode {mode:o}), who could put files of"
            " theirs there; nothing was written: chmod 700 it, or name another folder"
        )


def device_url(settings: BrokerSettings) -> str:
    """Return where the broker is reached: by devices, and by the directory beside it."""
    scheme = "mqtts" if settings.has_tls else "mqtt"
    return url_of(scheme, public_host(settings), settings.port)


def read_nats_accounts(folder: Path) -> NatsAccountsFile:
    """Return the key and passwords of a deployment of NATS.

    Raises:
        DataDirectoryError: There is none in this folder, or the file is damaged.
    """
    path = folder / ACCOUNTS_FILE
    try:
        return NatsAccountsFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataDirectoryError(
            f"{path}: {error.strerror}; nothing was changed: make the deployment first"
            " (`ratchetmq config nats`)"
        ) from error
    except ValidationError:
        raise DataDirectoryError(
            f"{path} is damaged; it was not changed: restore it from a backup"
        ) from None


def _write_mosquitto(settings: BrokerSettings, folder: Path) -> Path:
    make_folder(mosquitto.store_folder(settings))
    with closing(open_credentials(directory_of(settings).database)) as stored:
        write_accounts(folder, stored.logins())
    path = folder / mosquitto.CONFIG_FILE
    write_private(path, mosquitto.configuration(settings, folder, _own_name()))
    return path


def _own_name() -> str:
    """Return the user of this process, as whom Mosquitto runs, too."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())  # only root becomes another user, and root has a name


def _write_nats(settings: BrokerSettings, folder: Path) -> tuple[Path, ...]:
    if not (folder / ACCOUNTS_FILE).exists():
        made = NatsAccountsFile.model_construct(
            seed=draw_bytes(SEED_BYTES),
            callout=secrets.token_urlsafe(32),
            system=secrets.token_urlsafe(32),
            route=secrets.token_urlsafe(32),
        )
        write_private(folder / ACCOUNTS_FILE, made.model_dump_json())
    known = read_nats_accounts(folder)
    shared = nats.NatsSecrets(known.signer().name, known.callout, known.system, known.route)
    write_private(folder / nats.SECRETS_FILE, nats.secrets_text(shared, settings))
    written = []
    for node in range(max(1, len(settings.cluster_nodes))):
        make_folder(nats.store_folder(settings, node))
        path = folder / nats.config_file(settings, node)
        write_private(path, nats.configuration(settings, folder, node))
        written.append(path)
    return tuple(written)
