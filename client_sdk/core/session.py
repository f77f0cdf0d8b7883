"""One session between two devices: handshake, ratchet and envelope put together."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from client_sdk.core import ratchet
from client_sdk.core.aead import open_sealed, seal
from client_sdk.core.errors import AuthenticationError, UnknownSessionError
from client_sdk.core.fresh_keys import NO_KEYS, FreshKeys, WantedKeys
from client_sdk.core.headers import decoded_header, handshake_digest
from client_sdk.core.kdf import MessageKey, session_tag
from client_sdk.core.keys import Encapsulation, X25519KeyPair
from client_sdk.core.pqxdh import LocalDevice, RemoteDevice, ResponderPrekeys, accept, initiate
from client_sdk.core.ratchet import RatchetState
from client_sdk.core.triple_ratchet import RootKeys
from client_sdk.wire.bundle import PrekeyBundle
from client_sdk.wire.codec import encode
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.envelope import (
    PREKEY_HEADER,
    PROTOCOL_VERSION,
    SUITE,
    Envelope,
    EnvelopeKind,
    HandshakeHeader,
    PrekeyHeader,
    associated_data,
)
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, SessionId
from client_sdk.wire.limits import PADDING_BUCKETS
from client_sdk.wire.pq_message import encode_pq_message

_PREKEY_MESSAGE: Final = int(EnvelopeKind.PREKEY_MESSAGE)
_MESSAGE: Final = int(EnvelopeKind.MESSAGE)


class Role(IntEnum):
    """Who started the session."""

    INITIATOR = 1
    RESPONDER = 2


@dataclass(frozen=True, slots=True)
class SessionLink:
    """What never changes in a session; nothing of it is secret.

    Attributes:
        encoded: Every other field but the tag, which follows from the id: for the store, which
            writes them with each message.
    """

    session_id: SessionId
    tag: bytes = field(init=False)
    role: Role
    local: DeviceAddress
    remote: DeviceAddress
    local_account_key: AccountKey
    remote_account_key: AccountKey
    handshake_digest: bytes
    encoded: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out what follows from the other fields."""
        object.__setattr__(self, "tag", session_tag(self.session_id))
        facts = (self.session_id, int(self.role), self.local, self.remote)
        keys = (self.local_account_key, self.remote_account_key, self.handshake_digest)
        object.__setattr__(self, "encoded", encode((*facts, *keys)))


class Session(NamedTuple):
    """One session of two devices, as one frozen record.

    Attributes:
        link: Identity of the session and of both ends.
        ratchet: The keys.
        handshake: Goes along with every message until the first reply is decrypted.
        acknowledged: A message of the peer was decrypted: the peer is who it says, and has the
            session too.
    """

    link: SessionLink
    ratchet: RatchetState
    handshake: HandshakeHeader | None = None
    acknowledged: bool = False

    def __repr__(self) -> str:
        """Name the ends only."""
        return f"Session(link={self.link})"

    @property
    def session_id(self) -> SessionId:
        """The 32-byte hash of the handshake transcript."""
        return self.link.session_id

    @property
    def tag(self) -> bytes:
        """The 8 bytes by which headers name the session."""
        return self.link.tag

    @property
    def role(self) -> Role:
        """Who started the session."""
        return self.link.role

    @property
    def local(self) -> DeviceAddress:
        """This device."""
        return self.link.local

    @property
    def remote(self) -> DeviceAddress:
        """The other device."""
        return self.link.remote

    @property
    def local_account_key(self) -> AccountKey:
        """This user's account key at the handshake."""
        return self.link.local_account_key

    @property
    def remote_account_key(self) -> AccountKey:
        """The other user's account key at the handshake."""
        return self.link.remote_account_key


@dataclass(frozen=True, slots=True)
class InitiatorKeys:
    """Everything fresh that starting a session takes; used once."""

    ephemeral: X25519KeyPair
    encapsulation: Encapsulation = field(repr=False)
    ratchet_key: X25519KeyPair


def initiate_session(
    local: LocalDevice, remote: RemoteDevice, bundle: PrekeyBundle, fresh: InitiatorKeys
) -> Session:
    """Return a new session that can send at once.

    Args:
        local: This device.
        remote: The bundle's owner, from a verified list.
        bundle: A bundle that ``signatures.verify_bundle`` has passed.
        fresh: Keys drawn for this session; ``encapsulation`` for the bundle's KEM prekey.

    Raises:
        InvalidBundleError: The bundle is not that device's.
        InvalidKeyError: One of its keys is not a good key.
    """
    secrets, handshake = initiate(local, remote, bundle, fresh.ephemeral, fresh.encapsulation)
    roots = RootKeys(secrets.root_key, secrets.pq_seed)
    state = ratchet.start_initiator(roots, bundle.signed_prekey.key, fresh.ratchet_key)
    link = _link(secrets.session_id, Role.INITIATOR, (local, remote), handshake)
    return Session(link, state, handshake)


