"""AES-256-GCM-SIV: a nonce used twice by a restored backup tells only that two texts are equal."""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from client_sdk.core.errors import AuthenticationError
from client_sdk.core.kdf import MessageKey

AEAD_TAG_BYTES: Final = 16
"""Never truncated."""

NONCE: Final = bytes(12)
"""One for all, never sent: each key seals one message (Double Ratchet rev 4, ENCRYPT)."""


def seal(key: MessageKey, plaintext: bytes, associated_data: bytes) -> bytes:
    """Return ciphertext and 16-byte tag.

    Source: RFC 8452.
    """
    return AESGCMSIV(key).encrypt(NONCE, plaintext, associated_data)


def open_sealed(key: MessageKey, ciphertext: bytes, associated_data: bytes) -> bytes:
    """Return what ``seal`` was given.

    Raises:
        AuthenticationError: Key, ciphertext or associated data are not those of ``seal``.
    """
    try:
        return AESGCMSIV(key).decrypt(NONCE, ciphertext, associated_data)
    except InvalidTag:
        raise AuthenticationError(
            "the ciphertext does not open: it was changed, or was sealed for another place; "
            "it was dropped and nothing was changed"
        ) from None
