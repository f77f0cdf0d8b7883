"""The recovery code: the account's private key as text that a person can copy by hand.

Fourteen groups of four characters out of thirty-two, none of which look alike; the last 24 bits
are a checksum, so a typing error is found with all but one chance in sixteen million.
"""

import base64
import hmac
from typing import Final

from client_sdk.core.errors import InvalidRecoveryCodeError
from client_sdk.core.kdf import recovery_check
from client_sdk.core.keys import Ed25519KeyPair

GROUPS: Final = 14
GROUP_CHARACTERS: Final = 4
_KEY_BYTES: Final = 32
_CHECK_BYTES: Final = 3
_RFC_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ENCODE: Final = str.maketrans(_RFC_ALPHABET, _ALPHABET)
_DECODE: Final = str.maketrans(_ALPHABET, _RFC_ALPHABET)
_READ_AS: Final = str.maketrans("OIL", "011", "- \t\r\n")


def encode_recovery_code(account: Ed25519KeyPair) -> str:
    """Return the recovery code of an account key: 14 groups of 4 characters, ``-`` between."""
    private = account.private_bytes()
    text = base64.b32encode(private + recovery_check(private, _CHECK_BYTES)).decode()
    code = text.translate(_ENCODE)
    return "-".join(
        code[at : at + GROUP_CHARACTERS] for at in range(0, len(code), GROUP_CHARACTERS)
    )


def decode_recovery_code(text: str) -> Ed25519KeyPair:
    """Return the account key of a recovery code as a person typed it.

    Small letters, missing or other gaps, and O for 0 or I and L for 1 are all read as meant.

    Raises:
        InvalidRecoveryCodeError: A character is not of the alphabet, some are missing or too
            many, or the checksum differs; the message says which, never what was typed.
    """
    code = text.upper().translate(_READ_AS)
    if not set(code) <= set(_ALPHABET):
        raise InvalidRecoveryCodeError(
            "the recovery code has a character that no code has; nothing was changed; "
            "codes are made of digits and letters without I, L, O and U"
        )
    if len(code) != GROUPS * GROUP_CHARACTERS:
        raise InvalidRecoveryCodeError(
            f"the recovery code has {len(code)} characters, expected {GROUPS * GROUP_CHARACTERS}; "
            "nothing was changed; look for a group that is missing or written twice"
        )
    data = base64.b32decode(code.translate(_DECODE))
    private = data[:_KEY_BYTES]
    if not hmac.compare_digest(data[_KEY_BYTES:], recovery_check(private, _CHECK_BYTES)):
        raise InvalidRecoveryCodeError(
            "the recovery code has a typing error; nothing was changed; compare it again"
        )
    return Ed25519KeyPair.from_private_bytes(private)
