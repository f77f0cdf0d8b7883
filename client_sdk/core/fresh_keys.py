"""What an encryption wants to have drawn for it, and what was drawn: the core draws nothing."""

from typing import Final, NamedTuple

from client_sdk.core.kem_keys import MlKem768KeyPair
from client_sdk.core.keys import Encapsulation, X25519KeyPair
from client_sdk.wire.encoded_keys import KemRatchetKey


class WantedKeys(NamedTuple):
    """What the next encryption of a session takes.

    Attributes:
        ratchet_key: An X25519 pair, for a new sending chain.
        kem_pair: An ML-KEM-768 pair, for a new epoch.
        encapsulate_to: The peer's key that a new epoch's secret is to be encapsulated to.
    """

    ratchet_key: bool = False
    kem_pair: bool = False
    encapsulate_to: KemRatchetKey | None = None


class FreshKeys(NamedTuple):
    """Keys never used before, where ``WantedKeys`` named them; what was not named is ignored."""

    ratchet_key: X25519KeyPair | None = None
    kem_pair: MlKem768KeyPair | None = None
    encapsulation: Encapsulation | None = None

    def __repr__(self) -> str:
        """Say what it is; show nothing of it."""
        return "FreshKeys(...)"


NOTHING_WANTED: Final = WantedKeys()
NO_KEYS: Final = FreshKeys()
