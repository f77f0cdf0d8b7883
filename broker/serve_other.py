"""`ratchetmq serve --broker mosquitto|nats`: that broker, its accounts and the directory."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from broker.accounts.follow import Follower
from broker.accounts.mosquitto import MosquittoAccounts, reload_by_pid_file
from broker.accounts.nats import NatsAccounts, answer_logins
from broker.accounts.nats_client import NatsLogin
from broker.accounts.nats_readers import keep_readers
from broker.accounts.ports import StoredLogins
from broker.accounts.responder import Responder
from broker.addresses import public_host, url_of
from broker.directory import directory_of
from broker.errors import BrokerProgramError, UnsafeError
from broker.generate.deploy import (
    device_url,
    read_nats_accounts,
    require_safe_deployment,
    write_deployment,
)
from broker.generate.nats import CALLOUT_USER, READER_USER, SYSTEM_USER
from broker.safety import require_safe
from broker.serve import Addresses, Ready
from broker.settings import BrokerSettings
from broker.starting import hold_for_start
from broker.supervise import START_SECONDS, ChildBroker, find_program
from client_sdk.signals import until_signalled
from client_sdk.wire.errors import MessagingError
from keydir.commands import run_directory
from keydir.stores.server_credentials import open_credentials


async def serve_other(settings: BrokerSettings, ready: Ready) -> None:
    """Run another broker, its accounts and the key directory until SIGTERM or SIGINT.

    Args:
        settings: Which broker, where to listen and where the state is.
        ready: Called once with the addresses when all of it answers.

    Raises:
        MisuseError: The settings are not safe for this broker; nothing was started or written.
        OperationalError: Its program is missing or does not start, or a port or file cannot be
            used; nothing runs.
    """
    if settings.cluster_nodes:
        raise UnsafeError(
            "cluster_nodes: one process runs one broker; nothing was started: each node has a"
            " machine of its own, see `ratchetmq config nats`"
        )
    require_safe_deployment(settings)
    await asyncio.to_thread(require_safe, settings)
    program = await find_program(settings)
    with hold_for_start(settings):
        folder = settings.data_dir.absolute() / settings.broker
        (config,) = await asyncio.to_thread(write_deployment, settings, folder)
        child = ChildBroker(program, config, settings.host, settings.port)
        answering = asyncio.Event()
        work = _work(settings, child, Kept(settings, folder, child.reload), answering)
        addresses = _addresses(settings)
        await until_signalled(work, answering, lambda: ready(addresses), insist=False)


async def run_accounts(settings: BrokerSettings, folder: Path, ready: asyncio.Event) -> None:
    """Keep the accounts of a broker that somebody else runs, until cancelled.

    Args:
        settings: Which broker, and where the directory is.
        folder: That of ``ratchetmq config``.
        ready: Set when the broker knew all logins for the first time.

    Raises:
        OperationalError: The deployment or the directory cannot be read.
    """
    with closing(open_credentials(directory_of(settings).database)) as stored:
        await keep_accounts(
            Kept(settings, folder, lambda: reload_by_pid_file(folder)), stored, ready
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """Whose accounts are kept: the settings, the folder and what has Mosquitto read it again."""

    settings: BrokerSettings
    folder: Path
    reload: Callable[[], None]


async def keep_accounts(kept: Kept, stored: StoredLogins, told: asyncio.Event) -> None:
    """Keep the accounts of one broker until cancelled; see ``run_accounts``."""
    if kept.settings.broker == "mosquitto":
        await Follower(stored, MosquittoAccounts(kept.folder, kept.reload), told).run()
        return
    known = read_nats_accounts(kept.folder)
    port = kept.settings.nats_port
    system = NatsLogin(port, SYSTEM_USER, known.system)
    callout = NatsLogin(port, CALLOUT_USER, known.callout)
    responder = Responder(stored, known.signer(), time.time)
    accounts = NatsAccounts(system, stored, responder.admitted)
    async with asyncio.TaskGroup() as group:
        group.create_task(answer_logins(callout, responder))
        group.create_task(Follower(stored, accounts, told).run())
        group.create_task(keep_readers(NatsLogin(port, READER_USER, known.system)))


async def _work(
    settings: BrokerSettings, child: ChildBroker, kept: Kept, answering: asyncio.Event
) -> None:
    """Run all of it; the first error of a part ends the others and is raised alone."""
    directory = directory_of(settings, device_url(settings))
    try:
        with closing(open_credentials(directory.database)) as stored:
            async with asyncio.TaskGroup() as group:
                group.create_task(child.run())
                await _until_answering(child)
                group.create_task(keep_accounts(kept, stored, asyncio.Event()))
                group.create_task(run_directory(directory, answering.set))
    except* MessagingError as errors:
        raise _first(errors) from None


async def _until_answering(child: ChildBroker) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            await child.answering.wait()
    except TimeoutError:
        raise BrokerProgramError(
            f"the broker did not answer within {START_SECONDS:.0f} s; it was ended again"
        ) from None


def _first(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


def _addresses(settings: BrokerSettings) -> Addresses:
    secure = "s" if settings.has_tls else ""
    ws_port, url = settings.ws_port, device_url(settings)
    browsers = None
    if ws_port is not None:
        browsers = f"{url_of(f'ws{secure}', public_host(settings), ws_port)}/mqtt"
    return Addresses(url, local_url=url, ws_url=browsers)
