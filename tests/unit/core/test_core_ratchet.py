"""The ratchet: which key a position has, what is kept, and what is refused before deriving."""

import pytest

from client_sdk.core import chain as chains
from client_sdk.core import ratchet
from client_sdk.core.chain import (
    MAX_CHAIN_LENGTH,
    MAX_JUMP,
    Reach,
    SendingChain,
    next_to_send,
)
from client_sdk.core.errors import (
    AuthenticationError,
    ChainExhaustedError,
    DuplicateMessageError,
    InvalidKeyError,
    SkippedTooFarError,
)
from client_sdk.core.kdf import ChainKey, MessageKey, PqRootKey, RootKey
from client_sdk.core.keys import EncodedX25519
from client_sdk.core.ratchet import (
    MAX_RECEIVING_CHAINS,
    MAX_SKIPPED_KEYS,
    Position,
    RatchetState,
    keys_wanted,
    needs_ratchet_key,
    start_initiator,
    start_responder,
)
from client_sdk.core.triple_ratchet import ChainKeys, Passed, RootKeys
from client_sdk.wire.codec import encode
from client_sdk.wire.encoded_keys import RatchetKey
from client_sdk.wire.envelope import MAX_MESSAGE_NUMBER, RATCHET_HEADER, RatchetHeader
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.pq_message import encode_pq_message
from tests.vectors.core_parties import Keys

KEYS = Keys(b"ratchet")
ROOTS = RootKeys(RootKey(b"e" * 32), PqRootKey(b"p" * 32))
CHAIN_KEYS = ChainKeys(ChainKey(b"a" * 32), ChainKey(b"b" * 32))
Message = tuple[Position, MessageKey]


def pair() -> tuple[RatchetState, RatchetState]:
    prekey = KEYS.x25519()
    return (
        start_initiator(ROOTS, prekey.public, KEYS.x25519()),
        start_responder(ROOTS, prekey),
    )


def send(state: RatchetState) -> tuple[RatchetState, Message]:
    state, position, key = ratchet.send(state, KEYS.fresh(keys_wanted(state)))
    return state, (position, key)


def send_many(state: RatchetState, count: int) -> tuple[RatchetState, list[Message]]:
    messages = []
    for _ in range(count):
        state, message = send(state)
        messages.append(message)
    return state, messages


def receive(state: RatchetState, message: Message) -> RatchetState:
    position, expected = message

    def open_message(key: MessageKey) -> bytes:
        if key != expected:
            raise AuthenticationError("another key")
        return b"opened"

    state, plaintext = ratchet.receive(state, position, open_message)
    assert plaintext == b"opened"
    return state


def refuse(_key: MessageKey) -> bytes:
    raise AuthenticationError("nothing opens")


def kept(state: RatchetState) -> int:
    here = len(state.receiving.skipped) if state.receiving else 0
    return here + sum(len(chain.skipped) for chain in state.closed)


def test_messages_in_order_leave_no_skipped_keys() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 5)
    for message in messages:
        theirs = receive(theirs, message)
    assert kept(theirs) == 0
    assert len({key for _, key in messages}) == 5


def test_a_new_chain_starts_only_after_the_peers_new_key() -> None:
    ours, theirs = pair()
    ours, first = send(ours)
    assert not needs_ratchet_key(ours)
    theirs = receive(theirs, first)
    assert needs_ratchet_key(theirs)
    theirs, reply = send(theirs)
    ours = receive(ours, reply)
    assert needs_ratchet_key(ours)
    before = ours.own.public
    ours, second = send(ours)
    assert ours.own.public != before
    assert second[0].previous_chain_length == 1
    receive(theirs, second)


def test_a5_the_responder_never_sends_under_its_signed_prekey() -> None:
    ours, theirs = pair()
    ours, first = send(ours)
    prekey = theirs.own.public
    theirs, reply = send(receive(theirs, first))
    assert reply[0].ratchet_key != prekey


def test_sending_without_what_it_needs_is_misuse() -> None:
    ours, theirs = pair()
    with pytest.raises(MisuseError):
        ratchet.send(theirs, KEYS.fresh(keys_wanted(theirs)))
    _, first = send(ours)
    with pytest.raises(MisuseError):
        ratchet.send(receive(theirs, first))


def test_a_late_message_of_the_current_chain_opens_once() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 3)
    theirs = receive(theirs, messages[2])
    assert kept(theirs) == 2
    theirs = receive(theirs, messages[0])
    with pytest.raises(DuplicateMessageError):
        receive(theirs, messages[0])
    with pytest.raises(DuplicateMessageError):
        receive(theirs, messages[2])
    theirs = receive(theirs, messages[1])
    assert kept(theirs) == 0


