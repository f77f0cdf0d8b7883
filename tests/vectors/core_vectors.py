"""Makes the frozen bytes of the core from fixed keys; run as a module to write them anew.

Everything follows from the parties' names but the ML-KEM encapsulations, which cannot be drawn from
a seed: they are inputs that stand in the file.
"""

import json
from pathlib import Path
from typing import Any

from client_sdk import entropy
from client_sdk.core.erasure import chunk_of
from client_sdk.core.fingerprint import numeric
from client_sdk.core.fresh_keys import WantedKeys
from client_sdk.core.headers import decoded_header
from client_sdk.core.kem_keys import MlKem768KeyPair
from client_sdk.core.keys import Encapsulation
from client_sdk.core.pq_ratchet import Offering
from client_sdk.core.pqxdh import initiate
from client_sdk.core.recovery_code import encode_recovery_code
from client_sdk.core.session import InitiatorKeys, Session, initiate_session
from client_sdk.core.session_record import SessionRecord, add_archived
from client_sdk.core.state_format import serialize_record
from client_sdk.wire.codec import encode
from client_sdk.wire.encoded_keys import RatchetKey
from client_sdk.wire.envelope import RATCHET_HEADER, RatchetHeader
from tests.vectors.core_parties import NOW, Keys, Party, Sent, accept_first, receive, send

MOST_MESSAGES = 200
"""Four times what an epoch takes: a broken ratchet fails here and does not go on for ever."""

PATH = Path(__file__).with_name("core_vectors.json")


def build(handshake: Encapsulation, epoch: Encapsulation | None) -> dict[str, Any]:
    """Return every frozen value, for two encapsulations; the second one drawn if it is None."""
    alice, bob, keys = Party("alice"), Party("bob"), Keys(b"vectors")
    fresh = InitiatorKeys(keys.x25519(), handshake, keys.x25519())
    secrets, header = initiate(
        alice.local(), bob.remote(), bob.bundle(), fresh.ephemeral, fresh.encapsulation
    )
    ours = initiate_session(alice.local(), bob.remote(), bob.bundle(), fresh)
    ours, first = send(ours, keys, "hello")
    ours, second = send(ours, keys, "are you there?")
    theirs, _ = accept_first(bob, alice, second)
    theirs, reply = send(theirs, keys, "yes")
    ours, _ = receive(ours, reply)
    ours, last = send(ours, keys, "good")
    other = initiate_session(alice.local(), bob.remote(), bob.bundle(one_time=False), fresh)
    record = add_archived(SessionRecord(theirs), other, NOW)
    return {
        "encapsulation": shown(handshake),
        "bundle": encode(bob.bundle()).hex(),
        "handshake": {
            "root_key": secrets.root_key.hex(),
            "pq_seed": secrets.pq_seed.hex(),
            "session_id": secrets.session_id.hex(),
            "session_tag": ours.tag.hex(),
            "header": encode(header).hex(),
        },
        "envelopes": [
            {"sender": sender, "text": text, "id": sent.envelope_id, "bytes": sent.data.hex()}
            for sender, text, sent in (
                ("alice-1", "hello", first),
                ("alice-1", "are you there?", second),
                ("bob-1", "yes", reply),
                ("alice-1", "good", last),
            )
        ],
        "refused": refused(last),
        "state": serialize_record(record).hex(),
        "epoch": first_epoch(ours, receive(theirs, last)[0], keys, epoch),
        "safety_number": numeric(b"alice", alice.account.public, b"bob", bob.account.public),
        "recovery_code": encode_recovery_code(alice.account),
    }


def shown(encapsulation: Encapsulation) -> dict[str, str]:
    secret, ciphertext = encapsulation
    return {"shared_secret": secret.hex(), "ciphertext": ciphertext.hex()}


