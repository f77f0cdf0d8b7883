"""The handshake: two devices that never met agree on secrets while one of them is away.

Source: Signal, The PQXDH Key Agreement Protocol, revision 3, in this project's own encoding.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from client_sdk.core.errors import AuthenticationError, InvalidBundleError
from client_sdk.core.kdf import PqRootKey, RootKey, handshake_secrets
from client_sdk.core.keys import Encapsulation, MlKem1024KeyPair, X25519KeyPair
from client_sdk.core.signatures import listed_device
from client_sdk.wire.bundle import PrekeyBundle
from client_sdk.wire.codec import encode
from client_sdk.wire.encoded_keys import AccountKey, EphemeralKey, IdentityKey, SigningKey
from client_sdk.wire.envelope import SUITE, HandshakeHeader
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import DeviceAddress, SessionId

TRANSCRIPT_CONTEXT: Final = "RatchetMQ/1 session transcript"
_CURVE_PREFIX: Final = b"\xff" * 32


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """This device, as it stands in its user's list of version ``list_version``."""

    address: DeviceAddress
    account_key: AccountKey
    signing_key: SigningKey
    identity: X25519KeyPair
    list_version: int


@dataclass(frozen=True, slots=True)
class RemoteDevice:
    """Another device, as it stands in a verified list of version ``list_version``."""

    address: DeviceAddress
    account_key: AccountKey
    signing_key: SigningKey
    identity_key: IdentityKey
    list_version: int


@dataclass(frozen=True, slots=True)
class ResponderPrekeys:
    """The private halves that a handshake header names by id."""

    signed_prekey: X25519KeyPair
    one_time_prekey: X25519KeyPair | None
    kem_prekey: MlKem1024KeyPair


@dataclass(frozen=True, slots=True)
class HandshakeSecrets:
    """What both sides hold after the handshake; the session id is not secret."""

    root_key: RootKey = field(repr=False)
    pq_seed: PqRootKey = field(repr=False)
    session_id: SessionId


def initiate(
    local: LocalDevice,
    remote: RemoteDevice,
    bundle: PrekeyBundle,
    ephemeral: X25519KeyPair,
    encapsulation: Encapsulation,
) -> tuple[HandshakeSecrets, HandshakeHeader]:
    """Start a session with the owner of ``bundle``: the secrets, and what to send along.

    Args:
        local: This device.
        remote: The owner, from a verified list.
        bundle: Passed by ``signatures.verify_bundle``.
        ephemeral: A fresh pair for this handshake alone.
        encapsulation: Fresh too, for the bundle's KEM prekey.

    Raises:
        InvalidBundleError: The bundle is another device's, or lists other keys for it.
        InvalidKeyError: One of its keys is not a good key.
    """
    _need_same_device(bundle, remote)
    one_time = bundle.one_time_prekey
    signed = bundle.signed_prekey.key
    shared = [
        local.identity.exchange(signed),
        ephemeral.exchange(remote.identity_key),
        ephemeral.exchange(signed),
    ]
    if one_time is not None:
        shared.append(ephemeral.exchange(one_time.key))
    header = HandshakeHeader(
        *(local.account_key, local.signing_key, IdentityKey(local.identity.public)),
        EphemeralKey(ephemeral.public),
        *(bundle.signed_prekey.id, one_time.id if one_time else None, bundle.kem_prekey.id),
        encapsulation.ciphertext,
        *(local.list_version, remote.list_version),
    )
    published = (signed, None if one_time is None else one_time.key, bundle.kem_prekey.key)
    session_id = _session_id(local.address, header, remote, published)
    return _secrets(shared, encapsulation.shared_secret, session_id), header


def accept(
    local: LocalDevice, remote: RemoteDevice, prekeys: ResponderPrekeys, header: HandshakeHeader
) -> HandshakeSecrets:
    """Compute the secrets of a session that ``remote`` (from a verified list) started.

    Only the first message's AEAD tells whether the header is honest: ML-KEM never fails.

    Raises:
        AuthenticationError: The header's long-term keys are not those of ``remote``.
        InvalidKeyError: The ephemeral key is not a good key.
        MisuseError: ``prekeys`` has a one-time prekey where the header names none, or none where
            it names one.
    """
    claimed = (header.account_key, header.signing_key, header.identity_key)
    if claimed != (remote.account_key, remote.signing_key, remote.identity_key):
        raise AuthenticationError(
            "the handshake names other keys than the sender's device list; "
            "it was dropped and nothing was changed"
        )
    one_time = prekeys.one_time_prekey
    if (one_time is None) != (header.one_time_prekey_id is None):
        raise MisuseError("the one-time prekey given is not the one that the header names")
    ephemeral = header.ephemeral_key
    shared = [
        prekeys.signed_prekey.exchange(header.identity_key),
        local.identity.exchange(ephemeral),
        prekeys.signed_prekey.exchange(ephemeral),
    ]
    if one_time is not None:
        shared.append(one_time.exchange(ephemeral))
    published = (
        prekeys.signed_prekey.public,
        None if one_time is None else one_time.public,
        prekeys.kem_prekey.public,
    )
    session_id = _session_id(remote.address, header, local, published)
    return _secrets(shared, prekeys.kem_prekey.decapsulate(header.kem_ciphertext), session_id)


def _secrets(shared: list[bytes], kem_secret: bytes, session_id: SessionId) -> HandshakeSecrets:
    root_key, pq_seed = handshake_secrets(b"".join((_CURVE_PREFIX, *shared, kem_secret)))
    return HandshakeSecrets(root_key, pq_seed, session_id)


def _session_id(
    initiator: DeviceAddress,
    header: HandshakeHeader,
    responder: LocalDevice | RemoteDevice,
    published: tuple[bytes | None, ...],
) -> SessionId:
    # The whole header and every full public key behind its ids: a key mistaken for another
    # changes the id, and with it the associated data of each message (threat A2).
    if isinstance(responder, LocalDevice):
        identity: bytes = responder.identity.public
    else:
        identity = responder.identity_key
    keys = (responder.address, responder.account_key, responder.signing_key, identity)
    transcript = encode((TRANSCRIPT_CONTEXT, SUITE, initiator, header, (*keys, *published)))
    return SessionId(hashlib.sha256(transcript).digest())


def _need_same_device(bundle: PrekeyBundle, remote: RemoteDevice) -> None:
    entry = listed_device(bundle.device_list, remote.address)
    if (
        entry is None
        or bundle.address != remote.address
        or bundle.device_list.account_key != remote.account_key
        or entry.signing_key != remote.signing_key
        or entry.identity_key != remote.identity_key
    ):
        raise InvalidBundleError(
            "the bundle is not that of the device it was fetched for; no session was made"
        )
