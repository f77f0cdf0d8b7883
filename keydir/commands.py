"""What an operator does: run the directory, invite, revoke. Plain functions with clear errors."""

from collections.abc import Callable
from dataclasses import dataclass, field

from client_sdk.entropy import draw_bytes, draw_id
from client_sdk.transport.errors import InvalidBrokerUrlError
from client_sdk.transport.mqtt import MqttTransport
from client_sdk.transport.tls import CaPin, PassingMemory
from client_sdk.transport.urls import parse_broker_url
from client_sdk.wire.bundle import DEVICE_LIST
from client_sdk.wire.encoded_keys import SigningKey
from client_sdk.wire.enrollment import enroll_login_secret
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import (
    ENROLL_LOGIN_PREFIX,
    DeviceAddress,
    InvitationId,
    UserName,
    parse_address,
    parse_user,
    user_of,
)
from client_sdk.wire.invitation import (
    INVITATION_LIFETIME_MS,
    MAX_BROKER_URLS,
    SECRET_BYTES,
    Invitation,
    ReturnInvitation,
    Standing,
    format_invitation,
    password_text,
)
from client_sdk.wire.limits import MAX_DISPLAY_NAME_CHARACTERS
from client_sdk.wire.verifier import stored_credential
from keydir.config import DirectorySettings
from keydir.data import DirectoryKeys, read_broker_urls, read_ca_fingerprint, read_keys
from keydir.desk import wall_ms
from keydir.enrollment import used_numbers
from keydir.errors import DataDirectoryError, NoBrokerUrlError, UnknownUserError, UserExistsError
from keydir.ports import Result, Transaction
from keydir.prepare import claim, prepare_directory, stored_policy, transact
from keydir.records import Account, InvitationRow, Purpose
from keydir.rules import next_device_number
from keydir.service import KeyDirectory
from keydir.stores.database import sqlite_file

MAX_URL_CHARACTERS = 256
"""One broker address in an invitation."""


@dataclass(frozen=True, slots=True)
class Invite:
    """Whom to invite; what is None or empty is taken from the policy and the server.

    Attributes:
        user: The new user's name.
        role: A role of the policy; None where it has only one.
        name: The name that contacts are shown; None is the user name.
        broker_urls: Addresses for the device; empty: those that the server has recorded.
        purpose: A new account, or a new device in place of all those of an account that exists;
            then a role or name that is None stays as it is.
    """

    user: str
    role: str | None = None
    name: str | None = None
    broker_urls: tuple[str, ...] = ()
    purpose: Purpose = Purpose.NEW


@dataclass(frozen=True, slots=True)
class Invited:
    """One invitation; its line is as good as a login until it is used."""

    user: UserName
    role: str
    invitation: str = field(repr=False)
    expires_at: int
    """Milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What can no longer log in."""

    user: UserName
    devices: tuple[DeviceAddress, ...]
    invitation_withdrawn: bool


async def run_directory(
    settings: DirectorySettings, ready: Callable[[], None] | None = None
) -> None:
    """Run a key directory until cancelled.

    Args:
        settings: Its folder, broker addresses, database and policy.
        ready: Called whenever it has connected and answers requests.

    Raises:
        InvalidBrokerUrlError: A broker address is missing or wrong; nothing was made.
        MessagingError: As ``KeyDirectory.run`` says.
    """
    if not settings.broker_urls:
        raise InvalidBrokerUrlError("no broker address was given; nothing was started")
    for url in settings.broker_urls:
        parse_broker_url(url)
    prepared = prepare_directory(settings)
    fingerprint = _pinned_for(settings, settings.broker_urls)
    pin = None if fingerprint is None else CaPin(fingerprint, PassingMemory())
    transport = MqttTransport(settings.broker_urls, prepared.login, pin)
    await KeyDirectory(settings, transport).run(ready)


def invite(settings: DirectorySettings, wanted: Invite) -> Invited:
    """Make one invitation; works while the directory runs.

    An earlier invitation of the same user that was not redeemed ends here.

    Raises:
        MisuseError: The name, role or a broker address is not valid, no address is known, the
            user has enrolled already, or has not where the purpose needs it; nothing was changed.
        OperationalError: The directory's files cannot be used; nothing was changed.
    """
    user = parse_user(wanted.user)
    keys = read_keys(settings.data_dir)
    urls = _broker_urls(settings, wanted.broker_urls)
    invitation_id = InvitationId(draw_id())
    secret = draw_bytes(SECRET_BYTES)
    expires_at = wall_ms() + INVITATION_LIFETIME_MS

    def write(transaction: Transaction) -> tuple[str, Standing | None]:
        earlier = _earlier_account(transaction, user, wanted.purpose)
        role, name = _role_and_name(transaction, wanted, user, earlier)
        transaction.invitations.replace(
            InvitationRow(invitation_id, user, role, name, expires_at, purpose=wanted.purpose)
        )
        login = ENROLL_LOGIN_PREFIX + invitation_id
        login_secret = enroll_login_secret(invitation_id, secret)
        transaction.logins.put(login, stored_credential(password_text(login_secret)), expires_at)
        standing = None if earlier is None else _standing(transaction, earlier, wanted.purpose)
        return role, standing

    role, standing = _transact(settings, keys, write)
    invitation = Invitation(
        broker_urls=urls,
        user=user,
        invitation_id=invitation_id,
        password=secret,
        directory_id=keys.directory_id,
        directory_key=SigningKey(keys.signing.public),
        directory_hpke_key=keys.sealing.public,
        ca_fingerprint=_pinned_for(settings, urls),
        expires_at=expires_at,
    )
    line = invitation if standing is None else ReturnInvitation(invitation, standing)
    return Invited(user, role, format_invitation(line), expires_at)


