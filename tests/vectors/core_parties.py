"""Two devices with deterministic keys, for the tests of the core."""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

from client_sdk import entropy
from client_sdk.core.fresh_keys import FreshKeys, WantedKeys
from client_sdk.core.kem_keys import MlKem768KeyPair
from client_sdk.core.keys import Ed25519KeyPair, Encapsulation, MlKem1024KeyPair, X25519KeyPair
from client_sdk.core.pqxdh import LocalDevice, RemoteDevice, ResponderPrekeys
from client_sdk.core.session import (
    InitiatorKeys,
    Session,
    accept_session,
    decrypt,
    encrypt,
    handshake_of,
    initiate_session,
    keys_wanted,
)
from client_sdk.core.signatures import (
    PrekeyFacts,
    endorse,
    sign_device_list,
    sign_kem_prekey,
    sign_signed_prekey,
)
from client_sdk.wire.bundle import (
    NO_PREVIOUS_LIST,
    DeviceEntry,
    DeviceList,
    OneTimePrekeyRecord,
    PrekeyBundle,
)
from client_sdk.wire.encoded_keys import AccountKey, IdentityKey, OneTimePrekey, SigningKey
from client_sdk.wire.encoded_keys import SignedPrekey as SignedPrekeyBytes
from client_sdk.wire.envelope import ENVELOPE, Envelope
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, EnvelopeId, UserName, random_id

NOW = 1_800_000_000_000
SIGNED_PREKEY_ID, ONE_TIME_ID, KEM_ID = 11, 12, 13


@dataclass
class Keys:
    """Draws keys from a seed, so that a failing test fails again."""

    seed: bytes
    count: int = field(default=0)
    encapsulation: Encapsulation | None = None
    """Given out in place of a fresh one, which no seed can determine."""

    def draw(self, size: int = 32) -> bytes:
        self.count += 1
        return hashlib.shake_256(self.seed + self.count.to_bytes(8, "big")).digest(size)

    def x25519(self) -> X25519KeyPair:
        return X25519KeyPair.from_private_bytes(self.draw())

    def ed25519(self) -> Ed25519KeyPair:
        return Ed25519KeyPair.from_private_bytes(self.draw())

    def ml_kem(self) -> MlKem1024KeyPair:
        return MlKem1024KeyPair.from_seed(self.draw(64))

    def ml_kem_768(self) -> MlKem768KeyPair:
        return MlKem768KeyPair.from_seed(self.draw(64))

    def fresh(self, wanted: WantedKeys) -> FreshKeys:
        encapsulated = entropy.draw_keys(WantedKeys(encapsulate_to=wanted.encapsulate_to))
        encapsulation = encapsulated.encapsulation
        if encapsulation is not None and self.encapsulation is not None:
            encapsulation = self.encapsulation
        return FreshKeys(
            self.x25519() if wanted.ratchet_key else None,
            self.ml_kem_768() if wanted.kem_pair else None,
            encapsulation,
        )

    def envelope_id(self) -> EnvelopeId:
        return EnvelopeId(random_id(self.draw(16)))


@dataclass
class Party:
    """One user with one device and one prekey of each kind."""

    name: str
    keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        self.keys = Keys(self.name.encode())
        self.account, self.signing = self.keys.ed25519(), self.keys.ed25519()
        self.identity = self.keys.x25519()
        self.signed_prekey, self.one_time = self.keys.x25519(), self.keys.x25519()
        self.kem = self.keys.ml_kem()

    @property
    def address(self) -> DeviceAddress:
        return DeviceAddress(f"{self.name}-1")

    def device_list(self) -> DeviceList:
        account = AccountKey(self.account.public)
        entry = DeviceEntry(
            DeviceNumber(1),
            SigningKey(self.signing.public),
            IdentityKey(self.identity.public),
            NOW,
            True,
            endorse(self.signing, self.address, account),
        )
        return sign_device_list(self.account, UserName(self.name), 1, NO_PREVIOUS_LIST, (entry,))

    def local(self) -> LocalDevice:
        return LocalDevice(
            self.address,
            AccountKey(self.account.public),
            SigningKey(self.signing.public),
            self.identity,
            1,
        )

    def remote(self) -> RemoteDevice:
        return RemoteDevice(
            self.address,
            AccountKey(self.account.public),
            SigningKey(self.signing.public),
            IdentityKey(self.identity.public),
            1,
        )

    def bundle(
        self, *, one_time: bool = True, last_resort: bool = False, signed_at: int = NOW
    ) -> PrekeyBundle:
        signed = SignedPrekeyBytes(self.signed_prekey.public)
        return PrekeyBundle(
            self.address,
            self.device_list(),
            sign_signed_prekey(
                self.signing, self.address, PrekeyFacts(SIGNED_PREKEY_ID, signed_at), signed
            ),
            OneTimePrekeyRecord(ONE_TIME_ID, OneTimePrekey(self.one_time.public))
            if one_time
            else None,
            sign_kem_prekey(
                self.signing,
                self.address,
                PrekeyFacts(KEM_ID, signed_at),
                self.kem.public,
                last_resort=last_resort,
            ),
        )

    def prekeys(self, *, one_time: bool = True) -> ResponderPrekeys:
        return ResponderPrekeys(self.signed_prekey, self.one_time if one_time else None, self.kem)


class Sent(NamedTuple):
    envelope_id: EnvelopeId
    data: bytes

    @property
    def envelope(self) -> Envelope:
        return ENVELOPE.decode(self.data)


def padded(text: str) -> bytes:
    return text.encode().ljust(256, b".")


def initiator_keys(keys: Keys, responder: Party) -> InitiatorKeys:
    encapsulation: Encapsulation = entropy.encapsulate(responder.kem.public)
    return InitiatorKeys(keys.x25519(), encapsulation, keys.x25519())


def start(alice: Party, bob: Party, *, one_time: bool = True) -> Session:
    """Return alice's new session with bob."""
    fresh = initiator_keys(alice.keys, bob)
    return initiate_session(alice.local(), bob.remote(), bob.bundle(one_time=one_time), fresh)


def send(session: Session, keys: Keys, text: str = "text") -> tuple[Session, Sent]:
    """Encrypt with the fresh keys that the session wants."""
    fresh = keys.fresh(keys_wanted(session))
    envelope_id = keys.envelope_id()
    session, data = encrypt(session, envelope_id, padded(text), fresh)
    return session, Sent(envelope_id, data)


def receive(session: Session, sent: Sent) -> tuple[Session, str]:
    session, plaintext = decrypt(session, sent.envelope_id, sent.envelope)
    return session, plaintext.decode().rstrip(".")


def accept_first(
    bob: Party, alice: Party, sent: Sent, *, one_time: bool = True
) -> tuple[Session, str]:
    """Return bob's session after alice's first message."""
    header = handshake_of(sent.envelope)
    assert header is not None
    prekeys = bob.prekeys(one_time=one_time)
    return receive(accept_session(bob.local(), alice.remote(), prekeys, header), sent)


def established() -> tuple[Session, Session, Party, Party]:
    """Return both sides of a session after one message each way, and the two parties."""
    alice, bob = Party("alice"), Party("bob")
    ours = start(alice, bob)
    ours, first = send(ours, alice.keys, "hello")
    theirs, _ = accept_first(bob, alice, first)
    theirs, reply = send(theirs, bob.keys, "hi")
    ours, _ = receive(ours, reply)
    return ours, theirs, alice, bob