def turn(ours: RatchetState, theirs: RatchetState) -> tuple[RatchetState, RatchetState]:
    """One message each way: both chains are new afterwards."""
    ours, message = send(ours)
    theirs, reply = send(receive(theirs, message))
    return receive(ours, reply), theirs


def test_a_message_stays_readable_however_often_the_conversation_turned_since() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 60)
    theirs = receive(theirs, messages[0])
    for message in messages[1:30] + messages[31:]:
        theirs = receive(theirs, message)
    theirs, replies = send_many(theirs, 60)
    for reply in replies:
        ours = receive(ours, reply)
    for _ in range(20):
        ours, theirs = turn(ours, theirs)
    assert kept(theirs) == 1
    theirs = receive(theirs, messages[30])
    assert kept(theirs) == 0
    with pytest.raises((DuplicateMessageError, AuthenticationError)):
        receive(theirs, messages[30])


def test_a_repeated_message_is_known_as_such_in_the_last_five_chains() -> None:
    ours, theirs = pair()
    ours, message = send(ours)
    theirs, reply = send(receive(theirs, message))
    ours = receive(ours, reply)
    for _ in range(MAX_RECEIVING_CHAINS - 1):
        with pytest.raises(DuplicateMessageError):
            receive(theirs, message)
        ours, theirs = turn(ours, theirs)
    assert len(theirs.closed) == MAX_RECEIVING_CHAINS - 1
    with pytest.raises(DuplicateMessageError):
        receive(theirs, message)
    ours, theirs = turn(ours, theirs)
    assert len(theirs.closed) == MAX_RECEIVING_CHAINS - 1
    with pytest.raises(AuthenticationError):
        receive(theirs, message)


def test_a_number_past_the_end_of_a_closed_chain_is_refused() -> None:
    ours, theirs = pair()
    ours, (position, key) = send(ours)
    ours, theirs = turn(ours, receive(theirs, (position, key)))
    ours, theirs = turn(ours, theirs)
    with pytest.raises(DuplicateMessageError):
        receive(theirs, (position._replace(message_number=9), key))


def test_a12_a_jump_at_the_limit_is_taken_and_one_more_is_refused() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, MAX_JUMP + 3)
    with pytest.raises(SkippedTooFarError):
        receive(theirs, messages[MAX_JUMP + 1])
    theirs = receive(theirs, messages[0])
    with pytest.raises(SkippedTooFarError):
        receive(theirs, messages[MAX_JUMP + 2])
    theirs = receive(theirs, messages[MAX_JUMP + 1])
    assert kept(theirs) == MAX_JUMP


def test_a12_the_first_message_of_a_chain_may_jump_to_the_limit() -> None:
    ours, theirs = pair()
    _, messages = send_many(ours, MAX_JUMP + 1)
    assert kept(receive(theirs, messages[MAX_JUMP])) == MAX_JUMP


def test_a12_closing_a_chain_obeys_the_same_limit() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, MAX_JUMP + 2)
    theirs = receive(theirs, messages[0])
    theirs, reply = send(theirs)
    _, (position, key) = send(receive(ours, reply))
    assert position.previous_chain_length == MAX_JUMP + 2
    with pytest.raises(SkippedTooFarError):
        receive(theirs, (position, key))
    theirs = receive(theirs, messages[1])
    theirs = receive(theirs, (position, key))
    assert kept(theirs) == MAX_JUMP
    assert receive(theirs, messages[500]).closed[0].next_number == MAX_JUMP + 2


@pytest.mark.parametrize("number", [MAX_JUMP + 1, 2**31, MAX_MESSAGE_NUMBER])
def test_a12_huge_numbers_are_refused_before_any_derivation(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair()
    ours, (position, key) = send(ours)
    theirs = receive(theirs, (position, key))

    def derived(*_: object) -> None:
        pytest.fail("a key was derived")

    for module, name in (
        (chains, "pass_over"),
        (chains, "next_message_key"),
        (ratchet, "next_message_key"),
        (ratchet, "new_chain"),
    ):
        monkeypatch.setattr(module, name, derived)
    other = position._replace(ratchet_key=KEYS.x25519().public)
    for forged in (
        position._replace(message_number=number + 1),
        other._replace(message_number=number),
        other._replace(previous_chain_length=number + 1),
    ):
        with pytest.raises(SkippedTooFarError):
            ratchet.receive(theirs, forged, refuse)


def test_a12_skipped_keys_are_kept_to_the_limit_and_then_the_oldest_give_way() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 2 * MAX_JUMP + 3)
    theirs = receive(theirs, messages[MAX_JUMP])
    theirs = receive(theirs, messages[2 * MAX_JUMP + 1])
    assert kept(theirs) == MAX_SKIPPED_KEYS
    receive(theirs, messages[0])
    theirs, reply = send(theirs)
    ours, late = send(receive(ours, reply))
    theirs = receive(theirs, late)
    assert kept(theirs) == MAX_SKIPPED_KEYS
    with pytest.raises(DuplicateMessageError):
        receive(theirs, messages[0])
    receive(theirs, messages[1])
    receive(theirs, messages[2 * MAX_JUMP + 2])


