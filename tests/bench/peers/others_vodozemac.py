"""Runs in the scratch folder: PyPI ``vodozemac`` (Olm in Rust).

Prints one line of JSON: rows in microseconds or bytes, and the version.
"""

import json
import statistics
import sys
import time
from importlib.metadata import version
from typing import Any

import vodozemac

TEXT = bytes(64)
OPERATIONS, SETUPS, CHAIN = (int(one) for one in sys.argv[1:4])


def us(began: int) -> float:
    return (time.perf_counter_ns() - began) / 1000


def set_up() -> tuple[Any, Any, float, float]:
    alice, bob = vodozemac.Account(), vodozemac.Account()
    bob.generate_one_time_keys(1)
    identity, one_time = bob.curve25519_key, next(iter(bob.one_time_keys.values()))
    began = time.perf_counter_ns()
    ours = alice.create_outbound_session(identity, one_time)
    kind, first = ours.encrypt(TEXT).to_parts()
    sender = us(began)
    began = time.perf_counter_ns()
    message = vodozemac.AnyOlmMessage.from_parts(kind, first).to_pre_key()
    theirs, text = bob.create_inbound_session(alice.curve25519_key, message)
    receiver = us(began)
    assert text == TEXT
    return ours, theirs, sender, receiver


def decrypt(session: Any, parts: tuple[int, bytes]) -> None:
    assert session.decrypt(vodozemac.AnyOlmMessage.from_parts(*parts)) == TEXT


def timed(run: Any, samples: list[float]) -> Any:
    began = time.perf_counter_ns()
    result = run()
    samples.append(us(began))
    return result


def measure() -> dict[str, float | None]:
    setups = [set_up() for _ in range(SETUPS)]
    ours, theirs, *_ = setups[-1]
    decrypt(ours, theirs.encrypt(TEXT).to_parts())
    encrypting: list[float] = []
    decrypting: list[float] = []
    for _ in range(OPERATIONS):
        parts = timed(lambda: ours.encrypt(TEXT).to_parts(), encrypting)
        timed(lambda p=parts: decrypt(theirs, p), decrypting)  # type: ignore[misc]
    session = len(ours.pickle(bytes(32)))
    pairs, ends = [], [theirs, ours]
    for _ in range(OPERATIONS):
        began = time.perf_counter_ns()
        parts = ends[0].encrypt(TEXT).to_parts()
        decrypt(ends[1], parts)
        pairs.append(us(began))
        ends.reverse()
    sender, receiver = reversed(ends)
    waiting = [sender.encrypt(TEXT).to_parts() for _ in range(CHAIN)]
    jump: list[float] = []
    timed(lambda: decrypt(receiver, waiting[-1]), jump)
    late, refused = [], 0
    for one in waiting[:-1]:
        began = time.perf_counter_ns()
        try:
            decrypt(receiver, one)
        except vodozemac.OlmDecryptionException:
            refused += 1
        else:
            late.append(us(began))
    return {
        "setup_sender": statistics.median(one[2] for one in setups),
        "setup_receiver": statistics.median(one[3] for one in setups),
        "encrypt": statistics.median(encrypting),
        "decrypt": statistics.median(decrypting),
        "pair": statistics.median(pairs),
        "jump": jump[0],
        "late": statistics.median(late) if late else None,
        "late_refused": refused,
        "wire_bytes": len(parts[1]),
        "session_bytes": session,
    }


print(json.dumps({"versions": {"vodozemac": version("vodozemac")}, "rows": measure()}))
