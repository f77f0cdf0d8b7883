"""The ratchet against an independent implementation: PyPI ``doubleratchet``, over random orders.

Both get the same key pairs and the same schedule. Theirs yields the elliptic-curve message key;
the post-quantum half is computed here from the specification alone, with another library's code.
"""
# ruff: noqa: ARG004 - the names of the arguments are the other library's.

from collections.abc import Iterator
from typing import Any

import doubleratchet
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from doubleratchet.recommended import diffie_hellman_ratchet_curve25519
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.core import ratchet
from client_sdk.core.errors import AuthenticationError
from client_sdk.core.kdf import (
    CHAIN_LABEL,
    MESSAGE_LABEL,
    PQ_ROOT_LABEL,
    ROOT_LABEL,
    MessageKey,
    PqRootKey,
    RootKey,
)
from client_sdk.core.keys import X25519KeyPair
from client_sdk.core.ratchet import Position, keys_wanted, start_initiator, start_responder
from client_sdk.core.triple_ratchet import RootKeys
from tests.vectors.core_parties import Keys

EC_ROOT, PQ_ROOT = b"e" * 32, b"p" * 32
SKIPPED = 2000
KEM_KEYS = Keys(b"kem")


def one_step(secret: bytes, label: bytes, length: int = 64) -> bytes:
    return ConcatKDFHash(SHA512(), length, label).derive(secret)


class RootKdf(doubleratchet.KDF):
    @staticmethod
    async def derive(key: bytes, data: bytes, length: int) -> bytes:
        return one_step(data + key, ROOT_LABEL, length)


class ChainKdf(doubleratchet.KDF):
    @staticmethod
    async def derive(key: bytes, data: bytes, length: int) -> bytes:
        return one_step(key, data, length)


class ShownKey(doubleratchet.AEAD):
    """ "Encrypts" to the message key itself, so that the test sees it."""

    @staticmethod
    async def encrypt(plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        return key

    @staticmethod
    async def decrypt(ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        if ciphertext != key:
            raise doubleratchet.AuthenticationFailedException
        return key


class Peer(doubleratchet.DoubleRatchet):
    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Any) -> bytes:
        return b""


def curve(pairs: Iterator[X25519KeyPair]) -> Any:
    """Return a Diffie-Hellman ratchet class that draws its pairs from ``pairs``."""

    class Curve(diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet):
        @staticmethod
        def _generate_priv() -> bytes:
            return next(pairs).private_bytes()

    return Curve


def options(pairs: Iterator[X25519KeyPair]) -> dict[str, Any]:
    return {
        "diffie_hellman_ratchet_class": curve(pairs),
        "root_chain_kdf": RootKdf,
        "message_chain_kdf": ChainKdf,
        "message_chain_constant": CHAIN_LABEL,
        "dos_protection_threshold": 1000,
        "max_num_skipped_message_keys": SKIPPED,
        "aead": ShownKey,
        "shared_secret": EC_ROOT,
        "associated_data": b"",
    }


def drawn(seed: bytes) -> Iterator[X25519KeyPair]:
    keys = Keys(seed)
    while True:
        yield keys.x25519()


def pq_output(chain: int, number: int) -> bytes:
    """Return the post-quantum half of a message key, counted from the handshake's seed."""
    root = PQ_ROOT
    for _ in range(chain + 1):
        step = one_step(root, PQ_ROOT_LABEL)
        root, key = step[:32], step[32:]
    for _ in range(number):
        key = one_step(key, CHAIN_LABEL)[:32]
    return one_step(key, CHAIN_LABEL)[32:]


class Pair:
    """Our two ratchet states and theirs, on one schedule; side 0 is the initiator."""

    def __init__(self) -> None:
        prekey = Keys(b"prekey").x25519()
        self.prekey = prekey
        self.ours_drawn = [drawn(b"0"), drawn(b"1")]
        self.theirs_drawn = [drawn(b"0"), drawn(b"1")]
        roots = RootKeys(RootKey(EC_ROOT), PqRootKey(PQ_ROOT))
        self.ours = [
            start_initiator(roots, prekey.public, next(self.ours_drawn[0])),
            start_responder(roots, prekey),
        ]
        self.theirs: list[Any] = [None, None]
        self.waiting: list[list[tuple[Position, MessageKey, Any]]] = [[], []]
        self.chains: list[bytes] = []

    def can_send(self, side: int) -> bool:
        return self.ours[side].sending is not None or self.ours[side].receiving is not None

    async def send(self, side: int) -> None:
        state = self.ours[side]
        wanted = keys_wanted(state)
        fresh = KEM_KEYS.fresh(wanted._replace(ratchet_key=False))
        if wanted.ratchet_key:
            fresh = fresh._replace(ratchet_key=next(self.ours_drawn[side]))
        self.ours[side], position, key = ratchet.send(state, fresh)
        if self.theirs[side] is None:
            self.theirs[side], message = await Peer.encrypt_initial_message(
                **options(self.theirs_drawn[side]),
                recipient_ratchet_pub=self.prekey.public[1:],
                message=b"",
            )
        else:
            message = await self.theirs[side].encrypt_message(b"", b"")
        assert tuple(message.header) == (position.ratchet_key[1:], *position[1:3])
        if position.ratchet_key not in self.chains:
            self.chains.append(position.ratchet_key)
        pq = pq_output(self.chains.index(position.ratchet_key), position.message_number)
        assert key == one_step(pq + message.ciphertext, MESSAGE_LABEL, 32)
        self.waiting[1 - side].append((position, key, message))

    async def deliver(self, side: int, index: int) -> None:
        waiting = self.waiting[side]
        position, expected, message = waiting[index % len(waiting)]

        def open_message(key: MessageKey) -> bytes:
            if key != expected:
                raise AuthenticationError("another key")
            return b""

        self.ours[side], _ = ratchet.receive(self.ours[side], position, open_message)
        if self.theirs[side] is None:
            self.theirs[side], _ = await Peer.decrypt_initial_message(
                **options(self.theirs_drawn[side]),
                own_ratchet_priv=self.prekey.private_bytes(),
                message=message,
            )
        else:
            await self.theirs[side].decrypt_message(message, b"")
        waiting.pop(index % len(waiting))


steps = st.lists(
    st.tuples(st.sampled_from(["send", "deliver", "drop"]), st.integers(0, 1), st.integers(0, 9)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(steps)
async def test_an_independent_double_ratchet_derives_the_same_keys(
    schedule: list[tuple[str, int, int]],
) -> None:
    pair = Pair()
    await pair.send(0)
    for action, side, index in schedule:
        if action == "send" and pair.can_send(side):
            await pair.send(side)
        elif action == "deliver" and pair.waiting[side]:
            await pair.deliver(side, index)
        elif action == "drop" and len(pair.waiting[side]) > 1:
            pair.waiting[side].pop(index % len(pair.waiting[side]))
    for side in (0, 1):
        while pair.waiting[side]:
            await pair.deliver(side, 3)
