"""The post-quantum ratchet: one ML-KEM-768 exchange after the other, a few bytes a message.

It stands behind the Double Ratchet specification's interface for sparse continuous key agreement
(SCKA): ``send`` and ``receive`` move it on, and each gives out an epoch's key once. An epoch takes
three ways: one side's encapsulation key goes out in chunks, the other side's ciphertext comes back
in chunks, and the first side's next message says that it has the secret. Then they change places.

What it is not: ML-KEM Braid. Key and ciphertext are sent whole and one after the other, not in
halves side by side, so an epoch takes about 25 messages of each side. While only one side sends,
the epoch stays. Chunks are authenticated by the messages that carry them.

Source: Signal, The Double Ratchet Algorithm, revision 4, section 5 (SCKA, SPQR); FIPS 203.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from client_sdk.core.erasure import PIECE_BYTES, chunk_count, chunk_of, numbers_of, piece, restore
from client_sdk.core.errors import InvalidKeyError
from client_sdk.core.fresh_keys import FreshKeys
from client_sdk.core.kdf import EpochKey, epoch_key
from client_sdk.core.kem_keys import MlKem768KeyPair, parse_ml_kem_768
from client_sdk.wire.encoded_keys import (
    ML_KEM_768_CIPHERTEXT_BYTES,
    ML_KEM_768_ENCODED_BYTES,
    KemRatchetKey,
)
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.pq_message import MAX_EPOCH, PQ_CHUNKS, PqChunk, PqMessage, PqPart

KEY_CHUNKS: Final = chunk_count(ML_KEM_768_ENCODED_BYTES)
CIPHERTEXT_CHUNKS: Final = chunk_count(ML_KEM_768_CIPHERTEXT_BYTES)

_KEY_PART: Final = PqPart.ENCAPSULATION_KEY
_CIPHERTEXT_PART: Final = PqPart.CIPHERTEXT


@dataclass(frozen=True, slots=True)
class Drawing:
    """The next epoch is this side's to begin, with a fresh pair at the next send."""


class Offering(NamedTuple):
    """This side's encapsulation key is on its way, until the ciphertext comes back.

    Attributes:
        pair: Of this epoch alone.
        next_chunk: The number of the next chunk to send.
        pieces: Chunks of the ciphertext so far, see ``core.erasure``; the first one says that the
            key has arrived.
    """

    pair: MlKem768KeyPair
    next_chunk: int = 0
    pieces: bytes = b""


@dataclass(frozen=True, slots=True)
class Collecting:
    """The peer's encapsulation key is on its way here.

    Attributes:
        pieces: Chunks of it so far, see ``core.erasure``.
        key: The whole key: the next send encapsulates to it.
    """

    pieces: bytes = b""
    key: KemRatchetKey | None = None


class Answering(NamedTuple):
    """The ciphertext is on its way, until the peer says that it has the secret."""

    ciphertext: bytes
    next_chunk: int = 0


Stage = Drawing | Offering | Collecting | Answering


class PqRatchet(NamedTuple):
    """One side of the post-quantum ratchet.

    Attributes:
        epoch: The newest epoch whose key was given out; 0 is the handshake's seed.
        stage: Where the next epoch stands, or, while it answers, this one.
    """

    epoch: int
    stage: Stage

    def __repr__(self) -> str:
        """Name the epoch only."""
        return f"PqRatchet(epoch={self.epoch})"


class Sent(NamedTuple):
    """One send: the state to commit, the header's part, the sending epoch, and a new key."""

    state: PqRatchet
    message: PqMessage
    epoch: int
    key: EpochKey | None

    def __repr__(self) -> str:
        """Name the epoch only."""
        return f"Sent(epoch={self.epoch})"


class Received(NamedTuple):
    """One receipt: the state to commit, the receiving epoch, and a new epoch's key."""

    state: PqRatchet
    epoch: int
    key: EpochKey | None

    def __repr__(self) -> str:
        """Name the epoch only."""
        return f"Received(epoch={self.epoch})"


def start_initiator() -> PqRatchet:
    """Return the initiator's state: the responder begins, so that no answer costs nothing."""
    return PqRatchet(0, Collecting())


def start_responder() -> PqRatchet:
    """Return the responder's state: its first message carries the first chunk."""
    return PqRatchet(0, Drawing())


def sending_epoch(state: PqRatchet) -> int:
    """Return the newest epoch that the peer is known to have the secret of."""
    return state.epoch - 1 if isinstance(state.stage, Answering) else state.epoch


def kem_pair_wanted(state: PqRatchet) -> bool:
    """Tell whether the next send takes a fresh ML-KEM-768 pair."""
    return isinstance(state.stage, Drawing) and state.epoch < MAX_EPOCH


def encapsulation_wanted(state: PqRatchet) -> KemRatchetKey | None:
    """Return the key that the next send takes a fresh encapsulation to, or None."""
    return state.stage.key if isinstance(state.stage, Collecting) else None


def wants_nothing(state: PqRatchet) -> bool:
    """Tell whether the next send takes no fresh key, which is nearly always so."""
    stage = state.stage
    if isinstance(stage, Collecting):
        return stage.key is None
    return not isinstance(stage, Drawing)


