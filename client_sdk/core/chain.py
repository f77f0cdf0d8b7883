"""Chains of message keys: one to send with, one to receive with, and those closed behind it."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from client_sdk.core.errors import ChainExhaustedError, DuplicateMessageError, SkippedTooFarError
from client_sdk.core.kdf import MessageKey
from client_sdk.core.keys import EncodedX25519
from client_sdk.core.triple_ratchet import ChainKeys, next_message_key, pass_over
from client_sdk.wire.envelope import MAX_MESSAGE_NUMBER

MAX_JUMP: Final = 1000
"""Numbers one message may pass over: what a forged header can cost is about 5 ms."""

MAX_CHAIN_LENGTH: Final = MAX_MESSAGE_NUMBER + 1
"""Messages of one chain; the number has to fit into the header."""

CHAIN_TAG_BYTES: Final = 8
"""A closed chain is known by this much of its ratchet key: two alike cost one message at most."""


class SkippedKey(NamedTuple):
    """The key of a message that has not come yet."""

    number: int
    key: MessageKey

    def __repr__(self) -> str:
        """Name the number only."""
        return f"SkippedKey(number={self.number})"


@dataclass(frozen=True, slots=True)
class SendingChain:
    """One sending chain and the number of its next message."""

    keys: ChainKeys = field(repr=False)
    next_number: int = 0


@dataclass(frozen=True, slots=True)
class ReceivingChain:
    """The peer's newest chain; ``skipped`` is in ascending order and below ``next_number``."""

    ratchet_key: EncodedX25519
    keys: ChainKeys = field(repr=False)
    next_number: int = 0
    skipped: tuple[SkippedKey, ...] = ()


@dataclass(frozen=True, slots=True)
class ClosedChain:
    """A chain that the peer has left behind: what of it can still come."""

    tag: bytes
    next_number: int
    skipped: tuple[SkippedKey, ...] = ()


class Reach(NamedTuple):
    """The way from a chain's next number to one message, walked but not yet authenticated."""

    passed: tuple[ChainKeys, ...]
    after: ChainKeys
    message_key: MessageKey

    def __repr__(self) -> str:
        """Name the length only."""
        return f"Reach(passed={len(self.passed)})"


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
    return SendingChain(keys, chain.next_number + 1), key


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
        return Reach((), *next_message_key(keys))
    check_jump(next_number, number)
    passed = []
    for _ in range(number - next_number):
        passed.append(keys)
        keys = pass_over(keys)
    return Reach(tuple(passed), *next_message_key(keys))


def skipped_keys(passed: tuple[ChainKeys, ...], first_number: int) -> tuple[SkippedKey, ...]:
    """Return the message keys of chain positions that were passed over, in ascending order."""
    return tuple(
        SkippedKey(number, next_message_key(keys)[1])
        for number, keys in enumerate(passed, first_number)
    )


def close(chain: ReceivingChain, length: int) -> ClosedChain:
    """Close a chain after ``length`` messages, keeping the keys of those that have not come.

    Raises:
        SkippedTooFarError: Over ``MAX_JUMP`` of them are unseen; nothing was derived.
    """
    check_jump(chain.next_number, length)
    skipped = list(chain.skipped)
    keys = chain.keys
    for number in range(chain.next_number, length):
        keys, key = next_message_key(keys)
        skipped.append(SkippedKey(number, key))
    next_number = max(chain.next_number, length)
    return ClosedChain(chain_tag(chain.ratchet_key), next_number, tuple(skipped))


def find_skipped(skipped: tuple[SkippedKey, ...], number: int) -> int:
    """Return where in ``skipped`` the key for ``number`` lies.

    Raises:
        DuplicateMessageError: It is not there: used before, or given up as the oldest.
    """
    index = bisect_left(skipped, number, key=_number)
    if index == len(skipped) or skipped[index].number != number:
        raise DuplicateMessageError(
            f"the key of message number {number} was used already; "
            "the message was dropped and nothing was changed"
        )
    return index


def without(skipped: tuple[SkippedKey, ...], index: int) -> tuple[SkippedKey, ...]:
    """Return ``skipped`` less the key at ``index``."""
    return skipped[:index] + skipped[index + 1 :]


def _number(skipped: SkippedKey) -> int:
    return skipped.number
