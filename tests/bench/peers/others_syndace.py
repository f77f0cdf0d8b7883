"""Runs in the scratch folder: PyPI ``x3dh`` and ``doubleratchet``, put together as their users do.

Prints one line of JSON: rows in microseconds or bytes, and the versions.
"""
# ruff: noqa: ARG004 - the names of the arguments are the other library's.

import asyncio
import json
import statistics
import sys
import time
from importlib.metadata import version
from typing import Any

import doubleratchet
import x3dh
from doubleratchet.recommended import (
    HashFunction,
    aead_aes_hmac,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)

TEXT = bytes(64)
OPERATIONS, SETUPS, CHAIN = (int(one) for one in sys.argv[1:4])
INFO = b"RatchetMQ bench"


class State(x3dh.BaseState):
    """With one prekey: ``x3dh.State`` keeps 100, and computes all public halves for each use."""

    @staticmethod
    def _encode_public_key(key_format: Any, pub: bytes) -> bytes:
        return pub


class Ratchet(doubleratchet.DoubleRatchet):
    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Any) -> bytes:
        numbers = (header.previous_sending_chain_length, header.sending_chain_length)
        return associated_data + header.ratchet_pub + b"".join(n.to_bytes(4) for n in numbers)


class Curve(diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet):
    pass


class Aead(aead_aes_hmac.AEAD):
    @staticmethod
    def _get_hash_function() -> Any:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return INFO + b" message"


class RootKdf(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> Any:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return INFO + b" root"


class ChainKdf(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> Any:
        return HashFunction.SHA_256


OPTIONS: dict[str, Any] = {
    "diffie_hellman_ratchet_class": Curve,
    "root_chain_kdf": RootKdf,
    "message_chain_kdf": ChainKdf,
    "message_chain_constant": b"\x01\x02",
    "dos_protection_threshold": 1000,
    "max_num_skipped_message_keys": 2000,
    "aead": Aead,
}


def state() -> Any:
    made = State.create(x3dh.IdentityKeyFormat.ED_25519, x3dh.HashFunction.SHA_256, INFO)
    made.generate_pre_keys(1)
    return made


def us(began: int) -> float:
    return (time.perf_counter_ns() - began) / 1000


def wire_bytes(message: Any) -> int:
    """Key, two numbers of 4 bytes and the ciphertext; the library leaves the encoding open."""
    return len(message.header.ratchet_pub) + 8 + len(message.ciphertext)


async def set_up() -> tuple[Any, Any, bytes, float, float]:
    alice, bob = state(), state()
    bundle = bob.bundle
    began = time.perf_counter_ns()
    secret, data, header = await alice.get_shared_secret_active(bundle)
    ours, first = await Ratchet.encrypt_initial_message(
        **OPTIONS,
        shared_secret=secret,
        recipient_ratchet_pub=bundle.signed_pre_key,
        message=TEXT,
        associated_data=data,
    )
    sender = us(began)
    began = time.perf_counter_ns()
    secret, data, prekey = await bob.get_shared_secret_passive(header)
    theirs, text = await Ratchet.decrypt_initial_message(
        **OPTIONS,
        shared_secret=secret,
        own_ratchet_priv=prekey.priv,
        message=first,
        associated_data=data,
    )
    assert text == TEXT
    return ours, theirs, data, sender, us(began)


async def timed(coroutine: Any, samples: list[float]) -> Any:
    began = time.perf_counter_ns()
    result = await coroutine
    samples.append(us(began))
    return result


async def measure() -> dict[str, float]:
    setups = [await set_up() for _ in range(SETUPS)]
    ours, theirs, data, *_ = setups[-1]
    reply = await theirs.encrypt_message(TEXT, data)
    await ours.decrypt_message(reply, data)
    encrypting: list[float] = []
    decrypting: list[float] = []
    for _ in range(OPERATIONS):
        message = await timed(ours.encrypt_message(TEXT, data), encrypting)
        await timed(theirs.decrypt_message(message, data), decrypting)
    session = len(json.dumps(ours.json))
    pairs, ends = [], [theirs, ours]
    for _ in range(OPERATIONS):
        began = time.perf_counter_ns()
        message = await ends[0].encrypt_message(TEXT, data)
        await ends[1].decrypt_message(message, data)
        pairs.append(us(began))
        ends.reverse()
    sender, receiver = reversed(ends)
    waiting = [await sender.encrypt_message(TEXT, data) for _ in range(CHAIN)]
    first: list[float] = []
    late: list[float] = []
    await timed(receiver.decrypt_message(waiting[-1], data), first)
    for one in waiting[:-1]:
        await timed(receiver.decrypt_message(one, data), late)
    return {
        "setup_sender": statistics.median(one[3] for one in setups),
        "setup_receiver": statistics.median(one[4] for one in setups),
        "encrypt": statistics.median(encrypting),
        "decrypt": statistics.median(decrypting),
        "pair": statistics.median(pairs),
        "jump": first[0],
        "late": statistics.median(late),
        "wire_bytes": wire_bytes(message),
        "session_bytes": session,
    }


names = ("doubleratchet", "x3dh", "cryptography")
versions = {name: version(name) for name in names}
print(json.dumps({"versions": versions, "rows": asyncio.run(measure())}))
