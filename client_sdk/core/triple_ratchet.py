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
    KEY_BYTES,
    ChainKey,
    ChainStep,
    EpochKey,
    MessageKey,
    PqRootKey,
    RootKey,
    chain_step,
    chain_steps,
    message_key,
    pq_epoch_step,
    pq_root_step,
    root_step,
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
    stepped = tuple.__new__(RootKeys, (ec_root, pq_root, epoch, waiting))
    return stepped, tuple.__new__(ChainKeys, (ec_chain, pq_chain))


def next_message_key(keys: ChainKeys) -> tuple[ChainKeys, MessageKey]:
    """Return the chain one number later, and the key of the message at this number."""
    ec_key, pq_key = keys
    ec, pq = chain_step(ec_key), chain_step(pq_key)
    return _after(ec, pq), message_key(pq, ec)


class Passed(NamedTuple):
    """The steps of both chains over consecutive numbers, in ascending order, as many of each."""

    ec: list[ChainStep]
    pq: list[ChainStep]

    def __repr__(self) -> str:
        """Say how many; show nothing of them."""
        return f"Passed({len(self.ec)})"


def pass_over(keys: ChainKeys, count: int) -> tuple[Passed, ChainKeys]:
    """Return the steps over ``count`` (1 or more) numbers, and the chain after them.

    No message key is made: first the message that jumped here has to open.
    """
    passed = Passed(chain_steps(keys.ec, count), chain_steps(keys.pq, count))
    return passed, _after(passed.ec[-1], passed.pq[-1])


def message_keys(passed: Passed) -> list[MessageKey]:
    """Return the message keys of numbers that were passed over."""
    return list(map(message_key, passed.pq, passed.ec))


def _after(ec: ChainStep, pq: ChainStep) -> ChainKeys:
    return tuple.__new__(ChainKeys, (ec[:KEY_BYTES], pq[:KEY_BYTES]))
