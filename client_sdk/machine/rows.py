"""The rows that a device keeps, as its decisions read and write them."""

from enum import IntEnum, StrEnum
from typing import NamedTuple

from client_sdk.wire.directory import Relation
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, StreamId, UserName


class MessageState(StrEnum):
    """Where a message is on its way; outgoing ones first, then incoming ones."""

    QUEUED = "queued"
    PLANNED = "planned"
    PUBLISHED = "published"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    EXPIRED = "expired"
    HELD = "held"
    """Came before an earlier one of its stream."""
    REQUEST = "request"
    """From a stranger who was not accepted yet."""
    COPIED = "copied"
    """Sent by another device of the same user; a receipt for it counts here, too."""
    READY = "ready"
    HANDLED = "handled"
    SET_ASIDE = "set_aside"

    @property
    def told(self) -> "MessageState":
        """The state in the words of commands and errors: to encrypt is no step for anybody."""
        return MessageState.QUEUED if self is MessageState.PLANNED else self


class PrekeyKind(IntEnum):
    """The four kinds of prekeys whose private halves a device keeps."""

    SIGNED = 1
    ONE_TIME = 2
    KEM_ONE_TIME = 3
    KEM_LAST_RESORT = 4


class Peer(NamedTuple):
    """What a device knows of another user."""

    user: UserName
    account_key: AccountKey | None = None
    device_list: bytes | None = None
    relation: Relation | None = None
    role: str = ""
    name: str = ""
    accepted: bool = False
    blocked: bool = False
    next_sequence: int = 1
    verified: bool = False
    """The account key was compared."""
    offered_list: bytes | None = None
    """A device list under another account key than a verified one: nothing is sent meanwhile."""
    shown_key: AccountKey | None = None
    """The account key whose safety number was shown last."""
    superseded: tuple[AccountKey, ...] = ()
    """Account keys before this one; none of them is ever taken again."""
    equivocation: bool = False
    """Two device lists of one version were shown: nothing is sent until the app decides."""
    absent: bytes = b""
    """Numbers of listed devices that are not waited for, one byte each."""


class SessionRow(NamedTuple):
    """The serialised sessions with one device."""

    device: DeviceAddress
    user: UserName
    record: bytes
    start: int = 0
    """The first number of this device's stream that the other one was sent; 0 for none yet."""

    def __repr__(self) -> str:
        """Name the device only: the record holds keys."""
        return f"SessionRow(device={self.device!r})"


class StreamPosition(NamedTuple):
    """How far one stream of one sending device was handed over, and what is held back."""

    device: DeviceAddress
    stream_id: StreamId
    next_sequence: int = 1
    gap_since: int | None = None
    held: tuple[tuple[int, MessageId], ...] = ()
    used_at: int = 0
    """When its newest message came, in ms since 1970."""
    gone: bool = False
    """To be forgotten: others of its device were used later."""


class Message(NamedTuple):
    """One message of the history, own or received; times in ms since 1970."""

    message_id: MessageId
    conversation: UserName
    sender: UserName
    sender_device: DeviceAddress
    outgoing: bool
    state: MessageState
    sent_at: int
    text: str | None = None
    data: bytes | None = None
    content_type: str | None = None
    reply_to: MessageId | None = None
    expires_at: int | None = None
    stream_id: StreamId | None = None
    sequence: int = 0
    received_at: int | None = None
    after_gap: bool = False

    def __repr__(self) -> str:
        """Name ids and state; never what was written."""
        return f"Message(id={self.message_id.hex()}, state={self.state})"


class OutboxEnvelope(NamedTuple):
    """Committed bytes for one recipient device; a receipt has no message id."""

    envelope_id: EnvelopeId
    recipient: DeviceAddress
    user: UserName
    message_id: MessageId | None
    payload: bytes
    created_at: int
    attempts: int = 0
    identity_key: bytes = b""
    """Of the device that it was encrypted for: it is encrypted again for nobody else."""

    def __repr__(self) -> str:
        """Name ids and the size."""
        return f"OutboxEnvelope(id={self.envelope_id}, {len(self.payload)} bytes)"


class Late(NamedTuple):
    """A message that a device is still to get: it has no session, no room, or is one's own."""

    message_id: MessageId
    device: DeviceAddress
    user: UserName


class CatchUp(NamedTuple):
    """A device that came into a list: it gets what was sent since, and what nobody has yet."""

    device: DeviceAddress
    user: UserName
    sender: DeviceAddress
    """This device: what others of the same user have sent is theirs to send."""
    since: int


class Planned(NamedTuple):
    """A queued message that got its place in its stream."""

    message_id: MessageId
    stream_id: StreamId
    sequence: int


class OpenedEnvelope(NamedTuple):
    """An envelope that was opened once; the same bytes are answered without decryption."""

    sender: DeviceAddress
    envelope_id: EnvelopeId
    digest: bytes
    message_id: MessageId | None
    opened_at: int
    position: bytes | None = None
    """Names session, chain and number, 8 bytes: a second envelope there comes from a copy."""


class Candidate(NamedTuple):
    """An envelope of an accepted contact that did not open and is asked for again."""

    sender: DeviceAddress
    envelope_id: EnvelopeId
    digest: bytes
    """The first 8 bytes of its SHA-256."""
    session_tag: bytes
    seen_at: int
    asked_at: int | None = None


class ResendDue(NamedTuple):
    """An envelope that its recipient could not open and asked for again."""

    device: DeviceAddress
    envelope_id: EnvelopeId
    digest: bytes
    due_since: int


class PaceKind(StrEnum):
    """What is bounded for each peer device: asking, and answering."""

    ASK = "ask"
    ANSWER = "answer"


class HealingPace(NamedTuple):
    """How much healing one window of time has seen with one peer device; times in ms."""

    device: DeviceAddress
    kind: PaceKind
    began_at: int
    length: int
    requests: int = 0
    sessions: int = 0


class ReceiptDue(NamedTuple):
    """A message whose sender is owed a receipt."""

    user: UserName
    message_id: MessageId
    read: bool
    due_since: int


class Receipted(NamedTuple):
    """A receipt of one device for one message of ours."""

    message_id: MessageId
    device: DeviceAddress
    user: UserName
    read: bool
    at: int


class PrekeyRow(NamedTuple):
    """One private prekey: a 32-byte X25519 key or a 64-byte ML-KEM seed."""

    kind: PrekeyKind
    id: int
    private: bytes
    created_at: int
    uploaded: bool = False

    def __repr__(self) -> str:
        """Name kind and id only."""
        return f"PrekeyRow(kind={self.kind.name}, id={self.id})"


class AcceptedHandshake(NamedTuple):
    """A handshake that began a session: remembered as long as its signed prekey's private half."""

    digest: bytes
    signed_prekey_id: int


class StateChange(NamedTuple):
    """A message that gets another state; ids are only unique for one sender."""

    message_id: MessageId
    sender: UserName
    state: MessageState
    after_gap: bool = False
