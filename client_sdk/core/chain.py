"""Chains of message keys: one to send with, one to receive with, and those closed behind it."""

from typing import Final, NamedTuple

from client_sdk.core.errors import ChainExhaustedError, SkippedTooFarError
from client_sdk.core.kdf import MessageKey
from client_sdk.core.keys import EncodedX25519
from client_sdk.core.skipped_keys import NO_SKIPPED_KEYS, SkippedKeys
from client_sdk.core.triple_ratchet import (
    ChainKeys,
    Passed,
    message_keys,
    next_message_key,
    pass_over,
)
from client_sdk.wire.envelope import MAX_MESSAGE_NUMBER

MAX_JUMP: Final = 1000
"""Numbers one message may pass over: what a forged header can cost is about 2 ms."""

MAX_CHAIN_LENGTH: Final = MAX_MESSAGE_NUMBER
"""Messages of one chain: the next chain's headers name this length, which has to fit into them."""

CHAIN_TAG_BYTES: Final = 8
"""A closed chain is known by this much of its ratchet key: two alike cost one message at most."""


class SendingChain(NamedTuple):
    """One sending chain and the number of its next message."""

    keys: ChainKeys
    next_number: int = 0


class ReceivingChain(NamedTuple):
    """The peer's newest chain; the numbers of ``skipped`` are below ``next_number``."""

    ratchet_key: EncodedX25519
    keys: ChainKeys
    next_number: int = 0
    skipped: SkippedKeys = NO_SKIPPED_KEYS


class ClosedChain(NamedTuple):
    """A chain that the peer has left behind: what of it can still come."""

    tag: bytes
    next_number: int
    skipped: SkippedKeys = NO_SKIPPED_KEYS


class Reach(NamedTuple):
    """The way from a chain's next number to one message, walked but not yet authenticated."""

    passed: Passed | None
    after: ChainKeys
    message_key: MessageKey

    def __repr__(self) -> str:
        """Name the length only."""
        return f"Reach({self.passed})"


def chain_tag(ratchet_key: bytes) -> bytes:
    """Return the 8 bytes by which a closed chain remembers its ratchet key."""
    return ratchet_key[1 : 1 + CHAIN_TAG_BYTES]


def next_to_send(chain: SendingChain) -> tuple[SendingChain, MessageKey]:
    """Take one step: the chain to commit with the ciphertext, and the message's key.

    Raises:
        ChainExhaustedError: All ``MAX_CHAIN_LENGTH`` numbers are used; nothing changed.
    """
    if chain.next_number >= MAX_CHAIN_LENGTH:
        raise ChainExhaustedError(
            "no message number is left in this sending chain; nothing was encrypted; "
            "a reply of the peer or a new session starts another chain"
        )
    keys, key = next_message_key(chain.keys)
    return tuple.__new__(SendingChain, (keys, chain.next_number + 1)), key


def check_jump(next_number: int, number: int) -> None:
    """Return only if ``number`` is at most ``MAX_JUMP`` past ``next_number``.

    Raises:
        SkippedTooFarError: It is further away; nothing was derived.
    """
    if number - next_number > MAX_JUMP:
        raise SkippedTooFarError(
            f"message number {number} is more than {MAX_JUMP} past {next_number}; "
            "the message was dropped and nothing was changed"
        )


def reach(keys: ChainKeys, next_number: int, number: int) -> Reach:
    """Walk from ``next_number`` to ``number`` (not below it) and take that message's key.

    Raises:
        SkippedTooFarError: It is more than ``MAX_JUMP`` away; nothing was derived.
    """
    if number == next_number:
        return Reach(None, *next_message_key(keys))
    check_jump(next_number, number)
    passed, keys = pass_over(keys, number - next_number)
    return Reach(passed, *next_message_key(keys))


def skipped_keys(before: SkippedKeys, passed: Passed | None, first_number: int) -> SkippedKeys:
    """Return ``before`` and the message keys of positions passed over, from ``first_number`` on."""
    if passed is None:
        return before
    return before.followed_by(first_number, message_keys(passed))


def close(chain: ReceivingChain, length: int) -> ClosedChain:
    """Close a chain after ``length`` messages, keeping the keys of those that have not come.

    Raises:
        SkippedTooFarError: Over ``MAX_JUMP`` of them are unseen; nothing was derived.
    """
    check_jump(chain.next_number, length)
    skipped = chain.skipped
    if length > chain.next_number:
        passed, _ = pass_over(chain.keys, length - chain.next_number)
        skipped = skipped_keys(skipped, passed, chain.next_number)
    next_number = max(chain.next_number, length)
    return ClosedChain(chain_tag(chain.ratchet_key), next_number, skipped)
