"""Handshake and ratchet in memory, beside the primitives that they cannot do without."""

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
from client_sdk.core.signatures import verify_bundle
from client_sdk.core.state_format import serialize_record
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
        envelope_id = EnvelopeId(entropy.draw_id())
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


def measure_ratchet(counts: Counts) -> list[Row]:
    """Return the rows of primitives, handshake and ratchet."""
    rows = _primitives(counts)
    rows += _handshake(counts)
    for kept in (False, True):
        rows += _in_chain(counts, kept=kept)
        rows.append(_ping_pong(counts, kept=kept))
        rows += _late(counts, kept=kept)
    return rows


def _primitives(counts: Counts) -> list[Row]:
    private, other = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    aead, nonce, data = AESGCMSIV(bytes(32)), bytes(12), bytes(150)
    sealed = aead.encrypt(nonce, PADDED, data)
    count = counts.operations
    exchanges = clocks(lambda: private.exchange(other), count)
    seals = clocks(lambda: aead.encrypt(nonce, PADDED, data), count)
    opens = clocks(lambda: aead.decrypt(nonce, sealed, data), count)
    return [
        time_row(Label(EXCHANGE, "raw: one X25519 exchange"), "us", exchanges),
        time_row(Label(SEAL, "raw: AES-256-GCM-SIV seals 256 B"), "us", seals),
        time_row(Label(OPEN, "raw: AES-256-GCM-SIV opens 256 B"), "us", opens),
    ]


def _handshake(counts: Counts) -> list[Row]:
    alice, bob = Party("alice"), Party("bob")
    local, remote, bundle, prekeys = alice.local(), bob.remote(), bob.bundle(), bob.prekeys()
    initiating: list[int] = []
    accepting: list[int] = []
    sealed: list[Sealed] = []

    def initiate() -> None:
        verify_bundle(bundle, NOW)
        fresh = InitiatorKeys(
            entropy.draw_x25519(),
            entropy.encapsulate(bundle.kem_prekey.key),
            entropy.draw_x25519(),
        )
        sealed.append(End(initiate_session(local, remote, bundle, fresh)).encrypt())

    def accept() -> None:
        envelope_id, data = sealed[-1]
        envelope = ENVELOPE.decode(data)
        header = handshake_of(envelope)
        assert header is not None
        session = accept_session(bob.local(), alice.remote(), prekeys, header)
        decrypt(session, envelope_id, envelope)

    for _ in range(counts.handshakes):
        initiating.append(clock(initiate))
        accepting.append(clock(accept))
    first = Label("handshake.initiate", "handshake: initiate, first encrypt included", EXCHANGE)
    second = Label("handshake.accept", "handshake: accept, first decrypt included", EXCHANGE)
    return [time_row(first, "us", initiating), time_row(second, "us", accepting)]


def _in_chain(counts: Counts, *, kept: bool) -> list[Row]:
    sender, receiver = _ends(kept=kept)
    encrypting: list[int] = []
    decrypting: list[int] = []
    sealed: list[Sealed] = []
    for _ in range(counts.operations):
        encrypting.append(clock(lambda: sealed.append(sender.encrypt())))
        decrypting.append(clock(lambda: receiver.decrypt(sealed[-1])))
    return [
        time_row(
            _label("encrypt.in_chain", "encrypt, in chain", SEAL, kept=kept), "us", encrypting
        ),
        time_row(
            _label("decrypt.in_chain", "decrypt, in chain", OPEN, kept=kept), "us", decrypting
        ),
    ]


def _ping_pong(counts: Counts, *, kept: bool) -> Row:
    ends = _ends(kept=kept)
    samples = []
    for number in range(counts.operations):
        sender, receiver = ends[number % 2], ends[(number + 1) % 2]
        samples.append(clock(lambda s=sender, r=receiver: r.decrypt(s.encrypt())))  # type: ignore[misc]
    label = _label("pair.ping_pong", "encrypt + decrypt, ping-pong", EXCHANGE, kept=kept)
    return time_row(label, "us", samples)


def _late(counts: Counts, *, kept: bool) -> list[Row]:
    jumping: list[int] = []
    late: list[int] = []
    for _ in range(counts.late_rounds):
        sender, receiver = _ends(kept=kept)
        sealed = [sender.encrypt() for _ in range(counts.chain)]
        jumping.append(clock(lambda r=receiver, s=sealed[-1]: r.decrypt(s)))  # type: ignore[misc]
        late += [clock(lambda r=receiver, s=one: r.decrypt(s)) for one in sealed[:-1]]  # type: ignore[misc]
    number, rest = f"{counts.chain:,}", f"{counts.chain - 1:,}"
    first = _label("decrypt.late_first", f"decrypt, message {number} first", OPEN, kept=kept)
    each = _label("decrypt.late_each", f"decrypt, each of the {rest} late", OPEN, kept=kept)
    return [time_row(first, "us", jumping), time_row(each, "us", late)]


def _ends(*, kept: bool) -> tuple[End, End]:
    ours, theirs, _, _ = established()
    return End(ours, kept=kept), End(theirs, kept=kept)


def _label(key: str, title: str, raw: str, *, kept: bool) -> Label:
    if kept:
        return Label(f"{key}.serialised", f"{title}, session serialised", raw)
    return Label(key, title, raw)
