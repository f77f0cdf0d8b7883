"""Everything that turns foreign bytes into something: what it may raise, and what must hold after.

A target is called with any bytes. It returns, or raises one of the errors that it documents; any
other exception and any failed ``assert`` is a finding.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from client_sdk.core.errors import (
    AuthenticationError,
    InvalidRecoveryCodeError,
    NewerStateError,
    StaleBundleError,
    StateFormatError,
)
from client_sdk.core.fingerprint import matches
from client_sdk.core.headers import decoded_header
from client_sdk.core.hpke import HpkeKeyPair, parse_hpke_public, seal
from client_sdk.core.recovery_code import decode_recovery_code, encode_recovery_code
from client_sdk.core.session import Session, accept_session, decrypt, handshake_of
from client_sdk.core.signatures import verify_bundle, verify_device_list, verify_endorsements
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.machine.device import DEVICE_RECORD, encode_device
from client_sdk.machine.linking import LINKING_RECORD
from client_sdk.transport.errors import InvalidBrokerUrlError
from client_sdk.transport.urls import parse_broker_url
from client_sdk.wire import topics
from client_sdk.wire.bundle import DEVICE_LIST, PREKEY_BUNDLE
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.content import (
    decode_copy_body,
    decode_message_body,
    encode_message_body,
    pad,
    unpad,
)
from client_sdk.wire.envelope import ENVELOPE, Envelope, EnvelopeKind
from client_sdk.wire.errors import InvalidInvitationError, InvalidNameError, ProtocolError
from client_sdk.wire.ids import DeviceNumber, EnvelopeId, parse_user, split_address
from client_sdk.wire.invitation import (
    ReturnInvitation,
    Standing,
    format_invitation,
    parse_any_invitation,
    parse_invitation,
)
from client_sdk.wire.limits import MAX_PACKET_BYTES
from client_sdk.wire.linking import format_link_code, parse_link_code
from client_sdk.wire.pq_message import decode_pq_message, encode_pq_message
from tests.fuzz import mqtt
from tests.unit.machine.machine_parties import make_record
from tests.unit.wire.samples import INVITATION, LINK_CODE, LIST, RECORDS
from tests.vectors.core_parties import NOW, Party
from tests.vectors.core_vectors import PATH
from tests.vectors.layers import waiting_device

FROZEN: Final[dict[str, Any]] = json.loads(PATH.read_text())
ALICE, BOB = Party("alice"), Party("bob")
STATE: Final = bytes.fromhex(FROZEN["state"])
ENVELOPES: Final = tuple(bytes.fromhex(one["bytes"]) for one in FROZEN["envelopes"])
IDS: Final = tuple(EnvelopeId(one["id"]) for one in FROZEN["envelopes"])
BUNDLE: Final = bytes.fromhex(FROZEN["bundle"])
FIRST: Final = ENVELOPE.decode(ENVELOPES[0])
LAST: Final = ENVELOPE.decode(ENVELOPES[3])
RETURN_INVITATION: Final = ReturnInvitation(INVITATION, Standing(True, DeviceNumber(2), LIST))
SEALING: Final = HpkeKeyPair.from_private_bytes(ALICE.keys.draw(96))


@dataclass(frozen=True)
class Target:
    """One decoder: what is called, what it may raise, and honest inputs to start from."""

    call: Callable[[bytes], None]
    refuses: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    weight: float = 1.0
    """Its share of the inputs; slow ones get fewer."""


def run(target: Target, data: bytes) -> bool:
    """Tell whether ``data`` was accepted; anything but acceptance or a documented error raises."""
    try:
        target.call(data)
    except target.refuses:
        return False
    return True


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _record(codec: Codec[Any], sample: Any) -> Callable[[bytes], None]:
    strict = Codec(type(sample), MAX_PACKET_BYTES)

    def call(data: bytes) -> None:
        record = codec.decode(data)
        assert encode(record) == data
        assert strict.decode(data) == record

    return call


def _pq_message(data: bytes) -> None:
    assert encode_pq_message(decode_pq_message(data)) == data


def _padding(data: bytes) -> None:
    assert pad(unpad(data)) == data


def _message_body(data: bytes) -> None:
    assert encode_message_body(decode_message_body(data)) == data


def _copy_body(data: bytes) -> None:
    copy = decode_copy_body(data)
    assert encode(copy) == data
    assert decode_message_body(encode_message_body(copy.message)) == copy.message


def _header(data: bytes) -> None:
    try:
        decoded_header(EnvelopeKind.PREKEY_MESSAGE, data)
    except ProtocolError:
        decoded_header(EnvelopeKind.MESSAGE, data)


def _topic(data: bytes) -> None:
    text, refused = _text(data), 0
    for parse_topic in (
        lambda one: topics.inbox(*topics.parse_inbox(one)),
        lambda one: topics.request(*topics.parse_request(one)),
        lambda one: topics.enroll(topics.parse_enroll(one)),
    ):
        try:
            assert parse_topic(text) == text
        except ProtocolError:
            refused += 1
    assert refused >= 2
    for parse_id in (topics.parse_event, topics.parse_reply):
        try:
            assert text.endswith(parse_id(text))
        except ProtocolError:
            refused += 1
    assert refused >= 4


def _name(data: bytes) -> None:
    text = _text(data)
    user, number = split_address(text)
    assert f"{parse_user(user)}-{number}" == text


def _invitation(data: bytes) -> None:
    line = _text(data)
    found = parse_any_invitation(line)
    assert format_invitation(found) == line.strip()
    plain = found.invitation if isinstance(found, ReturnInvitation) else found
    assert parse_invitation(line) == plain


def _link_code(data: bytes) -> None:
    line = _text(data)
    assert format_link_code(parse_link_code(line)) == line.strip()


def _broker_url(data: bytes) -> None:
    address = parse_broker_url(_text(data))
    assert 0 < address.port < 2**16
    assert parse_broker_url(f"{address.scheme}://{address.authority}{address.path}") == address


def _linking_record(data: bytes) -> None:
    record = LINKING_RECORD.decode(data)
    assert encode(record) == data
    assert record.code.address


def _recovery_code(data: bytes) -> None:
    account = decode_recovery_code(_text(data))
    assert decode_recovery_code(encode_recovery_code(account)) == account


def _scan(data: bytes) -> None:
    scanned = _text(data)
    assert matches(FROZEN["safety_number"], scanned) == (scanned == FROZEN["safety_number"])


def _state(data: bytes) -> None:
    record = parse_record(data)
    assert parse_record(serialize_record(record)) == record


def _own_device(data: bytes) -> None:
    assert encode_device(DEVICE_RECORD.decode(data)) == data


def _device_list(data: bytes) -> None:
    device_list = DEVICE_LIST.decode(data)
    verify_device_list(device_list)
    verify_endorsements(device_list)


def _bundle(data: bytes) -> None:
    verify_bundle(PREKEY_BUNDLE.decode(data), NOW)


def _session() -> Session:
    current = parse_record(STATE).current
    assert current is not None
    return current


SESSION: Final = _session()


def _opened(envelope: Envelope) -> None:
    before = SESSION
    session, _ = decrypt(before, IDS[3], envelope)
    assert (envelope, session.acknowledged) == (LAST, True), "a forged envelope opened"


def _message(data: bytes) -> None:
    _opened(ENVELOPE.decode(data))


def _message_header(data: bytes) -> None:
    _opened(LAST._replace(header=data))


def _ciphertext(data: bytes) -> None:
    _opened(LAST._replace(ciphertext=data))


def _first(envelope: Envelope) -> None:
    header = handshake_of(envelope)
    if header is None:
        return
    prekeys = BOB.prekeys(one_time=header.handshake.one_time_prekey_id is not None)
    session = accept_session(BOB.local(), ALICE.remote(), prekeys, header)
    decrypt(session, IDS[0], envelope)
    assert envelope == FIRST, "a forged first message opened"


def _first_message(data: bytes) -> None:
    _first(ENVELOPE.decode(data))


def _first_header(data: bytes) -> None:
    _first(FIRST._replace(header=data))


def _sealed(data: bytes) -> None:
    assert SEALING.open(data, b"info") == b"honest"


def _sealing_key(data: bytes) -> None:
    parse_hpke_public(data)


HONEST: Final = {"envelope": ENVELOPES, "ratchet header": (LAST.header,)}
_PROTOCOL: Final = (ProtocolError,)

TARGETS: Final[dict[str, Target]] = {
    **{
        name: Target(_record(codec, sample), _PROTOCOL, (encode(sample), *HONEST.get(name, ())))
        for name, (codec, sample) in RECORDS.items()
    },
    "pq message": Target(
        _pq_message, _PROTOCOL, tuple(map(bytes.fromhex, FROZEN["epoch"]["pq_messages"][:2]))
    ),
    "padding": Target(_padding, _PROTOCOL, (pad(b""), pad(b"text"), pad(bytes(300)))),
    "message text": Target(_message_body, _PROTOCOL, (encode(RECORDS["message body"][1]),)),
    "text of a copy": Target(_copy_body, _PROTOCOL, (encode(RECORDS["copy body"][1]),)),
    "header": Target(_header, _PROTOCOL, (FIRST.header, LAST.header)),
    "topic": Target(
        _topic,
        (),
        (
            f"v1/u/bob-1/in/alice-1/{IDS[0]}".encode(),
            f"v1/kd/req/alice-1/{IDS[0]}".encode(),
            f"v1/u/alice-1/kd/event/{IDS[0]}".encode(),
            f"v1/kd/enroll/{IDS[0]}".encode(),
        ),
    ),
    "address": Target(_name, (InvalidNameError,), (b"alice-1", b"a_b-127")),
    "invitation": Target(
        _invitation, (InvalidInvitationError,), (format_invitation(INVITATION).encode(),)
    ),
    "return invitation": Target(
        _invitation, (InvalidInvitationError,), (format_invitation(RETURN_INVITATION).encode(),)
    ),
    "link code": Target(
        _link_code, (InvalidInvitationError,), (format_link_code(LINK_CODE).encode(),)
    ),
    "broker address": Target(
        _broker_url,
        (InvalidBrokerUrlError,),
        (
            b"mqtt://127.0.0.1:1883",
            b"mqtts://mq.example.org",
            b"ws://[::1]:8080/mqtt",
            b"wss://mq.example.org/a/b",
        ),
    ),
    "recovery code": Target(
        _recovery_code, (InvalidRecoveryCodeError,), (FROZEN["recovery_code"].encode(),)
    ),
    "safety number scan": Target(_scan, (), (FROZEN["safety_number"].encode(),)),
    "session state": Target(
        _state,
        (StateFormatError, NewerStateError),
        (STATE, bytes.fromhex(FROZEN["epoch"]["state_before"])),
        weight=0.5,
    ),
    "own device": Target(_own_device, _PROTOCOL, (encode_device(make_record("alice")),)),
    "device that waits to be linked": Target(
        _linking_record, _PROTOCOL, (encode(waiting_device()),)
    ),
    "device list with signatures": Target(
        _device_list, _PROTOCOL, (encode(BOB.device_list()),), weight=0.5
    ),
    "bundle with signatures": Target(_bundle, (ProtocolError, StaleBundleError), (BUNDLE,), 0.5),
    "message": Target(_message, _PROTOCOL, ENVELOPES[3:]),
    "header of a message": Target(_message_header, _PROTOCOL, (LAST.header,), weight=0.5),
    "ciphertext of a message": Target(_ciphertext, _PROTOCOL, (LAST.ciphertext,)),
    "first message": Target(_first_message, _PROTOCOL, ENVELOPES[:1]),
    "header of a first message": Target(_first_header, _PROTOCOL, (FIRST.header,), weight=0.5),
    "sealed enrolment": Target(
        _sealed, (AuthenticationError,), (seal(SEALING.public, b"honest", b"info"),), weight=0.5
    ),
    "sealing key": Target(_sealing_key, _PROTOCOL, (SEALING.public,)),
    "mqtt": Target(mqtt.read_all, _PROTOCOL, mqtt.HONEST, weight=0.5),
}