def test_a12_within_one_chain_the_oldest_give_way_too() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 2 * MAX_JUMP + 4)
    theirs = receive(theirs, messages[MAX_JUMP])
    theirs = receive(theirs, messages[2 * MAX_JUMP + 1])
    theirs = receive(theirs, messages[2 * MAX_JUMP + 3])
    assert kept(theirs) == MAX_SKIPPED_KEYS
    with pytest.raises(DuplicateMessageError):
        receive(theirs, messages[0])
    receive(theirs, messages[1])


def test_a_previous_length_below_what_has_come_closes_the_chain_as_it_is() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 2)
    for message in messages:
        theirs = receive(theirs, message)
    theirs, reply = send(theirs)
    _, (position, key) = send(receive(ours, reply))
    theirs = receive(theirs, (position._replace(previous_chain_length=0), key))
    assert theirs.closed[0].next_number == 2


def test_a_second_new_key_without_a_send_between_keeps_the_sent_length() -> None:
    ours, theirs = pair()
    ours, theirs = turn(ours, theirs)
    theirs, _ = send_many(theirs, 2)
    length = theirs.sending.next_number if theirs.sending else 0
    ours, message = send(ours)
    theirs = receive(theirs, message)
    assert theirs.previous_chain_length == length
    odd = Position(KEYS.x25519().public, 1, 0)
    theirs, _ = ratchet.receive(theirs, odd, lambda _key: b"opened")
    assert theirs.previous_chain_length == length


def test_a13_whatever_fails_to_open_leaves_the_state_as_it_was() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 4)
    theirs = receive(theirs, messages[2])
    before = theirs._replace()
    for position in (
        messages[3][0],
        messages[0][0],
        Position(KEYS.x25519().public, 3, 1),
    ):
        with pytest.raises(AuthenticationError):
            ratchet.receive(theirs, position, refuse)
    assert theirs == before
    receive(theirs, messages[0])


def test_a1_a_bad_ratchet_key_is_refused() -> None:
    _, theirs = pair()
    with pytest.raises(InvalidKeyError):
        ratchet.receive(theirs, Position(EncodedX25519(b"\x01" + bytes(32)), 0, 0), refuse)


def test_a_sending_chain_ends_at_its_last_number() -> None:
    chain, _ = next_to_send(SendingChain(CHAIN_KEYS, MAX_CHAIN_LENGTH - 1))
    assert chain.next_number == MAX_CHAIN_LENGTH
    with pytest.raises(ChainExhaustedError):
        next_to_send(chain)


def test_the_length_of_a_used_up_chain_still_goes_into_the_headers_of_the_next_one() -> None:
    ours, theirs = pair()
    ours, message = send(ours)
    assert ours.sending is not None
    full = ours._replace(sending=ours.sending._replace(next_number=MAX_CHAIN_LENGTH))
    _, reply = send(receive(theirs, message))
    _, (position, _) = send(receive(full, reply))
    key, length, number, pq = position
    header = RatchetHeader(bytes(8), RatchetKey(key), length, number, encode_pq_message(pq))
    assert length == MAX_CHAIN_LENGTH
    assert RATCHET_HEADER.decode(encode(header)) == header


def test_a53_no_key_shows_in_a_repr() -> None:
    ours, theirs = pair()
    ours, messages = send_many(ours, 3)
    theirs = receive(theirs, messages[2])
    shown = repr((ours, theirs, ROOTS, CHAIN_KEYS))
    shown += repr(Reach(Passed(*([key] for key in CHAIN_KEYS)), CHAIN_KEYS, messages[0][1]))
    secrets = [*ROOTS[:2], *CHAIN_KEYS, *(key for _, key in messages), ours.own.private_bytes()]
    assert ours.sending is not None
    for secret in [*secrets, *ours.sending.keys, *ours.roots[:2]]:
        assert repr(secret)[2:-1] not in shown
