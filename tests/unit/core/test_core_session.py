"""Sessions end to end: what opens, what does not, and that failing changes nothing."""

from collections.abc import Callable

import pytest

from client_sdk.core.errors import (
    AuthenticationError,
    DuplicateMessageError,
    SkippedTooFarError,
    UnknownSessionError,
)
from client_sdk.core.session import (
    Role,
    Session,
    accept_session,
    decrypt,
    encrypt,
    handshake_of,
    keys_wanted,
    session_tag_of,
)
from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.wire.codec import encode
from client_sdk.wire.envelope import ENVELOPE, PREKEY_HEADER, RATCHET_HEADER, EnvelopeKind
from client_sdk.wire.errors import MalformedError, MisuseError, ProtocolError
from client_sdk.wire.limits import PADDING_BUCKETS
from tests.vectors.core_parties import (
    Party,
    Sent,
    accept_first,
    established,
    padded,
    receive,
    send,
    start,
)


def stored(session: Session) -> bytes:
    return serialize_record(SessionRecord(session))


def test_a_first_message_and_its_reply() -> None:
    alice, bob = Party("alice"), Party("bob")
    ours, first = send(start(alice, bob), alice.keys, "hello")
    assert first.envelope.kind == EnvelopeKind.PREKEY_MESSAGE
    theirs, text = accept_first(bob, alice, first)
    assert text == "hello"
    assert theirs.acknowledged
    assert not ours.acknowledged
    assert (ours.session_id, ours.tag) == (theirs.session_id, theirs.tag)
    assert (ours.role, theirs.role) == (Role.INITIATOR, Role.RESPONDER)
    assert (ours.local, ours.remote) == (theirs.remote, theirs.local) == ("alice-1", "bob-1")
    assert ours.local_account_key == theirs.remote_account_key == alice.local().account_key
    assert ours.remote_account_key == theirs.local_account_key == bob.local().account_key
    theirs, reply = send(theirs, bob.keys, "hi")
    assert reply.envelope.kind == EnvelopeKind.MESSAGE
    ours, text = receive(ours, reply)
    assert text == "hi"
    assert ours.acknowledged


def test_the_handshake_goes_along_until_the_first_reply_is_decrypted() -> None:
    alice, bob = Party("alice"), Party("bob")
    ours, first = send(start(alice, bob), alice.keys, "1")
    ours, second = send(ours, alice.keys, "2")
    ours, third = send(ours, alice.keys, "3")
    assert third.envelope.kind == EnvelopeKind.PREKEY_MESSAGE
    theirs, text = accept_first(bob, alice, second)
    assert text == "2"
    theirs, text = receive(theirs, third)
    assert text == "3"
    theirs, reply = send(theirs, bob.keys)
    theirs, text = receive(theirs, first)
    assert text == "1"
    ours, _ = receive(ours, reply)
    _, fourth = send(ours, alice.keys, "4")
    assert fourth.envelope.kind == EnvelopeKind.MESSAGE
    assert receive(theirs, fourth)[1] == "4"


def test_a4_a_repeated_message_is_refused_and_changes_nothing() -> None:
    alice, bob = Party("alice"), Party("bob")
    _, first = send(start(alice, bob), alice.keys)
    theirs, _ = accept_first(bob, alice, first)
    before = stored(theirs)
    for _ in range(3):
        with pytest.raises(DuplicateMessageError):
            receive(theirs, first)
    assert stored(theirs) == before
    with pytest.raises(DuplicateMessageError):
        receive(parse_record(before).current or theirs, first)


def test_a_message_of_another_session_is_unknown() -> None:
    ours, _, alice, bob = established()
    other, first = send(start(alice, bob), alice.keys)
    theirs, _ = accept_first(bob, alice, first)
    assert session_tag_of(first.envelope) == other.tag != ours.tag
    _, reply = send(theirs, bob.keys)
    with pytest.raises(UnknownSessionError):
        receive(ours, reply)


def test_another_handshake_under_the_same_tag_is_refused() -> None:
    alice, bob = Party("alice"), Party("bob")
    ours, first = send(start(alice, bob), alice.keys)
    theirs, _ = accept_first(bob, alice, first)
    _, second = send(ours, alice.keys)
    header = handshake_of(second.envelope)
    assert header is not None
    changed = header._replace(handshake=header.handshake._replace(signed_prekey_id=99))
    envelope = second.envelope._replace(header=encode(changed))
    with pytest.raises(AuthenticationError, match="another handshake"):
        decrypt(theirs, second.envelope_id, envelope)


