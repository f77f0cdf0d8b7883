"""The names of keys and the signed claims of NATS: base32 with a checksum, JWTs of Ed25519."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from client_sdk.wire.errors import MalformedError

ACCOUNT_PREFIX: Final = 0 << 3
SERVER_PREFIX: Final = 13 << 3
_KEY_BYTES: Final = 32
_CHECKSUM_BYTES: Final = 2
MAX_CLAIMS_BYTES: Final = 64 * 1024
"""A request has about 1.5 KiB."""

Claims = Mapping[str, object]


def encode_key(prefix: int, public: bytes) -> str:
    """Return the name of a 32-byte public key, such as ``A…`` for an account's."""
    named = bytes([prefix]) + public
    checksum = binascii.crc_hqx(named, 0).to_bytes(_CHECKSUM_BYTES, "little")
    return base64.b32encode(named + checksum).decode().rstrip("=")


def decode_key(prefix: int, name: str) -> bytes:
    """Return the public key of a name.

    Raises:
        MalformedError: It is no name of a key of this kind.
    """
    try:
        raw = base64.b32decode(name + "=" * (-len(name) % 8))
    except ValueError as error:
        raise MalformedError("not the name of a key") from error
    public = raw[1:-_CHECKSUM_BYTES]
    if len(public) != _KEY_BYTES or encode_key(prefix, public) != name:
        raise MalformedError("not the name of a key")
    return public


class Signer:
    """Signs claims as an account of NATS."""

    def __init__(self, seed: bytes) -> None:
        """Use the 32-byte private key of an account."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.name = encode_key(ACCOUNT_PREFIX, self._key.public_key().public_bytes_raw())

    def sign(self, claims: Claims, issued_at: int) -> str:
        """Return claims as a JWT.

        Args:
            claims: Without issuer, time and id.
            issued_at: In s since 1970.
        """
        whole = {**claims, "iss": self.name, "iat": issued_at, "jti": ""}
        digest = hashlib.sha256(json.dumps(whole).encode()).digest()
        whole["jti"] = base64.b32encode(digest).decode().rstrip("=")
        body = f"{_HEADER}.{_packed(json.dumps(whole).encode())}"
        return f"{body}.{_packed(self._key.sign(body.encode()))}"


def verified(token: bytes, prefix: int) -> dict[str, object]:
    """Return the claims of a JWT that its issuer has signed.

    Raises:
        MalformedError: It is no such token, or its signature does not hold.
    """
    try:
        if len(token) > MAX_CLAIMS_BYTES:
            raise MalformedError("claims of an impossible size")
        _, packed, signature = token.decode("ascii").split(".")
        claims = json.loads(_unpacked(packed))
        if not isinstance(claims, dict):
            raise MalformedError("claims that are none")
        key = Ed25519PublicKey.from_public_bytes(decode_key(prefix, str(claims.get("iss"))))
        key.verify(_unpacked(signature), token.rpartition(b".")[0])
    except (ValueError, InvalidSignature, RecursionError) as error:
        raise MalformedError("claims that nobody signed") from error
    return claims


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


_HEADER: Final = _packed(b'{"typ":"JWT","alg":"ed25519-nkey"}')
