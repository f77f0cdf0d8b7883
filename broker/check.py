"""``ratchetmq broker check``: what a start would refuse, and what is unwise, without starting."""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from broker.errors import DataDirectoryError, ListenError, PortInUseError, SettingsError
from broker.generate.rules import refusals
from broker.limits import MIB
from broker.listening import listen, listeners
from broker.lock import holder_of
from broker.safety import Finding, Level, unsafe
from broker.settings import BrokerSettings
from broker.settings_sources import load_settings
from client_sdk.wire.errors import MessagingError
from keydir.errors import DirectoryStoreError
from keydir.policy import read_policy
from keydir.stores.database import DatabaseUrlError

OTHER_FILES: Final = 64
"""Descriptors beside the connections: databases, logs, libraries."""

_LOW_DISK_BYTES: Final = 256 * MIB


def check_file(file: Path) -> list[Finding]:
    """Return what is wrong with a settings file, the environment on top of it as at a start.

    Reads files and tries ports; writes nothing and leaves nothing open.
    """
    try:
        settings = load_settings(file, {})
    except SettingsError as error:
        return [Finding(Level.REFUSED, fault.key, str(fault)) for fault in error.faults]
    return check_settings(settings)


def check_settings(settings: BrokerSettings) -> list[Finding]:
    """Return what is wrong with ``settings``, as ``check_file`` does."""
    rules: tuple[Callable[[BrokerSettings], Iterator[Finding]], ...] = (
        unsafe,
        _other_broker,
        _folder,
        _ports,
        _policy,
        _resources,
        _loudness,
    )
    return [found for rule in rules for found in _found(rule, settings)]


def _found(
    rule: Callable[[BrokerSettings], Iterator[Finding]], settings: BrokerSettings
) -> Iterator[Finding]:
    try:
        yield from rule(settings)
    except DataDirectoryError as error:
        yield Finding(Level.REFUSED, "data_dir", str(error))
    except (DirectoryStoreError, DatabaseUrlError) as error:
        yield Finding(Level.REFUSED, "database_url", str(error))


def _other_broker(settings: BrokerSettings) -> Iterator[Finding]:
    if settings.broker == "embedded":
        return
    for text in refusals(settings):
        yield Finding(Level.REFUSED, "broker", text)


def _folder(settings: BrokerSettings) -> Iterator[Finding]:
    folder = settings.data_dir
    holder = holder_of(folder)
    if holder is not None:
        text = f"{folder} is in use by {holder}: end that server before this one starts"
        yield Finding(Level.REFUSED, "data_dir", text)
    there = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        text = f"{there} is no folder that this user may write to; the server's user may"
        yield Finding(Level.REFUSED, "data_dir", text)
    if not folder.is_absolute():
        text = f"{folder} depends on the folder that the server is started in: give a whole path"
        yield Finding(Level.UNWISE, "data_dir", text)


def _ports(settings: BrokerSettings) -> Iterator[Finding]:
    for setting, host, port in listeners(settings):
        try:
            listen(host, port).close()
        except (PortInUseError, ListenError) as error:
            yield Finding(Level.REFUSED, setting, str(error))
        if port == 0:
            text = "0 takes any free port: name one, so that who looks for it finds it"
            yield Finding(Level.UNWISE, setting, text)


def _policy(settings: BrokerSettings) -> Iterator[Finding]:
    if settings.policy is None:
        return
    try:
        read_policy(settings.policy)
    except MessagingError as error:
        yield Finding(Level.REFUSED, "policy", str(error))


def _resources(settings: BrokerSettings) -> Iterator[Finding]:
    limits = settings.limits
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and limits.max_connections + OTHER_FILES > files:
        text = (
            f"{limits.max_connections} connections need more than the {files} open files that this"
            " user may have: raise the limit (LimitNOFILE=) or lower the setting"
        )
        yield Finding(Level.UNWISE, "limits.max_connections", text)
    there = next((one for one in settings.data_dir.absolute().parents if one.exists()), None)
    free = None if there is None else shutil.disk_usage(there).free
    bounded = settings.broker == "embedded"  # others have no such bound
    if bounded and free is not None and free < _LOW_DISK_BYTES + limits.max_waiting_bytes:
        text = (
            f"waiting mail may grow to {limits.max_waiting_bytes // MIB} MiB and the disk has"
            f" {free // MIB} MiB left: lower the setting or make room"
        )
        yield Finding(Level.UNWISE, "limits.max_waiting_bytes", text)


def _loudness(settings: BrokerSettings) -> Iterator[Finding]:
    if settings.log_level == "debug":
        text = "debug tells who wrote to whom and when to whoever reads the log"
        yield Finding(Level.UNWISE, "log_level", text)
