"""The Triple Ratchet on one frozen record; a step returns the next record or raises.

Source: Signal, The Double Ratchet Algorithm, revision 4, sections 3 (Double Ratchet) and 5 (Triple
Ratchet). Epochs begin with a chain here, so one skipped key is enough for a message.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from client_sdk.core import pq_ratchet
from client_sdk.core.chain import (
    ClosedChain,
    ReceivingChain,
    SendingChain,
    chain_tag,
    check_jump,
    close,
    next_to_send,
    reach,
    skipped_keys,
)
from client_sdk.core.errors import DuplicateMessageError
from client_sdk.core.fresh_keys import NO_KEYS, NOTHING_WANTED, FreshKeys, WantedKeys
from client_sdk.core.kdf import MessageKey
from client_sdk.core.keys import EncodedX25519, X25519KeyPair
from client_sdk.core.pq_ratchet import Answering, PqRatchet
from client_sdk.core.skipped_keys import NO_SKIPPED_KEYS
from client_sdk.core.triple_ratchet import RootKeys, new_chain, next_message_key
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.pq_message import PqMessage

MAX_SKIPPED_KEYS: Final = 2000
"""Keys a session keeps for messages that have not come; the oldest give way."""

MAX_RECEIVING_CHAINS: Final = 5
"""Receiving chains a session remembers, the newest included. A closed chain that still waits for
a message is not counted: the skipped keys bound those, and a late message stays readable however
often the conversation has turned since."""

OpenMessage = Callable[[MessageKey], bytes]
"""Opens one ciphertext under a key, or raises AuthenticationError."""


class Position(NamedTuple):
    """Where a message's key lies, as its header says, and what its header brings."""

    ratchet_key: EncodedX25519
    previous_chain_length: int
    message_number: int
    pq: PqMessage = PqMessage()


class RatchetState(NamedTuple):
    """One side of a Double Ratchet.

    Attributes:
        roots: Both root keys.
        pq: The post-quantum ratchet.
        own: The key pair of the newest sending chain; before the first, the pair that the
            peer's first step is made against.
        sending: None until a fresh pair makes the next sending chain.
        receiving: None until the peer's first message.
        closed: Older receiving chains, the oldest first.
        previous_chain_length: Messages in the sending chain before ``sending``.
    """

    roots: RootKeys
    pq: PqRatchet
    own: X25519KeyPair
    sending: SendingChain | None = None
    receiving: ReceivingChain | None = None
    closed: tuple[ClosedChain, ...] = ()
    previous_chain_length: int = 0


def start_initiator(
    roots: RootKeys, signed_prekey: bytes, ratchet_pair: X25519KeyPair
) -> RatchetState:
    """Return the initiator's state: one step against the signed prekey has been made.

    Raises:
        InvalidKeyError: ``signed_prekey`` is not a good key.
    """
    roots, keys = new_chain(roots, ratchet_pair.exchange(signed_prekey))
    return RatchetState(roots, pq_ratchet.start_initiator(), ratchet_pair, SendingChain(keys))


def start_responder(roots: RootKeys, signed_prekey: X25519KeyPair) -> RatchetState:
    """Return the responder's state: its first ratchet pair is the signed prekey."""
    return RatchetState(roots, pq_ratchet.start_responder(), signed_prekey)


def needs_ratchet_key(state: RatchetState) -> bool:
    """Tell whether the next send needs a fresh ratchet key pair."""
    return state.sending is None


def keys_wanted(state: RatchetState) -> WantedKeys:
    """Return what the next send takes."""
    turns = state.sending is None
    if not turns and pq_ratchet.wants_nothing(state.pq):
        return NOTHING_WANTED
    pair = pq_ratchet.kem_pair_wanted(state.pq)
    key = None
    if turns or state.roots.waiting is None:
        key = pq_ratchet.encapsulation_wanted(state.pq)
    return WantedKeys(turns, pair, key)