def send(state: PqRatchet, fresh: FreshKeys, chain_epoch: int = 0, *, room: bool = True) -> Sent:
    """Take one step for a message to send.

    Args:
        state: The state before.
        fresh: A pair or an encapsulation, where one is wanted.
        chain_epoch: The epoch of the message's chain.
        room: The epoch before is in use: only then a new one's secret is made.

    Raises:
        MisuseError: What is wanted is missing; nothing changed.
    """
    epoch, stage = state
    if isinstance(stage, Offering):
        return _send_key(state, stage, chain_epoch)
    if isinstance(stage, Answering):
        return _send_ciphertext(epoch, stage, chain_epoch, None)
    if isinstance(stage, Collecting):
        if stage.key is not None and room:
            return _answer(epoch + 1, stage.key, fresh, chain_epoch)
    elif epoch < MAX_EPOCH:
        if fresh.kem_pair is None:
            raise MisuseError("this send needs a fresh ML-KEM-768 pair; nothing was encrypted")
        return _send_key(state, Offering(fresh.kem_pair), chain_epoch)
    return Sent(state, PqMessage(chain_epoch, epoch), epoch, None)


def receive(state: PqRatchet, message: PqMessage, *, room: bool = True) -> Received:
    """Take in what an authenticated message carried; the state is the same object if nothing.

    Chunks of other epochs, known ones and those that lead to no key are left aside: they are late,
    or a faulty peer's, and the conversation goes on without them.

    Args:
        state: The state before.
        message: Of a message that has opened; never before.
        room: The epoch before is in use: only then a new one's secret is taken.
    """
    stage = state.stage
    if isinstance(stage, Answering):
        if message.newest < state.epoch:
            return Received(state, message.epoch, None)
        return Received(PqRatchet(state.epoch, Drawing()), message.epoch, None)
    chunk = message.chunk
    if chunk is not None:
        if isinstance(stage, Collecting):
            if chunk.part is _KEY_PART and message.newest == state.epoch:
                return Received(_collected(state, stage, chunk), message.epoch, None)
        elif (
            isinstance(stage, Offering)
            and chunk.part is _CIPHERTEXT_PART
            and message.newest == state.epoch + 1
        ):
            moved, key = _answered(state, stage, chunk, room=room)
            return Received(moved, message.epoch, key)
    return Received(state, message.epoch, None)


def _send_key(state: PqRatchet, stage: Offering, chain_epoch: int) -> Sent:
    epoch = state.epoch
    pair, number, pieces = stage
    if pieces:
        return Sent(state, PqMessage(chain_epoch, epoch), epoch, None)
    chunk = PqChunk(_KEY_PART, number, chunk_of(pair.public, number))
    moved = PqRatchet(epoch, Offering(pair, (number + 1) % PQ_CHUNKS))
    return Sent(moved, PqMessage(chain_epoch, epoch, chunk), epoch, None)


def _answer(epoch: int, key: KemRatchetKey, fresh: FreshKeys, chain_epoch: int) -> Sent:
    if fresh.encapsulation is None:
        raise MisuseError(
            "this send needs a fresh encapsulation to the peer's ML-KEM-768 key; "
            "nothing was encrypted"
        )
    secret, ciphertext = fresh.encapsulation
    made = epoch_key(secret, epoch, key + ciphertext)
    return _send_ciphertext(epoch, Answering(ciphertext), chain_epoch, made)


def _send_ciphertext(epoch: int, stage: Answering, chain_epoch: int, key: EpochKey | None) -> Sent:
    number = stage.next_chunk
    chunk = PqChunk(_CIPHERTEXT_PART, number, chunk_of(stage.ciphertext, number))
    moved = PqRatchet(epoch, Answering(stage.ciphertext, (number + 1) % PQ_CHUNKS))
    return Sent(moved, PqMessage(chain_epoch, epoch, chunk), epoch - 1, key)


def _collected(state: PqRatchet, stage: Collecting, chunk: PqChunk) -> PqRatchet:
    known = chunk.number in numbers_of(stage.pieces)
    if known or stage.key is not None or state.epoch == MAX_EPOCH:
        return state
    pieces = stage.pieces + piece(chunk.number, chunk.data)
    if len(pieces) < KEY_CHUNKS * PIECE_BYTES:
        return PqRatchet(state.epoch, Collecting(pieces))
    key = restore(pieces, ML_KEM_768_ENCODED_BYTES)
    try:
        parse_ml_kem_768(key)
    except InvalidKeyError:
        return PqRatchet(state.epoch, Collecting())
    return PqRatchet(state.epoch, Collecting(b"", KemRatchetKey(key)))


def _answered(
    state: PqRatchet, stage: Offering, chunk: PqChunk, *, room: bool
) -> tuple[PqRatchet, EpochKey | None]:
    if chunk.number in numbers_of(stage.pieces):
        return state, None
    pieces = stage.pieces + piece(chunk.number, chunk.data)
    if len(pieces) < CIPHERTEXT_CHUNKS * PIECE_BYTES:
        return PqRatchet(state.epoch, Offering(stage.pair, stage.next_chunk, pieces)), None
    if not room:
        return state, None
    ciphertext = restore(pieces, ML_KEM_768_CIPHERTEXT_BYTES)
    secret, epoch = stage.pair.decapsulate(ciphertext), state.epoch + 1
    key = epoch_key(secret, epoch, stage.pair.public + ciphertext)
    return PqRatchet(epoch, Collecting()), key
