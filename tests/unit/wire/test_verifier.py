"""What a server is told of a password."""

import hashlib

import pytest
from pydantic import TypeAdapter, ValidationError

from client_sdk.wire.errors import MalformedError
from client_sdk.wire.invitation import secret_hash
from client_sdk.wire.verifier import (
    CredentialField,
    salt_of,
    split_credential,
    stored_credential,
)


def test_a_credential_is_the_hash_and_behind_it_what_mosquitto_compares() -> None:
    digest, verifier = split_credential(stored_credential("password"))
    assert digest == secret_hash("password")
    assert verifier == hashlib.pbkdf2_hmac("sha512", b"password", salt_of(digest), 101, 64)
    assert len(salt_of(digest)) == 12


def test_a_hash_alone_has_no_verifier() -> None:
    assert split_credential(bytes(32)) == (bytes(32), None)


def test_the_salt_differs_with_the_password() -> None:
    assert salt_of(secret_hash("one")) != salt_of(secret_hash("other"))


@pytest.mark.parametrize("size", [0, 31, 33, 95, 97])
def test_no_other_length_is_a_credential(size: int) -> None:
    with pytest.raises(MalformedError):
        split_credential(bytes(size))
    with pytest.raises(ValidationError):
        TypeAdapter(CredentialField).validate_python(bytes(size))


@pytest.mark.parametrize("size", [32, 96])
def test_both_lengths_are_taken_from_a_device(size: int) -> None:
    assert TypeAdapter(CredentialField).validate_python(bytes(size)) == bytes(size)
