"""The keys of messages that have not come, packed side by side as they are stored.

A session may hold 2,000 of them, and every late message makes the record without its own: one
copy of bytes costs a tenth of what as many objects would, in time as in memory.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from client_sdk.core.errors import DuplicateMessageError
from client_sdk.core.kdf import KEY_BYTES, MessageKey

_NUMBER_BYTES: Final = 4
_ENTRY: Final = struct.Struct(f">I{KEY_BYTES}s")
ENTRY_BYTES: Final = _ENTRY.size
"""What one key takes, here and in the store: its number, then the key."""


@dataclass(frozen=True, slots=True)
class SkippedKeys:
    """Message keys of one chain, in ascending order of their numbers.

    Attributes:
        packed: ``ENTRY_BYTES`` each: the number, big-endian, and the 32-byte key.
    """

    packed: bytes = field(default=b"", repr=False)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self.packed) // ENTRY_BYTES

    def numbers(self) -> list[int]:
        """Return the numbers of all keys; raises struct.error where bytes are missing."""
        return [number for number, _ in _ENTRY.iter_unpack(self.packed)]

    def find(self, number: int) -> int:
        """Return the place of the key for ``number``.

        Raises:
            DuplicateMessageError: It is not there: used before, or given up as the oldest.
        """
        packed, wanted = self.packed, number.to_bytes(_NUMBER_BYTES)
        low, high = 0, len(packed) // ENTRY_BYTES
        # The place where it is when no number between is missing, then halving.
        place = number - int.from_bytes(packed[:_NUMBER_BYTES])
        while low < high:
            if not low <= place < high:
                place = (low + high) // 2
            start = place * ENTRY_BYTES
            found = packed[start : start + _NUMBER_BYTES]
            if found == wanted:
                return place
            if found < wanted:
                low = place + 1
            else:
                high = place
            place = (low + high) // 2
        raise DuplicateMessageError(
            f"the key of message number {number} was used already; "
            "the message was dropped and nothing was changed"
        )

    def key(self, place: int) -> MessageKey:
        """Return the key at ``place``, as ``find`` returned it."""
        end = (place + 1) * ENTRY_BYTES
        return MessageKey(self.packed[end - KEY_BYTES : end])

    def without(self, place: int) -> "SkippedKeys":
        """Return all keys but the one at ``place``."""
        start = place * ENTRY_BYTES
        return SkippedKeys(self.packed[:start] + self.packed[start + ENTRY_BYTES :])

    def without_oldest(self, count: int) -> "SkippedKeys":
        """Return all keys but the ``count`` with the smallest numbers."""
        return SkippedKeys(self.packed[count * ENTRY_BYTES :])

    def followed_by(self, first_number: int, keys: Iterable[MessageKey]) -> "SkippedKeys":
        """Return these keys and ``keys``, of ``first_number`` (above all here) and onwards."""
        pack = _ENTRY.pack
        added = [pack(number, key) for number, key in enumerate(keys, first_number)]
        return SkippedKeys(self.packed + b"".join(added))


NO_SKIPPED_KEYS: Final = SkippedKeys()
