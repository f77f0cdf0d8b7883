"""Rules that only a small change of the code showed to be untested; see ``tests/mutants``."""

from itertools import pairwise

import pytest

from client_sdk import entropy
from client_sdk.core.device_lists import superseded_list, verify_follows
from client_sdk.core.erasure import _value_at
from client_sdk.core.errors import (
    AuthenticationError,
    InvalidBundleError,
    InvalidSignatureError,
)
from client_sdk.core.fingerprint import scannable
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.linking import check_join, make_join, open_grant, seal_grant
from client_sdk.core.signatures import sign_device_list, signed_by, verify_endorsements
from client_sdk.wire.bundle import (
    NO_PREVIOUS_LIST,
    DeviceEntry,
    DeviceList,
    Superseded,
    device_list_hash,
    succession_bytes,
)
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.ids import UserName
from client_sdk.wire.pq_message import PQ_CHUNK_BYTES
from tests.unit.core.test_core_device_lists import ACCOUNT, ALICE, FIRST, entry_of
from tests.unit.core.test_core_linking import CODE, IDENTITY, SEALING, SIGNING, granted


def succession(*keys: Ed25519KeyPair) -> tuple[Superseded, ...]:
    """Return keys that follow one another, each signed by the one before, but the last."""
    return tuple(
        Superseded(
            AccountKey(one.public), one.sign(succession_bytes(ALICE, AccountKey(after.public)))
        )
        for one, after in pairwise(keys)
    )


def following(known: DeviceList, signer: Ed25519KeyPair, **fields: object) -> DeviceList:
    changed = known._replace(
        version=known.version + 1, previous_hash=device_list_hash(known), **fields
    )
    return signed_by(signer, changed)


def test_a_list_may_not_rewrite_which_keys_came_before() -> None:
    made_up, newest = entropy.draw_ed25519(), entropy.draw_ed25519()
    key = AccountKey(newest.public)
    honest = following(FIRST, newest, account_key=key, superseded=succession(ACCOUNT, newest))
    verify_follows(FIRST, honest)
    rewritten = following(
        FIRST, newest, account_key=key, superseded=succession(made_up, ACCOUNT, newest)
    )
    with pytest.raises(InvalidBundleError, match="does not follow"):
        verify_follows(FIRST, rewritten)


def test_one_succession_follows_another() -> None:
    second, third = entropy.draw_ed25519(), entropy.draw_ed25519()
    once = superseded_list(ACCOUNT, second, FIRST, FIRST.devices)
    twice = superseded_list(second, third, once, FIRST.devices)
    verify_follows(FIRST, once)
    verify_follows(once, twice)
    with pytest.raises(InvalidBundleError, match="does not follow"):
        verify_follows(FIRST, twice)


def test_a_list_of_another_user_or_another_version_does_not_follow() -> None:
    for fields in ({"user": UserName("bob"), "devices": ()}, {"devices": ()}):
        followed = following(FIRST, ACCOUNT, **fields)
        if "user" not in fields:
            verify_follows(FIRST, followed)
            followed = signed_by(ACCOUNT, followed._replace(version=FIRST.version + 2))
        with pytest.raises(InvalidBundleError, match="does not follow"):
            verify_follows(FIRST, followed)


def test_a_succession_takes_the_devices_that_it_is_given() -> None:
    successor = entropy.draw_ed25519()
    assert superseded_list(ACCOUNT, successor, FIRST, ()).devices == ()


def test_the_first_number_of_a_list_without_devices_is_one() -> None:
    assert sign_device_list(ACCOUNT, ALICE, 1, NO_PREVIOUS_LIST, ()).next_number == 1


def endorsed_list(devices: tuple[DeviceEntry, ...], *keys: Ed25519KeyPair) -> DeviceList:
    newest = keys[-1]
    listed = sign_device_list(newest, ALICE, 1, NO_PREVIOUS_LIST, devices)
    return signed_by(newest, listed._replace(superseded=succession(*keys)))


def test_a_device_may_have_joined_under_any_earlier_key_and_each_device_is_asked() -> None:
    keys = tuple(entropy.draw_ed25519() for _ in range(3))
    joined = tuple(entry_of(number, key) for number, key in enumerate(keys, 1))
    verify_endorsements(endorsed_list(joined, *keys))
    for stranger_first in (False, True):
        stranger = entry_of(4, entropy.draw_ed25519())
        devices = (stranger, *joined) if stranger_first else (*joined, stranger)
        with pytest.raises(InvalidSignatureError):
            verify_endorsements(endorsed_list(devices, *keys))


def test_a_request_to_be_listed_names_the_keys_of_the_new_device() -> None:
    asked = (SEALING.public, bytes(32), bytes(16))
    entry = check_join(
        CODE, make_join(CODE, SIGNING, IDENTITY.public, asked), added_at=5, manager=False
    )
    assert bytes(entry.identity_key) == bytes(IDENTITY.public)
    assert bytes(entry.signing_key) == bytes(SIGNING.public)


def test_a_grant_for_another_account_or_another_user_is_refused() -> None:
    join = make_join(CODE, SIGNING, IDENTITY.public, (SEALING.public, bytes(32), bytes(16)))
    strange, good = entropy.draw_ed25519(), granted()
    for list_of_another in (
        signed_by(strange, good._replace(account_key=AccountKey(strange.public))),
        signed_by(ACCOUNT, good._replace(user=UserName("mallory"))),
    ):
        sealed = seal_grant(CODE, join, list_of_another, None)
        with pytest.raises(AuthenticationError, match="does not come from the device"):
            open_grant(CODE, SEALING, SIGNING, sealed)


def test_a_scanned_code_has_no_padding() -> None:
    keys = (b"\x02" + b"x" * 32, b"\x02" + b"y" * 32)
    shown, _ = scannable(b"carol", keys[0], b"dan", keys[1])
    assert shown.startswith("RATCHETMQ:SN1:")
    assert not shown.endswith("=")


def test_values_are_as_many_as_the_points_that_they_stand_at() -> None:
    for count in (1, 3):
        with pytest.raises(ValueError, match="zip"):
            _value_at((0, 1), [bytes(PQ_CHUNK_BYTES)] * count, 5)
