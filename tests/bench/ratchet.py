"""Handshake and ratchet in memory, beside the primitives that they cannot do without."""

from itertools import cycle
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from client_sdk import entropy
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
from client_sdk.core.session_record import SessionRecord
from client_sdk.core.signatures import verify_bundle, verify_device_list, verify_endorsements
from client_sdk.core.state_format import serialize_record
from client_sdk.wire.bundle import DeviceList
from client_sdk.wire.envelope import ENVELOPE
from client_sdk.wire.ids import EnvelopeId
from tests.bench.counts import Counts
from tests.bench.rows import Label, Row, clock, clocks, time_row
from tests.vectors.core_parties import NOW, Party, established

PADDED: Final = bytes(256)
"""What the content of a 64-byte text is padded to."""

EXCHANGE: Final = "raw.x25519_exchange"
SEAL: Final = "raw.seal"
OPEN: Final = "raw.open"


IDS: Final = cycle([EnvelopeId(entropy.draw_id()) for _ in range(64)])
"""An envelope's id is drawn for its topic, before the session is asked to encrypt."""


class Sealed(NamedTuple):
    """One envelope on its way."""

    envelope_id: EnvelopeId
    data: bytes


class End:
    """One side of a session; ``kept`` serialises it after every message, as a store has to."""

    def __init__(self, session: Session, *, kept: bool = False) -> None:
        self.session = session
        self._kept = kept

    def encrypt(self) -> Sealed:
        fresh = entropy.draw_keys(keys_wanted(self.session))
        envelope_id = next(IDS)
        self.session, data = encrypt(self.session, envelope_id, PADDED, fresh)
        self._keep()
        return Sealed(envelope_id, data)

    def decrypt(self, sealed: Sealed) -> None:
        envelope = ENVELOPE.decode(sealed.data)
        self.session, _ = decrypt(self.session, sealed.envelope_id, envelope)
        self._keep()

    def _keep(self) -> None:
        if self._kept:
            serialize_record(SessionRecord(current=self.session))


class Handshake:
    """A first message from one party to another; each time with prekeys signed anew.

    The device list is always the same: it was checked when it came, before any bundle is asked for.
    """

    def __init__(self) -> None:
        alice, self._bob = Party("alice"), Party("bob")
        self._initiator, self._responder = alice.local(), alice.remote()
        self._local, self._remote = self._bob.local(), self._bob.remote()
        self._prekeys, self._bundle = self._bob.prekeys(), self._bob.bundle()
        verify_bundle(self._bundle, NOW)

    def prepare(self, number: int) -> None:
        """Sign the prekeys of the next bundle; ``number`` is never given twice."""
        self._bundle = self._bob.bundle(signed_at=NOW - 1 - number)

    def initiate(self) -> Sealed:
        bundle = self._bundle
        verify_bundle(bundle, NOW)
        fresh = InitiatorKeys(
            entropy.draw_x25519(),
            entropy.encapsulate(bundle.kem_prekey.key),
            entropy.draw_x25519(),
        )
        return End(initiate_session(self._initiator, self._remote, bundle, fresh)).encrypt()

    def accept(self, sealed: Sealed) -> None:
        envelope = ENVELOPE.decode(sealed.data)
        header = handshake_of(envelope)
        assert header is not None
        session = accept_session(self._local, self._responder, self._prekeys, header)
        decrypt(session, sealed.envelope_id, envelope)


def measure_ratchet(counts: Counts) -> list[Row]:
    """Return the rows of primitives, handshake and ratchet.

    Exchanges are timed between all others, so that a busy minute of the machine is in both.
    """
    exchanges = _exchanges(counts)
    rows = _handshake(counts)
    exchanges += _exchanges(counts)
    for kept in (False, True):
        for measured in (_in_chain, _ping_pong, _late):
            rows += measured(counts, kept=kept)
            exchanges += _exchanges(counts)
    exchange = time_row(Label(EXCHANGE, "raw: one X25519 exchange"), "us", exchanges)
    return [exchange, *_sealing(counts), *rows]


