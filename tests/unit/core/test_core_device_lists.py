"""Device lists that follow one another: what may change from one version to the next."""

from typing import Any

import pytest

from client_sdk import entropy
from client_sdk.core.device_lists import (
    list_with,
    list_without,
    superseded_list,
    verify_follows,
)
from client_sdk.core.errors import (
    DevicesFullError,
    InvalidBundleError,
    InvalidSignatureError,
)
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.signatures import (
    endorse,
    sign_device_list,
    signed_by,
    verify_device_list,
    verify_endorsements,
)
from client_sdk.wire.bundle import (
    NO_PREVIOUS_LIST,
    DeviceEntry,
    DeviceList,
    Superseded,
    device_list_hash,
)
from client_sdk.wire.encoded_keys import AccountKey, IdentityKey, Signature, SigningKey
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceNumber, UserName, device_address
from client_sdk.wire.limits import MAX_DEVICE_NUMBER, MAX_DEVICES, MAX_SUPERSEDED

ALICE = UserName("alice")
ACCOUNT = entropy.draw_ed25519()


def entry_of(
    number: int, account: Ed25519KeyPair = ACCOUNT, *, manager: bool = False
) -> DeviceEntry:
    signing = entropy.draw_ed25519()
    address = device_address(ALICE, DeviceNumber(number))
    return DeviceEntry(
        DeviceNumber(number),
        SigningKey(signing.public),
        IdentityKey(entropy.draw_x25519().public),
        number,
        manager,
        endorse(signing, address, AccountKey(account.public)),
    )


FIRST = sign_device_list(ACCOUNT, ALICE, 1, NO_PREVIOUS_LIST, (entry_of(1, manager=True),))


def signed_again(account: Ed25519KeyPair, offered: DeviceList, **fields: Any) -> DeviceList:
    return signed_by(account, offered._replace(**fields))


def test_a_device_more_and_a_device_less_follow() -> None:
    second = list_with(ACCOUNT, FIRST, entry_of(2))
    third = list_without(ACCOUNT, second, DeviceNumber(2))
    fourth = list_with(ACCOUNT, third, entry_of(3))
    for known, offered in ((FIRST, second), (second, third), (third, fourth)):
        verify_follows(known, offered)
    assert [one.number for one in fourth.devices] == [1, 3]
    assert (fourth.version, fourth.next_number) == (4, 4)


def test_a26_a_list_that_does_not_follow_is_refused() -> None:
    second = list_with(ACCOUNT, FIRST, entry_of(2))
    third = list_without(ACCOUNT, second, DeviceNumber(2))
    other = entry_of(1)
    bad = {
        "replayed": (second, FIRST),
        "the same again": (second, second),
        "hidden": (FIRST, third),
        "another user's": (FIRST, signed_again(ACCOUNT, second, user=UserName("mallory"))),
        "another predecessor": (FIRST, signed_again(ACCOUNT, second, previous_hash=bytes(32))),
        "a number used twice": (third, list_with(ACCOUNT, third, entry_of(2))),
        "a number given back": (second, signed_again(ACCOUNT, third, next_number=2)),
        "other keys of a device": (FIRST, signed_again(ACCOUNT, second, devices=(other,))),
        "not signed": (FIRST, second._replace(signature=Signature(bytes(64)))),
    }
    for why, (known, offered) in bad.items():
        with pytest.raises(ProtocolError):
            verify_follows(known, offered)
        assert why
    verify_follows(FIRST, second)


def test_a26_a_device_injected_without_the_account_key_is_refused() -> None:
    directory = entropy.draw_ed25519()
    injected = list_with(directory, FIRST, entry_of(2))
    with pytest.raises(InvalidSignatureError):
        verify_follows(FIRST, injected)
    own_account = signed_by(directory, injected._replace(account_key=AccountKey(directory.public)))
    with pytest.raises(ProtocolError):
        verify_follows(FIRST, own_account)


