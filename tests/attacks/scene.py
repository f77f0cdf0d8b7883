"""Alice and bob as an attacker finds them, and how often an attack is tried."""

from client_sdk import entropy
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.wire.codec import encode
from client_sdk.wire.envelope import ENVELOPE, PREKEY_HEADER, RATCHET_HEADER, EnvelopeKind
from client_sdk.wire.errors import ProtocolError
from tests.conftest import FULL
from tests.unit.machine.machine_parties import Party, make_pair, serialised

"""Set by ``make attacks``: the numbers of the threat table, not a slice of them."""


def times(whole: int, slice_of_it: int) -> int:
    return whole if FULL else slice_of_it


def opened_pair() -> tuple[Party, Party]:
    """Return two contacts of which each has read a message of the other."""
    alice, bob = make_pair()
    bob.receive(alice.address, alice.send(bob, "first"))
    alice.receive(bob.address, bob.send(alice, "answer"))
    return alice, bob


def everything(party: Party) -> tuple[object, ...]:
    """Return all that a device keeps, sessions as their stored bytes."""
    return (
        {user: serialised(state) for user, state in party.states.items()},
        {user: (one.streams, one.peer) for user, one in party.states.items()},
        dict(party.prekeys),
        set(party.handshakes),
        dict(party.opened),
        dict(party.messages),
        list(party.handed_over),
        list(party.receipts_due),
    )


def refused(bob: Party, alice: Party, envelope: OutboxEnvelope) -> type[ProtocolError]:
    """Give bob an envelope that he must refuse, and return how; nothing of his may change."""
    before = everything(bob)
    try:
        bob.receive(alice.address, envelope)
    except ProtocolError as error:
        assert everything(bob) == before
        return type(error)
    raise AssertionError("it was accepted")


def with_payload(envelope: OutboxEnvelope, payload: bytes) -> OutboxEnvelope:
    return envelope._replace(payload=payload)


def with_header(envelope: OutboxEnvelope, **fields: object) -> OutboxEnvelope:
    """Return a message with fields of its ratchet header exchanged."""
    decoded = ENVELOPE.decode(envelope.payload)
    if decoded.kind == EnvelopeKind.PREKEY_MESSAGE:
        header = PREKEY_HEADER.decode(decoded.header)
        changed = encode(header._replace(ratchet=header.ratchet._replace(**fields)))  # type: ignore[arg-type]
    else:
        changed = encode(RATCHET_HEADER.decode(decoded.header)._replace(**fields))  # type: ignore[arg-type]
    return with_payload(envelope, encode(decoded._replace(header=changed)))


def with_handshake(envelope: OutboxEnvelope, **fields: object) -> OutboxEnvelope:
    """Return a first message with fields of its handshake exchanged."""
    decoded = ENVELOPE.decode(envelope.payload)
    header = PREKEY_HEADER.decode(decoded.header)
    handshake = header.handshake._replace(**fields)  # type: ignore[arg-type]
    changed = encode(header._replace(handshake=handshake))
    return with_payload(envelope, encode(decoded._replace(header=changed)))


def with_kem_bit(envelope: OutboxEnvelope, bit: int) -> OutboxEnvelope:
    """Return a first message with one bit of its KEM ciphertext turned."""
    header = PREKEY_HEADER.decode(ENVELOPE.decode(envelope.payload).header)
    ciphertext = bytearray(header.handshake.kem_ciphertext)
    ciphertext[bit // 8] ^= 1 << bit % 8
    return with_handshake(envelope, kem_ciphertext=bytes(ciphertext))


def some_point() -> bytes:
    """Return the encoding of a good X25519 key that nobody uses."""
    return entropy.draw_x25519().public
