"""What an app is told beside its messages; every event is a small frozen record."""

from enum import StrEnum
from typing import NamedTuple

from client_sdk.wire.ids import DeviceAddress, MessageId, UserName


def _shown(event: NamedTuple) -> str:
    """Return an event with its message's id as ``Sent`` shows it."""
    fields = event._asdict()
    fields = {"id": fields.pop("message_id").hex(), **fields}
    inside = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return f"{type(event).__name__}({inside})"


class Delivered(NamedTuple):
    """A device of the recipient has a message of ours."""

    message_id: MessageId
    device: DeviceAddress

    @property
    def id(self) -> str:
        """The message's id as ``Sent.id`` and ``message.id`` have it."""
        return self.message_id.hex()

    def __repr__(self) -> str:
        return _shown(self)


class Read(NamedTuple):
    """The recipient marked a message of ours as read."""

    message_id: MessageId
    device: DeviceAddress

    @property
    def id(self) -> str:
        """The message's id as ``Sent.id`` and ``message.id`` have it."""
        return self.message_id.hex()

    def __repr__(self) -> str:
        return _shown(self)


class Failed(NamedTuple):
    """A message of ours will not be sent; ``reason`` is a stable code."""

    message_id: MessageId
    recipient: UserName
    reason: str

    @property
    def id(self) -> str:
        """The message's id as ``Sent.id`` and ``message.id`` have it."""
        return self.message_id.hex()

    def __repr__(self) -> str:
        return _shown(self)


class Expired(NamedTuple):
    """A message of ours was not delivered in its time and is not sent any more."""

    message_id: MessageId
    recipient: UserName

    @property
    def id(self) -> str:
        """The message's id as ``Sent.id`` and ``message.id`` have it."""
        return self.message_id.hex()

    def __repr__(self) -> str:
        return _shown(self)


class Gap(NamedTuple):
    """Messages of a stream did not come in time; later ones are handed over without them."""

    device: DeviceAddress
    first_missing: int
    next_present: int


class SetAside(NamedTuple):
    """A message's handler failed three times; it stays in the history and later ones flow."""

    message_id: MessageId
    sender: UserName

    @property
    def id(self) -> str:
        """The message's id as ``Sent.id`` and ``message.id`` have it."""
        return self.message_id.hex()

    def __repr__(self) -> str:
        return _shown(self)


class ContactRequest(NamedTuple):
    """A stranger wrote for the first time; see ``Messenger.requests``."""

    user: UserName


class IdentityChanged(NamedTuple):
    """The account key of a known user is another one now.

    ``held``: the user was verified, so nothing is sent to them, and nothing from the new key is
    shown, before ``trust`` or ``verify``.
    """

    user: UserName
    held: bool = False


class DeviceListChanged(NamedTuple):
    """A user's devices are others now; the user may be one's own."""

    user: UserName
    version: int
    added: tuple[DeviceAddress, ...]
    removed: tuple[DeviceAddress, ...]


class Equivocation(NamedTuple):
    """Two device lists of one version were shown for a user: nothing is sent until you decide.

    ``Messenger.accept`` goes on with the list that this device knows. For one's own user nothing
    stops: this device keeps its list, but the directory or a contact has another.
    """

    user: UserName
    """Whose list it is."""


class SentElsewhere(NamedTuple):
    """Another device of one's own has sent a message; it stands in the history."""

    message_id: MessageId
    conversation: UserName
    device: DeviceAddress

    @property
    def id(self) -> str:
        """The message's id as ``Sent.id`` and ``message.id`` have it."""
        return self.message_id.hex()

    def __repr__(self) -> str:
        return _shown(self)


class RecipientInactive(NamedTuple):
    """A recipient's prekeys are too old to use; the message waits and is tried daily."""

    user: UserName


class MailboxFull(NamedTuple):
    """The broker takes no more mail for a device now; what waits is published again later."""

    device: DeviceAddress
    retry_in: float


class CloneSuspected(NamedTuple):
    """A device of a contact sent two different envelopes in one place of a session.

    Two copies of its store are in use, or somebody on the way made one up. What did not open is
    asked for again in a new session.
    """

    device: DeviceAddress


class SessionRenewed(NamedTuple):
    """What was sent could not be opened on one side, and a new session took its place.

    Messages without a receipt are sent again in it; nothing has to be done.
    """

    device: DeviceAddress


class SessionDamaged(NamedTuple):
    """The stored sessions with a device cannot be read; a new one takes their place."""

    device: DeviceAddress


class RollbackSource(StrEnum):
    """What noticed that a store is older than it was."""

    FILE = "file"
    """The file beside the store."""
    DIRECTORY = "directory"
    """The counters that the key directory keeps."""


class StoreRolledBack(NamedTuple):
    """This store is a copy: restored from a backup, or another copy of it is in use.

    All sessions were put away before anything was sent; contacts send again what this copy
    cannot open. Messages received after the backup was made are not in this store.
    """

    noticed_by: RollbackSource


class LoginInUse(NamedTuple):
    """Another program connects with this device's login; ours waits longer before each try."""

    retry_in: float


class LoginRefused(NamedTuple):
    """The broker refuses this device's login: it was revoked, or logins cannot be checked now."""

    retry_in: float


Event = (
    Delivered
    | Read
    | Failed
    | Expired
    | Gap
    | SetAside
    | ContactRequest
    | IdentityChanged
    | DeviceListChanged
    | Equivocation
    | SentElsewhere
    | RecipientInactive
    | MailboxFull
    | CloneSuspected
    | SessionRenewed
    | SessionDamaged
    | StoreRolledBack
    | LoginInUse
    | LoginRefused
)