def test_another_account_key_follows_once_the_old_one_has_signed_it() -> None:
    second = list_with(ACCOUNT, FIRST, entry_of(2, manager=True))
    following = entropy.draw_ed25519()
    third = superseded_list(ACCOUNT, following, second, FIRST.devices)
    verify_follows(second, third)
    fourth = list_with(following, third, entry_of(3, following))
    verify_follows(third, fourth)
    assert [one.account_key for one in fourth.superseded] == [FIRST.account_key]
    unsigned = third._replace(superseded=(Superseded(FIRST.account_key, Signature(bytes(64))),))
    with pytest.raises(InvalidSignatureError):
        verify_follows(second, signed_by(following, unsigned))
    with pytest.raises(ProtocolError):
        verify_follows(second, signed_again(following, third, superseded=()))
    unnamed = signed_again(following, third, superseded=(), devices=(entry_of(3, following),))
    with pytest.raises(InvalidBundleError):
        verify_follows(second, unnamed)


def test_a_list_under_a_superseded_key_is_refused_for_ever() -> None:
    following = entropy.draw_ed25519()
    second = superseded_list(ACCOUNT, following, FIRST, FIRST.devices)
    back = superseded_list(following, ACCOUNT, second, FIRST.devices)
    with pytest.raises(InvalidBundleError, match="goes back to a superseded key"):
        verify_follows(second, back)
    old = signed_by(ACCOUNT, FIRST._replace(version=3, previous_hash=device_list_hash(second)))
    with pytest.raises(InvalidBundleError):
        verify_follows(second, old)


def test_a_device_endorses_the_key_that_it_joined_under_and_no_foreign_one() -> None:
    following = entropy.draw_ed25519()
    second = superseded_list(ACCOUNT, following, FIRST, FIRST.devices)
    verify_endorsements(second)
    foreign = entry_of(2, entropy.draw_ed25519())
    with pytest.raises(InvalidSignatureError):
        verify_endorsements(list_with(following, second, foreign))
    with pytest.raises(InvalidSignatureError):
        verify_endorsements(list_with(ACCOUNT, FIRST, foreign))


def test_16_devices_fit_and_17_do_not() -> None:
    known = FIRST
    for number in range(2, MAX_DEVICES + 1):
        known = list_with(ACCOUNT, known, entry_of(number))
    assert len(known.devices) == MAX_DEVICES
    with pytest.raises(DevicesFullError, match="remove one first"):
        list_with(ACCOUNT, known, entry_of(MAX_DEVICES + 1))
    fewer = list_without(ACCOUNT, known, DeviceNumber(5))
    verify_follows(fewer, list_with(ACCOUNT, fewer, entry_of(MAX_DEVICES + 1)))


def test_the_last_number_is_127() -> None:
    last = signed_again(ACCOUNT, FIRST, next_number=MAX_DEVICE_NUMBER)
    full = list_with(ACCOUNT, last, entry_of(MAX_DEVICE_NUMBER))
    verify_follows(last, full)
    with pytest.raises(DevicesFullError, match="all 127 device numbers"):
        list_with(ACCOUNT, full, entry_of(MAX_DEVICE_NUMBER))


def test_an_account_key_is_replaced_32_times_and_not_once_more() -> None:
    known, account = FIRST, ACCOUNT
    for _ in range(MAX_SUPERSEDED):
        following = entropy.draw_ed25519()
        known, account = superseded_list(account, following, known, FIRST.devices), following
    verify_device_list(known)
    with pytest.raises(DevicesFullError, match="only a new account"):
        superseded_list(account, entropy.draw_ed25519(), known, FIRST.devices)


def test_a_list_that_uses_a_free_number_is_refused() -> None:
    with pytest.raises(InvalidBundleError, match="still free"):
        verify_device_list(signed_again(ACCOUNT, FIRST, next_number=1))
