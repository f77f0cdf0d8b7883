"""Frozen bytes layer by layer, each from fixed inputs of its own; run as a module to write anew.

No layer is computed from another one's output: a changed byte makes the vector of its own layer
fail, and no other in the file. States are frozen as bytes alone: what matters is that they are
read, and written again as they were.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from client_sdk.core import kdf
from client_sdk.core.aead import seal
from client_sdk.core.erasure import PIECE_BYTES, chunk_of
from client_sdk.core.fingerprint import half
from client_sdk.core.headers import handshake_digest as core_digest
from client_sdk.core.kdf import ChainKey, ChainStep, EpochKey, MessageKey, PqRootKey, RootKey
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.recovery_code import encode_recovery_code
from client_sdk.core.session import Session
from client_sdk.core.session_record import SessionRecord, add_archived
from client_sdk.core.state_format import serialize_record
from client_sdk.machine.device import DeviceRecord, encode_device
from client_sdk.machine.linking import LinkingRecord
from client_sdk.machine.opening import position_of, replay_digest
from client_sdk.wire import topics
from client_sdk.wire.bundle import device_list_hash, list_mark
from client_sdk.wire.codec import encode
from client_sdk.wire.content import pad
from client_sdk.wire.enrollment import enroll_info, enrolled_info
from client_sdk.wire.envelope import Envelope, EnvelopeKind
from client_sdk.wire.ids import DirectoryId, EnvelopeId, EventId, InvitationId, RequestId, SessionId
from client_sdk.wire.invitation import password_text, secret_hash
from client_sdk.wire.linking import grant_info
from client_sdk.wire.pq_message import PqChunk, PqMessage, PqPart, encode_pq_message
from tests.unit.wire.samples import (
    ALICE_1,
    BOB_127,
    HANDSHAKE,
    ID,
    INVITATION,
    LINK_CODE,
    LIST,
    RATCHET,
    fill,
)
from tests.vectors.core_parties import NOW, Party, established, receive, send, start

PATH: Final = Path(__file__).with_name("layers.json")
PART_OF_THE_CHUNKS: Final = 3
ONE, TWO = fill(32, 1), fill(32, 101)
EVERY_TOPIC: Final = (
    topics.inbox(BOB_127, ALICE_1, EnvelopeId(ID)),
    topics.request(ALICE_1, RequestId(ID)),
    topics.reply(ALICE_1, RequestId(ID)),
    topics.event(ALICE_1, EventId(ID)),
    topics.enroll(InvitationId(ID)),
    topics.enrolled(InvitationId(ID)),
)


def own_device() -> DeviceRecord:
    return DeviceRecord(
        stage=1,
        address=ALICE_1,
        account_private=fill(32, 1),
        signing_private=fill(32, 2),
        identity_private=fill(32, 3),
        device_list=LIST,
        credential=fill(32, 4),
        stream_id=fill(8, 5),  # type: ignore[arg-type]
        invitation=INVITATION,
        nonce=fill(16, 6),
        reply_private=fill(96, 7),
        role="doctor",
        name="Dr. Ålice",
    )


def waiting_device() -> LinkingRecord:
    return LinkingRecord(
        code=LINK_CODE,
        signing_private=fill(32, 1),
        identity_private=fill(32, 2),
        credential=fill(32, 3),
        stream_id=fill(8, 4),  # type: ignore[arg-type]
        nonce=fill(16, 5),
        reply_private=fill(96, 6),
    )


def named_envelope() -> Envelope:
    header = RATCHET._replace(pq_message=encode_pq_message(PqMessage(1, 2)))
    return Envelope(1, 1, EnvelopeKind.MESSAGE, encode(header), bytes(272))


def chunk(part: PqPart) -> PqMessage:
    return PqMessage(1, 2, PqChunk(part, 63, fill(96, 8)))


LAYERS: Final[dict[str, Callable[[], bytes]]] = {
    "HKDF of a handshake": lambda: b"".join(kdf.handshake_secrets(ONE)),
    "root step": lambda: b"".join(kdf.root_step(RootKey(ONE), TWO)),
    "post-quantum root step": lambda: b"".join(kdf.pq_root_step(PqRootKey(ONE))),
    "post-quantum epoch step": lambda: b"".join(kdf.pq_epoch_step(PqRootKey(ONE), EpochKey(TWO))),
    "post-quantum epoch key": lambda: kdf.epoch_key(ONE, 7, TWO),
    "chain step": lambda: kdf.chain_step(ChainKey(ONE)),
    "message key": lambda: kdf.message_key(ChainStep(ONE + TWO), ChainStep(TWO + ONE)),
    "AEAD": lambda: seal(MessageKey(ONE), b"text", b"associated data"),
    "session tag": lambda: kdf.session_tag(SessionId(ONE)),
    "checksum of a recovery code": lambda: kdf.recovery_check(ONE, 3),
    "recovery code": lambda: encode_recovery_code(Ed25519KeyPair.from_private_bytes(ONE)).encode(),
    "half of a safety number": lambda: half(b"alice", b"\x02" + ONE, 2).encode(),
    "computed chunk": lambda: chunk_of(fill(1185, 9), 13) + chunk_of(fill(1088, 9), 63),
    "padding": lambda: hashlib.sha256(b"".join(map(pad, (b"", ONE, bytes(300))))).digest(),
    "post-quantum message without a chunk": lambda: encode_pq_message(PqMessage(1, 2)),
    "post-quantum message with a key": lambda: encode_pq_message(chunk(PqPart.ENCAPSULATION_KEY)),
    "post-quantum message with a ciphertext": lambda: encode_pq_message(chunk(PqPart.CIPHERTEXT)),
    "digest by which a session knows its handshake": lambda: core_digest(HANDSHAKE),
    "digest of the replay cache": lambda: replay_digest(HANDSHAKE),
    "hash of a device list": lambda: device_list_hash(LIST),
    "mark of a device list": lambda: bytes([list_mark(LIST).version]) + list_mark(LIST).hash,
    "HPKE info of an enrolment": lambda: enroll_info(DirectoryId(ID), InvitationId(ID)),
    "HPKE info of its answer": lambda: enrolled_info(DirectoryId(ID), InvitationId(ID)),
    "password of a login": lambda: password_text(ONE).encode(),
    "stored hash of a login": lambda: secret_hash("password"),
    "topics": lambda: "\n".join(EVERY_TOPIC).encode(),
    "own device": lambda: encode_device(own_device()),
    "proof of a link's offer": lambda: kdf.link_offer_mac(ONE, b"offer"),
    "proof of a link's grant": lambda: kdf.link_grant_mac(ONE, b"grant"),
    "HPKE info of a sealed grant": lambda: grant_info(LINK_CODE),
    "device that waits to be linked": lambda: encode(waiting_device()),
    "position of an envelope": lambda: position_of(named_envelope()),
}


def states() -> dict[str, bytes]:
    """Return a session record in each of the forms that a store can hold."""
    found: dict[str, bytes] = {}

    def keep(name: str, session: Session) -> None:
        found.setdefault(name, serialize_record(SessionRecord(session)))

    alice, bob = Party("alice"), Party("bob")
    begun = start(alice, bob)
    keep("begun, nothing sent", begun)
    ours, theirs, alice, bob = established()
    for _ in range(60):
        theirs, first = send(theirs, bob.keys, "one")
        ours, _ = receive(ours, first)
        for session in (ours, theirs):
            stage = session.ratchet.pq.stage
            chunks = len(getattr(stage, "pieces", b"")) // PIECE_BYTES
            with_chunks = " with chunks" if chunks > PART_OF_THE_CHUNKS else ""
            with_key = " with the whole key" if getattr(stage, "key", None) else ""
            keep(f"stage {type(stage).__name__}{with_chunks}{with_key}", session)
            if session.ratchet.roots.waiting is not None:
                keep("an epoch waits", session)
        ours, second = send(ours, alice.keys, "other")
        theirs, _ = receive(theirs, second)
    for _ in range(3):
        theirs, _ = send(theirs, bob.keys, "lost")
        theirs, last = send(theirs, bob.keys, "came")
        ours, _ = receive(ours, last)
        keep("skipped keys", ours)
        ours, reply = send(ours, alice.keys, "turn")
        theirs, _ = receive(theirs, reply)
    keep("closed chains", ours)
    record = add_archived(SessionRecord(ours), begun, NOW)
    return {
        **found,
        "an archived session beside the current one": serialize_record(record),
        "archived only": serialize_record(SessionRecord(None, record.archived)),
        "no session": serialize_record(SessionRecord()),
    }


def main() -> None:
    frozen = {
        "layers": {name: make().hex() for name, make in LAYERS.items()},
        "states": {name: data.hex() for name, data in states().items()},
    }
    PATH.write_text(json.dumps(frozen, indent=1) + "\n")


if __name__ == "__main__":
    main()
