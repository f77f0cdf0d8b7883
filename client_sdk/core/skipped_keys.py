"""The keys of messages that have not come, packed side by side in short blocks.

A session may hold 2,000 of them, and every late message makes the record without its own: a copy of
one block and of the list of blocks costs a tenth of a copy of everything, in time as in memory.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, final

from client_sdk.core.errors import DuplicateMessageError
from client_sdk.core.kdf import KEY_BYTES, MessageKey

_NUMBER_BYTES: Final = 4
_ENTRY: Final = struct.Struct(f">I{KEY_BYTES}s")
ENTRY_BYTES: Final = _ENTRY.size
"""What one key takes, here and in the store: its number, then the key."""

BLOCK_KEYS: Final = 32
"""Keys of a block when it is made: about the square root of all there may be, so that block and
list are both short."""

_BLOCK_BYTES: Final = BLOCK_KEYS * ENTRY_BYTES
_ABOVE_EVERY_KEY: Final = b"\xff" * (KEY_BYTES + 1)

Place = tuple[int, int]
"""Where a key is: its block, and its first byte there."""


@final
class SkippedKeys:
    """Message keys of one chain, in ascending order of their numbers; never changed once made.

    Attributes:
        count: How many there are.
    """

    __slots__ = ("_blocks", "count")

    def __init__(self, blocks: tuple[bytes, ...], count: int) -> None:
        """Hold ``count`` entries of ``ENTRY_BYTES``, number and key, in blocks of some each."""
        self._blocks = blocks
        self.count: Final = count

    @classmethod
    def from_packed(cls, packed: bytes) -> "SkippedKeys":
        """Return the keys that ``packed`` was made of."""
        return cls(_in_blocks(packed), len(packed) // ENTRY_BYTES)

    @property
    def packed(self) -> bytes:
        """All entries side by side, as they are stored."""
        return b"".join(self._blocks)

    def __repr__(self) -> str:
        """Say what it is; show nothing of it."""
        return "SkippedKeys()"

    def __eq__(self, other: object) -> bool:
        """Tell whether the other holds the same keys, in whatever blocks."""
        return isinstance(other, SkippedKeys) and self.packed == other.packed

    def __hash__(self) -> int:
        """Return the same for the same keys."""
        return hash(self.packed)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return self.count

    def numbers(self) -> list[int]:
        """Return the numbers of all keys; raises struct.error where bytes are missing."""
        return [number for number, _ in _ENTRY.iter_unpack(self.packed)]

    def find(self, number: int) -> Place:
        """Return the place of the key for ``number``.

        Raises:
            DuplicateMessageError: It is not there: used before, or given up as the oldest.
        """
        wanted = number.to_bytes(_NUMBER_BYTES)
        index = bisect_right(self._blocks, wanted + _ABOVE_EVERY_KEY) - 1
        if index >= 0:
            block = self._blocks[index]
            # Where it is when no number between is missing; else it is looked for from the end.
            start = (number - int.from_bytes(block[:_NUMBER_BYTES])) * ENTRY_BYTES
            if block[start : start + _NUMBER_BYTES] == wanted:
                return index, start
            start = len(block) - ENTRY_BYTES
            while block[start : start + _NUMBER_BYTES] > wanted:
                start -= ENTRY_BYTES
            if block[start : start + _NUMBER_BYTES] == wanted:
                return index, start
        raise DuplicateMessageError(
            f"the key of message number {number} was used already; "
            "the message was dropped and nothing was changed"
        )

    def key(self, place: Place) -> MessageKey:
        """Return the key at ``place``, as ``find`` returned it."""
        index, start = place
        return self._blocks[index][start + _NUMBER_BYTES : start + ENTRY_BYTES]  # type: ignore[return-value]

    def without(self, place: Place) -> "SkippedKeys":
        """Return all keys but the one at ``place``."""
        index, start = place
        blocks = list(self._blocks)
        left = blocks[index][:start] + blocks[index][start + ENTRY_BYTES :]
        if left:
            blocks[index] = left
        else:
            del blocks[index]
        return SkippedKeys(tuple(blocks), self.count - 1)

    def without_oldest(self, count: int) -> "SkippedKeys":
        """Return all keys but the ``count`` with the smallest numbers."""
        return SkippedKeys.from_packed(self.packed[count * ENTRY_BYTES :])

    def followed_by(self, first_number: int, keys: Iterable[MessageKey]) -> "SkippedKeys":
        """Return these keys and ``keys``, of ``first_number`` (above all here) and onwards."""
        pack = _ENTRY.pack
        added = b"".join([pack(number, key) for number, key in enumerate(keys, first_number)])
        *full, last = self._blocks or (b"",)
        return SkippedKeys(
            (*full, *_in_blocks(last + added)), self.count + len(added) // ENTRY_BYTES
        )


def _in_blocks(packed: bytes) -> tuple[bytes, ...]:
    starts = range(0, len(packed), _BLOCK_BYTES)
    return tuple([packed[start : start + _BLOCK_BYTES] for start in starts])


NO_SKIPPED_KEYS: Final = SkippedKeys((), 0)