def test_an_initiator_takes_no_prekey_message_of_its_own_session() -> None:
    alice, bob = Party("alice"), Party("bob")
    ours, first = send(start(alice, bob), alice.keys)
    with pytest.raises(AuthenticationError, match="another handshake"):
        receive(ours, first)


def test_a_handshake_whose_message_names_another_tag_is_refused() -> None:
    alice, bob = Party("alice"), Party("bob")
    _, first = send(start(alice, bob), alice.keys)
    header = handshake_of(first.envelope)
    assert header is not None
    changed = header._replace(ratchet=header.ratchet._replace(session_tag=bytes(8)))
    with pytest.raises(AuthenticationError, match="another session"):
        accept_session(bob.local(), alice.remote(), bob.prekeys(), changed)


def test_only_prekey_messages_have_a_handshake() -> None:
    ours, _, alice, _ = established()
    _, sent = send(ours, alice.keys)
    assert handshake_of(sent.envelope) is None


@pytest.mark.parametrize("place", [b"", b"x", bytes(7), bytes(9), bytes(105), bytes(106)])
def test_a_place_that_holds_no_post_quantum_message_is_malformed(place: bytes) -> None:
    ours, theirs, alice, _ = established()
    _, sent = send(ours, alice.keys)
    header = RATCHET_HEADER.decode(sent.envelope.header)
    assert header.pq_message == bytes(8)
    filled = sent.envelope._replace(header=encode(header._replace(pq_message=place)))
    with pytest.raises(MalformedError):
        decrypt(theirs, sent.envelope_id, filled)
    with pytest.raises(MalformedError):
        session_tag_of(filled)


@pytest.mark.parametrize("size", [0, 64, 255, 257, 64 * 1024 + 1])
def test_content_that_is_not_padded_is_misuse(size: int) -> None:
    ours, _, alice, _ = established()
    with pytest.raises(MisuseError):
        encrypt(ours, alice.keys.envelope_id(), bytes(size), alice.keys.fresh(keys_wanted(ours)))


@pytest.mark.parametrize("size", PADDING_BUCKETS)
def test_every_bucket_travels(size: int) -> None:
    ours, theirs, alice, _ = established()
    envelope_id = alice.keys.envelope_id()
    _, data = encrypt(ours, envelope_id, bytes(size), alice.keys.fresh(keys_wanted(ours)))
    assert decrypt(theirs, envelope_id, ENVELOPE.decode(data))[1] == bytes(size)


def test_sending_without_a_needed_ratchet_key_changes_nothing() -> None:
    ours, _, alice, _ = established()
    assert keys_wanted(ours).ratchet_key
    before = stored(ours)
    with pytest.raises(MisuseError):
        encrypt(ours, alice.keys.envelope_id(), padded("text"))
    assert stored(ours) == before


def refused(session: Session, sent: Sent, data: bytes) -> None:
    before = stored(session)
    with pytest.raises(ProtocolError):
        decrypt(session, sent.envelope_id, ENVELOPE.decode(data))
    assert stored(session) == before


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a13_every_bit_of_a_message_counts_and_no_flip_changes_the_state() -> None:
    ours, theirs, alice, _ = established()
    ours, _ = send(ours, alice.keys)
    _, sent = send(ours, alice.keys)
    for bit in range(len(sent.data) * 8):
        refused(theirs, sent, flipped(sent.data, bit))
    assert receive(theirs, sent)[1] == "text"


def test_a13_every_bit_of_a_prekey_message_counts_and_no_flip_changes_the_state() -> None:
    alice, bob = Party("alice"), Party("bob")
    ours, first = send(start(alice, bob), alice.keys)
    theirs, _ = accept_first(bob, alice, first)
    _, second = send(ours, alice.keys)
    for bit in range(len(second.data) * 8):
        refused(theirs, second, flipped(second.data, bit))
    assert receive(theirs, second)[1] == "text"


