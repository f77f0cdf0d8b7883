"""Logins are compared by the hash of their secret; nothing else lets anybody in."""

import hashlib

import pytest

from broker import auth
from broker.auth import Identity, verify
from broker.ports import Credentials
from tests.brokers.memory_credentials import MemoryCredentials


def test_the_credentials_of_the_tests_satisfy_the_port() -> None:
    assert isinstance(MemoryCredentials(), Credentials)


def test_the_right_secret_gives_the_identity() -> None:
    credentials = MemoryCredentials({"alice-1": "sesame"})
    digest = hashlib.sha256(b"sesame").digest()
    assert verify(credentials, "alice-1", "sesame") == Identity("alice-1", digest)


@pytest.mark.parametrize(
    ("login", "password"), [("alice-1", "wrong"), ("alice-1", ""), ("bob-1", "sesame"), ("", "")]
)
def test_anything_else_gives_nobody(login: str, password: str) -> None:
    assert verify(MemoryCredentials({"alice-1": "sesame"}), login, password) is None


def test_an_unknown_login_takes_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = auth.hmac.compare_digest

    def counting(first: bytes, second: bytes) -> bool:
        compared.append((len(first), len(second)))
        return compare(first, second)

    monkeypatch.setattr(auth.hmac, "compare_digest", counting)
    for login in ("alice-1", "bob-1", "#"):
        verify(MemoryCredentials({"alice-1": "sesame"}), login, "wrong")
    assert compared == [(32, 32)] * 3


def test_the_stand_in_for_unknown_logins_admits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(byte for byte in auth._NOBODY)
    credentials = MemoryCredentials()
    nothing = type("", (), {"digest": lambda _: auth._NOBODY})()
    monkeypatch.setattr(auth.hashlib, "sha256", lambda _: nothing)
    assert verify(credentials, "alice-1", "") is None


def test_a_secret_for_a_name_that_is_no_login_is_not_even_looked_up() -> None:
    assert verify(MemoryCredentials({"#": "sesame"}), "#", "sesame") is None


def test_an_identity_does_not_show_its_hash() -> None:
    assert repr(Identity("alice-1", b"\x01" * 32)) == "Identity('alice-1')"