def send(
    state: RatchetState, fresh: FreshKeys = NO_KEYS
) -> tuple[RatchetState, Position, MessageKey]:
    """Take the next sending position: the state to commit, the header's part and the key.

    Args:
        state: The state before.
        fresh: What ``keys_wanted`` names, never used before; anything else is ignored.

    Raises:
        MisuseError: A fresh key is needed and missing, or no message of the peer has come yet.
        ChainExhaustedError: The chain's numbers are used up; nothing changed.
    """
    own, roots, chain = state.own, state.roots, state.sending
    if chain is None:
        if fresh.ratchet_key is None or state.receiving is None:
            raise MisuseError(
                "this send needs a fresh ratchet key and a message of the peer before it; "
                "nothing was encrypted"
            )
        own = fresh.ratchet_key
        shared = own.exchange(state.receiving.ratchet_key)
        roots, keys = new_chain(roots, shared, pq_ratchet.sending_epoch(state.pq))
        chain = SendingChain(keys)
    # The epoch of the roots is that of the sending chain: only a new chain moves it.
    room = roots.waiting is None
    pq, header, _, made = pq_ratchet.send(state.pq, fresh, roots.epoch, room=room)
    place = (own.public, state.previous_chain_length, chain.next_number, header)
    if made is not None:
        roots = RootKeys(roots.ec, roots.pq, roots.epoch, made)
    chain, key = next_to_send(chain)
    rest = (state.receiving, state.closed, state.previous_chain_length)
    stepped = tuple.__new__(RatchetState, (roots, pq, own, chain, *rest))
    return stepped, tuple.__new__(Position, place), key


def receive(
    state: RatchetState, position: Position, open_message: OpenMessage
) -> tuple[RatchetState, bytes]:
    """Open the message at ``position``: the state to commit, and the plaintext.

    ``open_message`` decides before any state is built; whatever is raised, nothing has changed.

    Raises:
        AuthenticationError: From ``open_message``.
        InvalidKeyError: The header's ratchet key is not a good key.
        SkippedTooFarError: A jump over ``MAX_JUMP``; nothing was derived.
        DuplicateMessageError: The message's key was used already.
    """
    opened, plaintext = _open(state, position, open_message)
    if position.pq.chunk is None and not isinstance(opened.pq.stage, Answering):
        return opened, plaintext
    pq, _, made = pq_ratchet.receive(opened.pq, position.pq, room=opened.roots.waiting is None)
    if pq is opened.pq:
        return opened, plaintext
    if made is None:
        return _with_pq(opened, opened.roots, pq), plaintext
    ec_root, pq_root, epoch, _ = opened.roots
    return _with_pq(opened, RootKeys(ec_root, pq_root, epoch, made), pq), plaintext


def _open(
    state: RatchetState, position: Position, open_message: OpenMessage
) -> tuple[RatchetState, bytes]:
    chain = state.receiving
    if chain is not None:
        if position.ratchet_key == chain.ratchet_key:
            return _receive_in_chain(state, chain, position.message_number, open_message)
        tag = chain_tag(position.ratchet_key)
        for index in range(len(state.closed) - 1, -1, -1):
            if state.closed[index].tag == tag:
                return _receive_late(state, index, position.message_number, open_message)
    return _receive_new_chain(state, position, open_message)


def _receive_in_chain(
    state: RatchetState, chain: ReceivingChain, number: int, open_message: OpenMessage
) -> tuple[RatchetState, bytes]:
    ratchet_key, keys, next_number, skipped = chain
    if number > next_number:
        walked = reach(keys, next_number, number)
        plaintext = open_message(walked.message_key)
        skipped = skipped_keys(skipped, walked.passed, next_number)
        chain = ReceivingChain(ratchet_key, walked.after, number + 1, skipped)
        return _with_receiving(state, *_bounded(chain, state.closed)), plaintext
    if number < next_number:
        place = skipped.find(number)
        plaintext = open_message(skipped.key(place))
        skipped = skipped.without(place)
    else:
        keys, key = next_message_key(keys)
        plaintext = open_message(key)
        next_number += 1
    chain = tuple.__new__(ReceivingChain, (ratchet_key, keys, next_number, skipped))
    return _with_receiving(state, chain, state.closed), plaintext