def test_a13_no_flipped_bit_of_a_first_message_makes_a_session() -> None:
    alice, bob = Party("alice"), Party("bob")
    _, first = send(start(alice, bob), alice.keys)

    def accept_and_open(data: bytes) -> None:
        envelope = ENVELOPE.decode(data)
        header = handshake_of(envelope)
        if header is None:
            raise MalformedError("not a prekey message")
        session = accept_session(bob.local(), alice.remote(), bob.prekeys(), header)
        decrypt(session, first.envelope_id, envelope)

    accept_and_open(first.data)
    for bit in range(0, len(first.data) * 8, 41):
        with pytest.raises(ProtocolError):
            accept_and_open(flipped(first.data, bit))


def test_a47_a_message_opens_in_its_own_place_only() -> None:
    ours, theirs, alice, bob = established()
    _, sent = send(ours, alice.keys)
    with pytest.raises(AuthenticationError):
        decrypt(theirs, alice.keys.envelope_id(), sent.envelope)
    other = start(alice, bob)
    other, first = send(other, alice.keys)
    elsewhere, _ = accept_first(bob, alice, first)
    with pytest.raises(UnknownSessionError):
        receive(elsewhere, sent)
    with pytest.raises((AuthenticationError, DuplicateMessageError)):
        receive(ours, sent)


def test_a19_a_message_relabelled_as_another_kind_is_refused() -> None:
    ours, theirs, alice, _ = established()
    _, sent = send(ours, alice.keys)
    relabelled = sent.envelope._replace(kind=int(EnvelopeKind.PREKEY_MESSAGE))
    with pytest.raises(MalformedError):
        decrypt(theirs, sent.envelope_id, relabelled)
    alice, bob = Party("alice"), Party("bob")
    _, first = send(start(alice, bob), alice.keys)
    theirs, _ = accept_first(bob, alice, first)
    inner = encode(PREKEY_HEADER.decode(first.envelope.header).ratchet)
    stripped = first.envelope._replace(kind=int(EnvelopeKind.MESSAGE), header=inner)
    with pytest.raises((AuthenticationError, DuplicateMessageError)):
        decrypt(theirs, first.envelope_id, stripped)


def test_a12_a_forged_jump_changes_nothing() -> None:
    ours, theirs, alice, _ = established()
    _, sent = send(ours, alice.keys)
    header = RATCHET_HEADER.decode(sent.envelope.header)
    for number in (1001, 2**31, 2**32 - 1):
        forged = encode(header._replace(message_number=number))
        before = stored(theirs)
        with pytest.raises(SkippedTooFarError):
            decrypt(theirs, sent.envelope_id, sent.envelope._replace(header=forged))
        assert stored(theirs) == before


def test_a14_a_restored_snapshot_never_gives_two_texts_one_nonce_relation() -> None:
    """The same key and nonce are used again; GCM-SIV shows only whether the texts are equal."""
    ours, _, alice, _ = established()
    fresh, envelope_id = alice.keys.fresh(keys_wanted(ours)), alice.keys.envelope_id()
    one = ENVELOPE.decode(encrypt(ours, envelope_id, padded("one"), fresh)[1]).ciphertext
    two = ENVELOPE.decode(encrypt(ours, envelope_id, padded("two"), fresh)[1]).ciphertext
    keystreams = [
        bytes(a ^ b for a, b in zip(sealed, padded(text), strict=False))
        for sealed, text in ((one, "one"), (two, "two"))
    ]
    assert keystreams[0][:32] != keystreams[1][:32]


def test_a53_nothing_secret_shows_in_a_repr() -> None:
    ours, theirs, alice, bob = established()
    shown = repr((ours, theirs, alice.local(), bob.prekeys()))
    assert ours.ratchet.receiving is not None
    secrets: list[bytes] = [
        *ours.ratchet.roots[:2],
        *ours.ratchet.receiving.keys,
        ours.ratchet.own.private_bytes(),
        alice.identity.private_bytes(),
        bob.signed_prekey.private_bytes(),
    ]
    for secret in secrets:
        assert repr(secret)[2:-1] not in shown


def test_failures_say_that_nothing_changed_and_name_no_key() -> None:
    ours, theirs, alice, _ = established()
    ours, sent = send(ours, alice.keys)
    theirs, _ = receive(theirs, sent)
    wrong: list[Callable[[], object]] = [
        lambda: receive(theirs, sent),
        lambda: decrypt(theirs, sent.envelope_id, sent.envelope._replace(kind=1)),
    ]
    for attempt in wrong:
        with pytest.raises(ProtocolError) as caught:
            attempt()
        assert caught.value.code != "protocol_error"
        assert len(str(caught.value)) < 200