def revoke(settings: DirectorySettings, target: str) -> Revoked:
    """Take the login of a user or of one device; works while the directory runs.

    The broker refuses the login and drops its connection, and the running directory sweeps what
    waits for and from the devices, each within seconds. Revoking again does no harm.

    Args:
        settings: Where the directory is.
        target: A user, or a device such as ``alice-1``.

    Raises:
        UnknownUserError: There is none such; nothing was changed.
        OperationalError: The directory's files cannot be used; nothing was changed.
    """
    address = parse_address(target) if "-" in target else None
    user = user_of(address) if address is not None else parse_user(target)

    def write(transaction: Transaction) -> Revoked:
        transaction.accounts.held_account(user)
        devices = tuple(transaction.accounts.addresses(user)) if address is None else (address,)
        known = transaction.accounts.revoke(user, address, wall_ms())
        withdrawn = _withdraw(transaction, user, address)
        if not known and not withdrawn:
            raise UnknownUserError(f"the directory does not know {target}; nothing was changed")
        for device in devices:
            transaction.logins.remove(device)
        return Revoked(user, devices, withdrawn)

    return _transact(settings, read_keys(settings.data_dir), write)


def _transact(
    settings: DirectorySettings, keys: DirectoryKeys, step: Callable[[Transaction], Result]
) -> Result:
    path = sqlite_file(settings.database)
    if path is not None and not path.exists():
        raise DataDirectoryError(
            f"no directory's database at {path}; nothing was changed; "
            "check --data, or start `ratchetmq serve` there once"
        )

    def claimed(transaction: Transaction) -> Result:
        claim(transaction, keys)
        return step(transaction)

    return transact(settings.database, claimed)


def _withdraw(transaction: Transaction, user: UserName, address: DeviceAddress | None) -> bool:
    transaction.links.withdraw(user)
    if address is None:
        return transaction.invitations.withdraw(user)
    device = transaction.accounts.device(address)
    if device is None or device.invitation_id is None:
        return False
    transaction.invitations.end(device.invitation_id)
    return True


def _earlier_account(transaction: Transaction, user: UserName, purpose: Purpose) -> Account | None:
    account = transaction.accounts.held_account(user)
    if account is not None and purpose is Purpose.NEW:
        raise UserExistsError(
            f"{user} has enrolled already; nothing was changed; an account that exists is invited "
            "again with --recover (the person has the recovery code) or --reset"
        )
    if account is None and purpose is not Purpose.NEW:
        raise UnknownUserError(
            f"{user} has no account; nothing was changed; invite without --{purpose}"
        )
    return account


def _role_and_name(
    transaction: Transaction, wanted: Invite, user: UserName, earlier: Account | None
) -> tuple[str, str]:
    policy = stored_policy(transaction)
    if earlier is None:
        return policy.role_for(wanted.role), _display_name(wanted.name or user)
    role = earlier.role if wanted.role is None else policy.role_for(wanted.role)
    return role, _display_name(wanted.name or earlier.name)


def _standing(transaction: Transaction, account: Account, purpose: Purpose) -> Standing:
    return Standing(
        may_reset=purpose is Purpose.RESET,
        device_number=next_device_number(used_numbers(transaction, account.user)),
        device_list=DEVICE_LIST.decode(account.device_list),
    )


def _display_name(name: str) -> str:
    if not name.isprintable() or len(name) > MAX_DISPLAY_NAME_CHARACTERS:
        raise MisuseError(
            f"a name has at most {MAX_DISPLAY_NAME_CHARACTERS} characters, all printable; "
            "nobody was invited"
        )
    return name


def _pinned_for(settings: DirectorySettings, urls: tuple[str, ...]) -> bytes | None:
    """Return the CA that clients of these addresses pin; without TLS there is nothing to pin."""
    encrypted = any(parse_broker_url(url).encrypted for url in urls)
    return read_ca_fingerprint(settings.data_dir) if encrypted else None


def _broker_urls(settings: DirectorySettings, given: tuple[str, ...]) -> tuple[str, ...]:
    urls = given or settings.broker_urls or read_broker_urls(settings.data_dir)
    if not urls:
        raise NoBrokerUrlError(
            "no broker address is known here; nobody was invited; "
            "start the server once, or give --broker-url"
        )
    if len(urls) > MAX_BROKER_URLS or any(len(url) > MAX_URL_CHARACTERS for url in urls):
        raise InvalidBrokerUrlError(
            f"at most {MAX_BROKER_URLS} broker addresses of {MAX_URL_CHARACTERS} characters fit "
            "into an invitation; nobody was invited"
        )
    for url in urls:
        parse_broker_url(url)
    return urls