def _receive_late(
    state: RatchetState, index: int, number: int, open_message: OpenMessage
) -> tuple[RatchetState, bytes]:
    chain = state.closed[index]
    if number >= chain.next_number:
        raise DuplicateMessageError(
            f"message number {number} is past the end of its chain; it was dropped"
        )
    place = chain.skipped.find(number)
    plaintext = open_message(chain.skipped.key(place))
    chain = ClosedChain(chain.tag, chain.next_number, chain.skipped.without(place))
    closed = (*state.closed[:index], chain, *state.closed[index + 1 :])
    return _with_receiving(state, state.receiving, _forget_finished(closed)), plaintext


def _receive_new_chain(
    state: RatchetState, position: Position, open_message: OpenMessage
) -> tuple[RatchetState, bytes]:
    before, number = state.receiving, position.message_number
    check_jump(0, number)
    if before is not None:
        check_jump(before.next_number, position.previous_chain_length)
    shared = state.own.exchange(position.ratchet_key)
    roots, keys = new_chain(state.roots, shared, position.pq.epoch)
    walked = reach(keys, 0, number)
    plaintext = open_message(walked.message_key)
    # Only now is the header known to be the peer's: the old chain is closed as it says.
    closed = state.closed
    if before is not None:
        closed = (*closed, close(before, position.previous_chain_length))
    skipped = skipped_keys(NO_SKIPPED_KEYS, walked.passed, 0)
    fields = (position.ratchet_key, walked.after, number + 1, skipped)
    chain, closed = _bounded(tuple.__new__(ReceivingChain, fields), closed)
    sent = state.previous_chain_length if state.sending is None else state.sending.next_number
    after = (roots, state.pq, state.own, None, chain, closed, sent)
    return tuple.__new__(RatchetState, after), plaintext


def _with_receiving(
    state: RatchetState, receiving: ReceivingChain | None, closed: tuple[ClosedChain, ...]
) -> RatchetState:
    roots, pq, own, sending, _, _, sent = state
    return tuple.__new__(RatchetState, (roots, pq, own, sending, receiving, closed, sent))


def _with_pq(state: RatchetState, roots: RootKeys, pq: PqRatchet) -> RatchetState:
    return tuple.__new__(RatchetState, (roots, pq, *state[2:]))


def _bounded(
    chain: ReceivingChain, closed: tuple[ClosedChain, ...]
) -> tuple[ReceivingChain, tuple[ClosedChain, ...]]:
    excess = chain.skipped.count - MAX_SKIPPED_KEYS
    for old in closed:
        excess += old.skipped.count
    if excess <= 0:
        return chain, _forget_finished(closed)
    kept = []
    for old in closed:
        give_up = min(max(excess, 0), old.skipped.count)
        excess -= give_up
        kept.append(ClosedChain(old.tag, old.next_number, old.skipped.without_oldest(give_up)))
    if excess > 0:
        left = chain.skipped.without_oldest(excess)
        chain = ReceivingChain(chain.ratchet_key, chain.keys, chain.next_number, left)
    return chain, _forget_finished(tuple(kept))


def _forget_finished(closed: tuple[ClosedChain, ...]) -> tuple[ClosedChain, ...]:
    surplus = 1 - MAX_RECEIVING_CHAINS
    for chain in closed:
        if not chain.skipped.count:
            surplus += 1
    kept = []
    for chain in closed:
        if surplus > 0 and not chain.skipped.count:
            surplus -= 1
        else:
            kept.append(chain)
    return tuple(kept)