def _exchanges(counts: Counts) -> list[int]:
    private, other = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    return clocks(lambda: private.exchange(other), counts.operations // 8 + 1)


def _sealing(counts: Counts) -> list[Row]:
    aead, nonce, data = AESGCMSIV(bytes(32)), bytes(12), bytes(150)
    sealed = aead.encrypt(nonce, PADDED, data)
    seals = clocks(lambda: aead.encrypt(nonce, PADDED, data), counts.operations)
    opens = clocks(lambda: aead.decrypt(nonce, sealed, data), counts.operations)
    return [
        time_row(Label(SEAL, "raw: AES-256-GCM-SIV seals 256 B"), "us", seals),
        time_row(Label(OPEN, "raw: AES-256-GCM-SIV opens 256 B"), "us", opens),
    ]


def _handshake(counts: Counts) -> list[Row]:
    handshake = Handshake()
    listing: list[int] = []
    initiating: list[int] = []
    accepting: list[int] = []
    sealed: list[Sealed] = []
    for number in range(counts.handshakes):
        offered = Party(f"user{number}").device_list()
        listing.append(clock(lambda one=offered: _verify_list(one)))  # type: ignore[misc]
        handshake.prepare(number)
        initiating.append(clock(lambda: sealed.append(handshake.initiate())))
        accepting.append(clock(lambda: handshake.accept(sealed[-1])))
    device_list = Label("handshake.list", "device list of one device verified", EXCHANGE)
    first = Label("handshake.initiate", "handshake: initiate, first encrypt included", EXCHANGE)
    second = Label("handshake.accept", "handshake: accept, first decrypt included", EXCHANGE)
    return [
        time_row(device_list, "us", listing),
        time_row(first, "us", initiating),
        time_row(second, "us", accepting),
    ]


def _verify_list(device_list: DeviceList) -> None:
    verify_device_list(device_list)
    verify_endorsements(device_list)


def _in_chain(counts: Counts, *, kept: bool) -> list[Row]:
    sender, receiver = ends(kept=kept)
    encrypting: list[int] = []
    decrypting: list[int] = []
    sealed: list[Sealed] = []
    for _ in range(counts.operations):
        encrypting.append(clock(lambda: sealed.append(sender.encrypt())))
        decrypting.append(clock(lambda: receiver.decrypt(sealed[-1])))
    return [
        time_row(
            _label("encrypt.in_chain", "encrypt, in chain", EXCHANGE, kept=kept), "us", encrypting
        ),
        time_row(
            _label("decrypt.in_chain", "decrypt, in chain", EXCHANGE, kept=kept), "us", decrypting
        ),
    ]


def _ping_pong(counts: Counts, *, kept: bool) -> list[Row]:
    sides = ends(kept=kept)
    samples = []
    for number in range(counts.operations):
        sender, receiver = sides[number % 2], sides[(number + 1) % 2]
        samples.append(clock(lambda s=sender, r=receiver: r.decrypt(s.encrypt())))  # type: ignore[misc]
    label = _label("pair.ping_pong", "encrypt + decrypt, ping-pong", EXCHANGE, kept=kept)
    return [time_row(label, "us", samples)]


def _late(counts: Counts, *, kept: bool) -> list[Row]:
    jumping: list[int] = []
    late: list[int] = []
    for _ in range(counts.late_rounds):
        sender, receiver = ends(kept=kept)
        sealed = [sender.encrypt() for _ in range(counts.chain)]
        jumping.append(clock(lambda r=receiver, s=sealed[-1]: r.decrypt(s)))  # type: ignore[misc]
        late += [clock(lambda r=receiver, s=one: r.decrypt(s)) for one in sealed[:-1]]  # type: ignore[misc]
    number, rest = f"{counts.chain:,}", f"{counts.chain - 1:,}"
    first = _label("decrypt.late_first", f"decrypt, message {number} first", EXCHANGE, kept=kept)
    each = _label("decrypt.late_each", f"decrypt, each of the {rest} late", EXCHANGE, kept=kept)
    return [time_row(first, "us", jumping), time_row(each, "us", late)]


def ends(*, kept: bool) -> tuple[End, End]:
    ours, theirs, _, _ = established()
    return End(ours, kept=kept), End(theirs, kept=kept)


def _label(key: str, title: str, raw: str, *, kept: bool) -> Label:
    if kept:
        return Label(f"{key}.serialised", f"{title}, session serialised", raw)
    return Label(key, title, raw)
