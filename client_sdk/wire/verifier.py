"""What a server is told of a password: SHA-256, and a verifier in the form that Mosquitto takes.

A password has 256 random bits, so that neither has to be slow. Mosquitto cannot use SHA-256, and
nobody but the device knows the password: it hands over both when the login is made.
"""

import hashlib
from typing import Annotated, Final, NewType

from pydantic import AfterValidator, Field

from client_sdk.wire.errors import MalformedError
from client_sdk.wire.invitation import secret_hash

Verifier = NewType("Verifier", bytes)
"""64 bytes: PBKDF2 with HMAC-SHA-512 of the password, salt and rounds as below."""

ITERATIONS: Final = 101
"""What mosquitto_passwd of Mosquitto 2 writes."""

HASH_BYTES: Final = 32
VERIFIER_BYTES: Final = 64
SALT_BYTES: Final = 12
SALT_CONTEXT: Final = b"RatchetMQ/1 verifier salt"


def _check_length(value: bytes) -> bytes:
    if len(value) not in {HASH_BYTES, HASH_BYTES + VERIFIER_BYTES}:
        raise ValueError("neither a hash nor a hash and a verifier")
    return value


CredentialField = Annotated[
    bytes,
    Field(min_length=HASH_BYTES, max_length=HASH_BYTES + VERIFIER_BYTES),
    AfterValidator(_check_length),
]
"""A password as a server is told it: its SHA-256, then its verifier; devices of version 1 sent
the first alone."""


def stored_credential(password: str) -> bytes:
    """Return what a server is told of a password: 32 bytes of SHA-256, 64 of the verifier."""
    digest = secret_hash(password)
    derived = hashlib.pbkdf2_hmac(
        "sha512", password.encode(), salt_of(digest), ITERATIONS, VERIFIER_BYTES
    )
    return digest + derived


def split_credential(credential: bytes) -> tuple[bytes, Verifier | None]:
    """Return the SHA-256 and the verifier, None where there is none.

    Raises:
        MalformedError: It is neither.
    """
    if len(credential) == HASH_BYTES:
        return credential, None
    if len(credential) != HASH_BYTES + VERIFIER_BYTES:
        raise MalformedError("not a credential")
    return credential[:HASH_BYTES], Verifier(credential[HASH_BYTES:])


def salt_of(digest: bytes) -> bytes:
    """Return the 12-byte salt of a verifier, which follows from the SHA-256 of the password."""
    return hashlib.sha256(SALT_CONTEXT + digest).digest()[:SALT_BYTES]
