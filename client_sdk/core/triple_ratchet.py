"""The hybrid of two ratchets: every message key needs one output of each.

The elliptic-curve half gains a new secret with each Diffie-Hellman step. The post-quantum half
starts from the handshake's ML-KEM secret and moves forward beside it, so that recorded traffic
stays closed to a later quantum computer from the first message on. It gains a new secret with each
epoch of the post-quantum ratchet: the first chain that begins after both sides have the epoch's
key takes it in, and every message of that chain names the epoch.
"""

from typing import NamedTuple

from client_sdk.core.errors import AuthenticationError
from client_sdk.core.kdf import (
    ChainKey,
    EpochKey,
    MessageKey,
    PqRootKey,
    RootKey,
    chain_step,
    message_key,
    passed_message_keys,
    pq_epoch_step,
    pq_root_step,
    root_step,
    walked_chain,
)


class RootKeys(NamedTuple):
    """The roots of both ratchets, 32 secret bytes each.

    Attributes:
        ec: Of the Diffie-Hellman steps.
        pq: Of the epochs.
        epoch: The newest epoch in ``pq``; 0 is the handshake's seed.
        waiting: The key of the epoch after it, until a chain begins that takes it in. There is
            never a second one: two epochs are live at most.
    """

    ec: RootKey
    pq: PqRootKey
    epoch: int = 0
    waiting: EpochKey | None = None

    def __repr__(self) -> str:
        """Say what it is; show nothing of it."""
        return "RootKeys(...)"


class ChainKeys(NamedTuple):
    """The chain keys of both ratchets at one message number, 32 secret bytes each."""

    ec: ChainKey
    pq: ChainKey

    def __repr__(self) -> str:
        """Say what it is; show nothing of it."""
        return "ChainKeys(...)"


def new_chain(roots: RootKeys, shared_secret: bytes, epoch: int = 0) -> tuple[RootKeys, ChainKeys]:
    """Return the next roots, and a new chain at message number 0.

    Args:
        roots: Both roots before the step.
        shared_secret: The step's Diffie-Hellman result, 32 bytes.
        epoch: The epoch of the chain: that of the roots, or the waiting one.

    Raises:
        AuthenticationError: The epoch's key is not here; nothing was derived.
    """
    waiting = roots.waiting
    if epoch == roots.epoch:
        pq_root, pq_chain = pq_root_step(roots.pq)
    elif waiting is not None and epoch == roots.epoch + 1:
        pq_root, pq_chain = pq_epoch_step(roots.pq, waiting)
        waiting = None
    else:
        raise AuthenticationError(
            f"the message's chain is in epoch {epoch}, whose key is not here; "
            "it was dropped and nothing was changed"
        )
    ec_root, ec_chain = root_step(roots.ec, shared_secret)
    return RootKeys(ec_root, pq_root, epoch, waiting), ChainKeys(ec_chain, pq_chain)


def next_message_key(keys: ChainKeys) -> tuple[ChainKeys, MessageKey]:
    """Return the chain one number later, and the key of the message at this number."""
    ec_chain, ec_output = chain_step(keys.ec)
    pq_chain, pq_output = chain_step(keys.pq)
    after = tuple.__new__(ChainKeys, (ec_chain, pq_chain))
    return after, message_key(pq_output, ec_output)


class Passed(NamedTuple):
    """The chain keys of both ratchets at consecutive numbers, in ascending order."""

    ec: list[ChainKey]
    pq: list[ChainKey]

    def __repr__(self) -> str:
        """Say what it is; show nothing of it."""
        return f"Passed({len(self.ec)})"


def pass_over(keys: ChainKeys, count: int) -> tuple[Passed, ChainKeys]:
    """Return the positions of ``count`` numbers, and the chain after them, without message keys."""
    ec_keys, pq_keys = walked_chain(keys.ec, count), walked_chain(keys.pq, count)
    after = ChainKeys(ec_keys.pop(), pq_keys.pop())
    return Passed(ec_keys, pq_keys), after


def message_keys(passed: Passed) -> list[MessageKey]:
    """Return the message keys of positions that were passed over."""
    return passed_message_keys(*passed)