def first_epoch(
    ours: Session, theirs: Session, keys: Keys, encapsulation: Encapsulation | None
) -> dict[str, Any]:
    """Talk until both sides use epoch 1; ``theirs`` has begun it already."""
    pair = offered(theirs)
    encapsulated = entropy.draw_keys(WantedKeys(encapsulate_to=pair.public)).encapsulation
    keys.encapsulation = encapsulation or encapsulated
    assert keys.encapsulation is not None
    places: list[bytes] = []
    states, epoch_key, sent = [], None, None
    while theirs.ratchet.roots.epoch == 0:
        assert len(places) < MOST_MESSAGES, "no epoch comes"
        theirs, sent = send(theirs, keys, "one")
        ours, _ = receive(ours, sent)
        places.append(place(sent))
        if theirs.ratchet.roots.epoch == 0:
            ours, sent = send(ours, keys, "other")
            states.append(serialize_record(SessionRecord(ours)))
            epoch_key = ours.ratchet.roots.waiting or epoch_key
            theirs, _ = receive(theirs, sent)
            places.append(place(sent))
    assert sent is not None
    assert epoch_key is not None
    return {
        "encapsulation": shown(keys.encapsulation),
        "key_seed": pair.seed.hex(),
        "encapsulation_key": pair.public.hex(),
        "pq_messages": [one.hex() for one in places],
        "computed_chunks": [
            {"number": number, "bytes": chunk_of(pair.public, number).hex()}
            for number in (13, 14, 40, 63)
        ],
        "epoch_key": epoch_key.hex(),
        "pq_root": ours.ratchet.roots.pq.hex(),
        "state_before": states[-1].hex(),
        "first_envelope": {"id": sent.envelope_id, "bytes": sent.data.hex()},
    }


def offered(session: Session) -> MlKem768KeyPair:
    stage = session.ratchet.pq.stage
    assert isinstance(stage, Offering)
    return stage.pair


def place(sent: Sent) -> bytes:
    envelope = sent.envelope
    return decoded_header(envelope.kind, envelope.header).ratchet.pq_message


def refused(sent: Sent) -> list[dict[str, str]]:
    """Return envelopes with one fault each, and the code of the error that must answer."""
    envelope = sent.envelope
    header = RATCHET_HEADER.decode(envelope.header)
    tag = bytearray(envelope.ciphertext)
    tag[-1] ^= 1
    low = RatchetKey(b"\x01" + bytes(32))

    def with_header(changed: RatchetHeader) -> bytes:
        return encode(envelope._replace(header=encode(changed)))

    one, beyond = b"\x00\x00\x00\x01", bytes(8) + b"\x01\x40" + bytes(96)
    faults = {
        "one bit of the tag": encode(envelope._replace(ciphertext=bytes(tag))),
        "message number too far": with_header(header._replace(message_number=1001)),
        "another session's tag": with_header(header._replace(session_tag=bytes(8))),
        "ratchet key of small order": with_header(header._replace(ratchet_key=low)),
        "epoch that is not here": with_header(header._replace(pq_message=one * 2)),
        "post-quantum message of one byte": with_header(header._replace(pq_message=b"\x00")),
        "chunk number 64": with_header(header._replace(pq_message=beyond)),
        "epoch that the sender lacks": with_header(header._replace(pq_message=one + bytes(4))),
        "another suite": encode(envelope._replace(suite=2)),
        "trailing byte": sent.data + b"\x00",
        "length not the shortest": sent.data.replace(b"\xc4", b"\xc5\x00", 1),
    }
    codes = ["authentication_failed", "skipped_too_far", "unknown_session", "invalid_key"]
    codes += ["authentication_failed"] + ["malformed"] * 6
    return [
        {"fault": fault, "bytes": data.hex(), "code": code}
        for (fault, data), code in zip(faults.items(), codes, strict=True)
    ]


def main() -> None:
    handshake = entropy.encapsulate(Party("bob").kem.public)
    PATH.write_text(json.dumps(build(handshake, None), indent=1) + "\n")


if __name__ == "__main__":
    main()
