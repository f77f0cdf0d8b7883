"""Keys and claims of NATS, and the answer to a login."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.accounts.nkeys import (
    ACCOUNT_PREFIX,
    MAX_CLAIMS_BYTES,
    SERVER_PREFIX,
    Signer,
    decode_key,
    encode_key,
    verified,
)
from broker.accounts.responder import RIGHTS_SECONDS, Responder
from client_sdk.wire.errors import MalformedError
from keydir.stores.credentials import StoredLogin

NOW = 1_800_000_000
SERVER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SERVER_NAME = encode_key(SERVER_PREFIX, SERVER.public_key().public_bytes_raw())
SIGNER = Signer(bytes(32))


class Known:
    """One login."""

    def logins(self) -> dict[str, StoredLogin]:
        return {}

    def secret_hash(self, login: str) -> bytes | None:
        return hashlib.sha256(b"right").digest() if login in {"alice-1", "_kd"} else None

    def revision(self) -> int:
        return 1


def packed(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed(claims: dict[str, object], key: Ed25519PrivateKey = SERVER) -> bytes:
    body = (
        packed(b'{"typ":"JWT","alg":"ed25519-nkey"}') + b"." + packed(json.dumps(claims).encode())
    )
    return body + b"." + packed(key.sign(body))


def asked(user: str = "alice-1", secret: str = "right", **client: str) -> dict[str, object]:
    return {
        "aud": "nats-authorization-request",
        "iss": SERVER_NAME,
        "nats": {
            "server_id": {"id": SERVER_NAME},
            "user_nkey": "U" * 56,
            "client_info": {"type": "mqtt", "mqtt_id": user, **client},
            "connect_opts": {"user": user, "pass": secret},
        },
    }


def verdict(request: bytes) -> dict[str, object]:
    answer = Responder(Known(), SIGNER, lambda: NOW).answer(request)
    told = verified(answer, ACCOUNT_PREFIX)
    assert (told["iss"], told["aud"], told["sub"]) == (SIGNER.name, SERVER_NAME, "U" * 56)
    nats = told["nats"]
    assert isinstance(nats, dict)
    return nats


def test_the_name_of_a_key_is_read_back() -> None:
    name = encode_key(ACCOUNT_PREFIX, bytes(range(32)))
    assert name.startswith("A")
    assert len(name) == 56
    assert decode_key(ACCOUNT_PREFIX, name) == bytes(range(32))


@pytest.mark.parametrize(
    "name", ["", "A", "A" * 56, SERVER_NAME.lower(), SERVER_NAME + "A", "é" * 56]
)
def test_another_text_is_no_name_of_a_key(name: str) -> None:
    with pytest.raises(MalformedError):
        decode_key(SERVER_PREFIX, name)


def test_a_right_login_gets_its_rights_for_a_bounded_time() -> None:
    token = verdict(signed(asked()))["jwt"]
    assert isinstance(token, str)
    rights = verified(token.encode(), ACCOUNT_PREFIX)
    assert (rights["aud"], rights["sub"], rights["name"]) == ("MAIL", "U" * 56, "alice-1")
    assert isinstance(rights["exp"], int)
    assert NOW + RIGHTS_SECONDS <= rights["exp"] <= NOW + RIGHTS_SECONDS * 5 // 4
    nats = rights["nats"]
    assert isinstance(nats, dict)
    assert nats["allowed_connection_types"] == ["MQTT", "MQTT_WS"]
    assert nats["sub"] == {"allow": ["v1.u.alice-1.>", "v1.u.alice-1"]}


@pytest.mark.parametrize(
    "wrong",
    [
        asked(secret="wrong"),
        asked("bob-1"),
        asked("*"),
        asked(""),
        asked(mqtt_id="bob-1"),
        asked(mqtt_id=""),
        asked(type="nats"),
    ],
)
def test_any_other_login_is_refused(wrong: dict[str, object]) -> None:
    assert verdict(signed(wrong)) == {
        "type": "authorization_response",
        "version": 2,
        "error": "not authorised",
    }


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"...",
        b"\xff.\xff.\xff",
        signed(asked())[:-3] + b"AAA",
        signed(asked(), Ed25519PrivateKey.from_private_bytes(bytes(32))),
        signed({**asked(), "aud": "other"}),
        signed({**asked(), "nats": []}),
        signed({**asked(), "nats": {}}),
        signed({**asked(), "iss": 3}),
        signed([]),  # type: ignore[arg-type]
        b"." * (MAX_CLAIMS_BYTES + 1),
    ],
)
def test_garbage_gets_no_answer(garbage: bytes) -> None:
    with pytest.raises(MalformedError):
        Responder(Known(), SIGNER, lambda: NOW).answer(garbage)
