"""What a store keeps of a device that waits to be linked."""

import pytest

from client_sdk import entropy
from client_sdk.core.device_lists import list_with
from client_sdk.core.errors import AuthenticationError
from client_sdk.core.hpke import HpkeKeyPair
from client_sdk.core.linking import check_join, seal_grant
from client_sdk.machine.device import Stage, encode_device, load_device
from client_sdk.machine.linking import (
    FreshLink,
    LinkingRecord,
    join_of,
    linked,
    new_link,
    stored_device,
)
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Status
from client_sdk.wire.encoded_keys import Signature
from client_sdk.wire.enrollment import EnrollReply
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceNumber
from client_sdk.wire.linking import LinkCode
from tests.unit.machine.household import list_of
from tests.unit.machine.machine_parties import NOW, Party, make_party


def waiting_device(owner: Party) -> LinkingRecord:
    invitation = owner.own.record.invitation
    code = LinkCode(invitation, entropy.draw_bytes(32), list_of(owner).account_key, DeviceNumber(2))
    fresh = FreshLink(
        signing=entropy.draw_ed25519(),
        identity=entropy.draw_x25519(),
        credential=entropy.draw_bytes(32),
        stream_id=entropy.draw_stream_id(),
        nonce=entropy.draw_bytes(16),
        reply_private=entropy.draw_hpke().private_bytes(),
    )
    return new_link(code, fresh)


def answer(owner: Party, record: LinkingRecord, *, manager: bool) -> EnrollReply:
    account = owner.own.account
    assert account is not None
    join = join_of(record)
    entry = check_join(record.code, join, added_at=NOW, manager=manager)
    newest = list_with(account, list_of(owner), entry)
    sealed = seal_grant(record.code, join, newest, account if manager else None)
    ids = (record.code.invitation.directory_id, record.code.invitation.invitation_id)
    return EnrollReply(
        *ids,
        nonce=record.nonce,
        status=Status.OK,
        address="alice-2",
        role="doctor",
        name="Alice",
        grant=sealed,
        signature=Signature(bytes(64)),
    )


def test_a_waiting_device_is_stored_beside_no_list_and_offers_the_same_again() -> None:
    record = waiting_device(make_party("alice"))
    assert stored_device(encode(record)) == record
    assert join_of(record) == join_of(record)
    assert repr(record) == "LinkingRecord(address='alice-2')"
    pair = HpkeKeyPair.from_private_bytes(record.reply_private)
    assert join_of(record).reply_key == pair.public
    with pytest.raises(ProtocolError):
        stored_device(b"\x90")


@pytest.mark.parametrize("manager", [True, False])
def test_an_approved_device_becomes_what_the_list_says(manager: bool) -> None:
    owner = make_party("alice")
    record = waiting_device(owner)
    device = linked(record, answer(owner, record, manager=manager))
    assert stored_device(encode_device(device)) == device
    assert (device.stage, device.address, device.role) == (Stage.ENROLLED, "alice-2", "doctor")
    own = load_device(device)
    assert (own.account is not None) is manager
    assert own.others == ("alice-1",)


def test_a_grant_of_another_code_makes_no_device() -> None:
    owner = make_party("alice")
    record, other = waiting_device(owner), waiting_device(owner)
    with pytest.raises(AuthenticationError):
        linked(record, answer(owner, other, manager=False))