def accept_session(
    local: LocalDevice, remote: RemoteDevice, prekeys: ResponderPrekeys, header: PrekeyHeader
) -> Session:
    """Return the session that ``header`` starts; authenticated only once ``decrypt`` succeeds.

    Args:
        local: This device.
        remote: The sender, from a verified list.
        prekeys: The private halves of the ids in the header.
        header: What ``handshake_of`` found in the envelope.

    Raises:
        AuthenticationError: The header's long-term keys are not the sender's, or its tag is not
            the tag of the session that it starts.
        InvalidKeyError: The ephemeral key is not a good key.
        MisuseError: ``prekeys`` does not fit the header.
    """
    secrets = accept(local, remote, prekeys, header.handshake)
    link = _link(secrets.session_id, Role.RESPONDER, (local, remote), header.handshake)
    if header.ratchet.session_tag != link.tag:
        raise AuthenticationError(
            "the handshake leads to another session than its message names; "
            "it was dropped and nothing was changed"
        )
    roots = RootKeys(secrets.root_key, secrets.pq_seed)
    return Session(link, ratchet.start_responder(roots, prekeys.signed_prekey))


def keys_wanted(session: Session) -> WantedKeys:
    """Return which fresh keys the next ``encrypt`` takes."""
    return ratchet.keys_wanted(session.ratchet)


def encrypt(
    session: Session, envelope_id: EnvelopeId, plaintext: bytes, fresh: FreshKeys = NO_KEYS
) -> tuple[Session, bytes]:
    """Encrypt one message: the session to commit, and the encoded envelope.

    Args:
        session: The session before.
        envelope_id: The new id that the envelope's topic will carry.
        plaintext: Padded content, as ``wire.content.pad`` returns it.
        fresh: What ``keys_wanted`` names; anything else is ignored.

    Raises:
        MisuseError: ``plaintext`` is not padded, a fresh key is missing, or an accepted session
            has not decrypted its first message yet.
        ChainExhaustedError: The sending chain is used up; nothing changed.
    """
    if len(plaintext) not in PADDING_BUCKETS:
        raise MisuseError("the plaintext is not padded to a bucket; nothing was encrypted")
    link, before, handshake, acknowledged = session
    state, position, key = ratchet.send(before, fresh)
    ratchet_key, previous_chain_length, number, pq = position
    header = (link.tag, ratchet_key, previous_chain_length, number, encode_pq_message(pq))
    if handshake is None:
        kind, encoded = _MESSAGE, encode(header)
    else:
        kind, encoded = _PREKEY_MESSAGE, encode((handshake, header))
    parties = (link.local, link.remote)
    data = associated_data(kind, link.session_id, parties, envelope_id, encoded)
    ciphertext = seal(key, plaintext, data)
    envelope = encode((PROTOCOL_VERSION, SUITE, kind, encoded, ciphertext))
    return tuple.__new__(Session, (link, state, handshake, acknowledged)), envelope


def decrypt(session: Session, envelope_id: EnvelopeId, envelope: Envelope) -> tuple[Session, bytes]:
    """Decrypt one message: the session to commit, and the padded content.

    Whatever is raised, nothing has changed.

    Args:
        session: The session that ``session_tag_of`` names, or one just accepted.
        envelope_id: The id in the topic that the envelope came from.
        envelope: The decoded envelope.

    Raises:
        UnknownSessionError: The envelope is of another session.
        AuthenticationError: It was changed, or sealed for another place, or repeats another
            handshake than this session's.
        DuplicateMessageError: Its message key was used already.
        SkippedTooFarError: It is too far ahead; nothing was derived.
        InvalidKeyError: Its ratchet key is not a good key.
        MalformedError: Its header is not a header.
    """
    link = session.link
    _, _, kind, header, ciphertext = envelope
    decoded, position, digest = decoded_header(kind, header)
    if decoded.session_tag != link.tag:
        raise UnknownSessionError("the message is of another session; nothing was changed")
    if digest is not None and (link.role is Role.INITIATOR or digest != link.handshake_digest):
        raise AuthenticationError(
            "the message repeats another handshake than this session's; "
            "it was dropped and nothing was changed"
        )

    def open_message(key: MessageKey) -> bytes:
        parties = (link.remote, link.local)
        data = associated_data(kind, link.session_id, parties, envelope_id, header)
        return open_sealed(key, ciphertext, data)

    state, plaintext = ratchet.receive(session.ratchet, position, open_message)
    return tuple.__new__(Session, (link, state, None, True)), plaintext


def session_tag_of(envelope: Envelope) -> bytes:
    """Return the 8-byte tag of the session that an envelope says it is of.

    Raises:
        MalformedError: Its header is not a header.
    """
    return decoded_header(envelope.kind, envelope.header).ratchet.session_tag


def handshake_of(envelope: Envelope) -> PrekeyHeader | None:
    """Return the handshake and message header of a prekey message; None for any other message.

    Raises:
        MalformedError: Its header is not a header.
    """
    if envelope.kind != EnvelopeKind.PREKEY_MESSAGE:
        return None
    return PREKEY_HEADER.decode(envelope.header)


def _link(
    session_id: SessionId,
    role: Role,
    ends: tuple[LocalDevice, RemoteDevice],
    handshake: HandshakeHeader,
) -> SessionLink:
    local, remote = ends
    return SessionLink(
        session_id,
        role,
        local.address,
        remote.address,
        local.account_key,
        remote.account_key,
        handshake_digest(handshake),
    )
