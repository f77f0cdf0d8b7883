"""A22: a ciphertext that opens under two keys is still one message, in one session.

AES-GCM-SIV does not commit to its key: whoever knows two keys can make one ciphertext that opens
under both. Where several hold one key that would show each of them another text. Here a key is one
message's of one session, and the header names the session: no other key is ever tried.
"""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from client_sdk import entropy
from client_sdk.core.aead import NONCE, open_sealed
from client_sdk.core.errors import AuthenticationError
from client_sdk.core.kdf import KEY_BYTES, MessageKey
from client_sdk.core.session_record import find
from client_sdk.wire.envelope import ENVELOPE
from tests.attacks.scene import refused, with_header
from tests.unit.machine.machine_parties import make_pair

POLYNOMIAL = (1 << 128) | (1 << 127) | (1 << 126) | (1 << 121) | 1


def times(one: int, other: int) -> int:
    """Multiply in the field of POLYVAL (RFC 8452, section 3)."""
    product = 0
    for bit in range(128):
        if other >> bit & 1:
            product ^= one << bit
    for bit in range(254, 127, -1):
        if product >> bit & 1:
            product ^= POLYNOMIAL << (bit - 128)
    return product


def power(base: int, exponent: int) -> int:
    result = 1
    while exponent:
        if exponent & 1:
            result = times(result, base)
        base, exponent = times(base, base), exponent >> 1
    return result


def inverse(one: int) -> int:
    return power(one, 2**128 - 2)


X_MINUS_128 = inverse(power(2, 128))


def aes(key: bytes, block: bytes, *, back: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.ECB())
    context = cipher.decryptor() if back else cipher.encryptor()
    return context.update(block) + context.finalize()


class Half:
    """One of the two keys: what RFC 8452 derives from it, and one linear equation."""

    def __init__(self, key: MessageKey, tag: bytes, blocks: int) -> None:
        parts = [aes(key, n.to_bytes(4, "little") + NONCE)[:8] for n in range(6)]
        authentication, encryption = b"".join(parts[:2]), b"".join(parts[2:])
        self.point = times(int.from_bytes(authentication, "little"), X_MINUS_128)
        counter = bytes([*tag[:15], tag[15] | 0x80])
        first = int.from_bytes(counter[:4], "little")
        self.stream = [
            int.from_bytes(
                aes(encryption, ((first + n) % 2**32).to_bytes(4, "little") + counter[4:]), "little"
            )
            for n in range(blocks)
        ]
        self.hashed = aes(encryption, tag, back=True)
        self.possible = not self.hashed[15] & 0x80
        self.nonce = int.from_bytes(NONCE, "little")
        self.lengths = (blocks * 128) << 64

    def wanted(self) -> int:
        """Return what POLYVAL has to be for the tag to hold, less lengths and key stream."""
        value = int.from_bytes(self.hashed, "little") ^ self.nonce
        total = value ^ times(self.lengths, self.point)
        for place, block in enumerate(self.stream):
            total ^= times(block, power(self.point, len(self.stream) - place + 1))
        return total


def drawn() -> MessageKey:
    return MessageKey(entropy.draw_bytes(KEY_BYTES))


def salamander(one: MessageKey, other: MessageKey) -> bytes:
    """Return a ciphertext of two blocks that opens under both keys."""
    while True:
        tag = entropy.draw_bytes(16)
        halves = [Half(key, tag, 2) for key in (one, other)]
        if all(half.possible for half in halves):
            break
    # C1 * h^3 + C2 * h^2 = wanted, for each key: two equations, two blocks.
    a, b = (power(halves[0].point, n) for n in (3, 2))
    c, d = (power(halves[1].point, n) for n in (3, 2))
    left, right = (half.wanted() for half in halves)
    scale = inverse(times(a, d) ^ times(b, c))
    first = times(scale, times(d, left) ^ times(b, right))
    second = times(scale, times(a, right) ^ times(c, left))
    return first.to_bytes(16, "little") + second.to_bytes(16, "little") + tag


def test_a22_control_the_aead_alone_opens_one_ciphertext_under_two_keys() -> None:
    one, other = (drawn() for _ in range(2))
    forged = salamander(one, other)
    texts = [AESGCMSIV(key).decrypt(NONCE, forged, b"") for key in (one, other)]
    assert texts[0] != texts[1]
    assert [open_sealed(key, forged, b"") for key in (one, other)] == texts


def test_a22_a_message_is_tried_in_the_session_that_it_names_and_in_no_other() -> None:
    alice, bob = make_pair()
    bob.receive(alice.address, alice.send(bob, "in the first session"))
    first = alice.states[bob.user].sessions[bob.address].current
    assert first is not None
    alice.begin(bob)
    bob.receive(alice.address, alice.send(bob, "in the second"))
    record = bob.states[alice.user].sessions[alice.address]
    assert find(record, first.tag) is not None
    honest = alice.send(bob, "for the second session")
    assert refused(bob, alice, with_header(honest, session_tag=first.tag)) is AuthenticationError
    bob.receive(alice.address, honest)
    assert bob.handed_over[-1] == "for the second session"
    assert ENVELOPE.decode(honest.payload).header.count(first.tag) == 0


@pytest.mark.parametrize("size", [0, 8, 12, 15])
def test_a22_a_shorter_tag_opens_nothing(size: int) -> None:
    key = drawn()
    sealed = AESGCMSIV(key).encrypt(NONCE, b"text", b"")
    with pytest.raises(AuthenticationError):
        open_sealed(key, sealed[: len(sealed) - 16 + size], b"")
