"""The rows of this project, measured as the others are: a process of its own, one line of JSON.

As libsignal's rows include its store, these turn the session into stored bytes after each step.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import serialize_record
from tests.bench.ratchet import End, Handshake, ends

Result = TypeVar("Result")

OPERATIONS, SETUPS, CHAIN = (int(one) for one in sys.argv[1:4])


def timed(run: Callable[[], Result], samples: list[float]) -> Result:
    began = time.perf_counter_ns()
    result = run()
    samples.append((time.perf_counter_ns() - began) / 1000)
    return result


def exchange_us() -> float:
    private, other = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    samples: list[float] = []
    for _ in range(OPERATIONS):
        timed(lambda: private.exchange(other), samples)
    return median(samples)


def late(sender: End, receiver: End) -> tuple[float, float]:
    waiting = [sender.encrypt() for _ in range(CHAIN)]
    jump: list[float] = []
    each: list[float] = []
    timed(lambda: receiver.decrypt(waiting[-1]), jump)
    for one in waiting[:-1]:
        timed(lambda sealed=one: receiver.decrypt(sealed), each)  # type: ignore[misc]
    return jump[0], median(each)


def measure() -> dict[str, float]:
    handshake = Handshake()
    initiating: list[float] = []
    accepting: list[float] = []
    for number in range(SETUPS):
        handshake.prepare(number)
        sealed = timed(handshake.initiate, initiating)
        timed(lambda one=sealed: handshake.accept(one), accepting)  # type: ignore[misc]
    sender, receiver = ends(kept=True)
    encrypting: list[float] = []
    decrypting: list[float] = []
    for _ in range(OPERATIONS):
        sealed = timed(sender.encrypt, encrypting)
        timed(lambda one=sealed: receiver.decrypt(one), decrypting)  # type: ignore[misc]
    session_bytes = len(serialize_record(SessionRecord(sender.session)))
    pairs: list[float] = []
    sides = [receiver, sender]
    for _ in range(OPERATIONS):
        timed(lambda: sides[1].decrypt(sides[0].encrypt()), pairs)
        sides.reverse()
    jump, each = late(*reversed(sides))
    return {
        "exchange": exchange_us(),
        "setup_sender": median(initiating),
        "setup_receiver": median(accepting),
        "encrypt": median(encrypting),
        "decrypt": median(decrypting),
        "pair": median(pairs),
        "jump": jump,
        "late": each,
        "wire_bytes": len(sealed.data),
        "session_bytes": session_bytes,
    }


if __name__ == "__main__":
    versions = {"python": sys.version.split()[0], "cryptography": version("cryptography")}
    print(json.dumps({"versions": versions, "rows": measure()}))
