"""What the state machine has found, each as the few steps that lead there."""

from collections.abc import Iterator

import pytest

from client_sdk.wire.ids import DeviceAddress
from tests.property.machine.home import Home
from tests.property.machine.world import USERS, World

ALICE, BOB = USERS


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def deliver_to(world: World, address: DeviceAddress, *, skip: int = 0) -> None:
    """Deliver what is on its way to one device, less the first ``skip``; the rest stays."""
    mine = [one for one in world.mail if one.recipient == address]
    world.mail = [one for one in world.mail if one.recipient != address]
    for mail in mine[skip:]:
        world.deliver(mail)
    world.mail += mine[:skip]


def second_device(world: World, home: Home, *, as_manager: bool = False) -> Home:
    added = world.add_device(home, as_manager=as_manager)
    assert added is not None
    return added


def test_a_receipt_goes_to_the_device_that_waits_also_where_only_another_has_a_session(
    world: World,
) -> None:
    alice, bob = world.homes
    second = second_device(world, bob)
    world.send(alice, 1)
    world.send(bob, 1)
    world.settle()
    world.archive(alice, BOB)
    world.initiate(alice, second)
    world.send(bob, 1)  # in a session that alice has put away
    world.settle()
    world.check()


def test_a_copy_of_a_device_that_was_removed_leaves_no_receipt_owed(world: World) -> None:
    alice, _ = world.homes
    second = second_device(world, alice, as_manager=True)
    world.send(alice, 1)
    deliver_to(world, second.address)
    assert world.run(second.store.receipts_due(9))
    assert world.remove_device(second, alice)
    world.settle()
    world.check()
    assert world.run(second.store.receipts_due(9)) == []


def test_what_waited_behind_a_missing_message_of_a_removed_device_is_shown(
    world: World,
) -> None:
    alice, bob = world.homes
    second = second_device(world, bob, as_manager=True)
    world.settle()
    world.send(second, 2)
    deliver_to(world, alice.address, skip=1)
    world.mail.clear()  # the first is lost
    world.kept.clear()
    assert alice.shown == []
    assert world.remove_device(bob, second)
    world.run(alice.context.peers.refresh(BOB))
    world.settle()
    world.check()
    assert [one.rpartition("-")[0] for one in alice.shown] == ["bob"]
    assert alice.shown == [world.sent[1][0]]


def test_a_backup_that_is_restored_twice_gives_no_prekey_number_another_key(world: World) -> None:
    alice, bob = world.homes
    world.take_backup(alice)
    seen: dict[int, bytes] = {}
    for _ in range(3):
        world.send(alice, 1)
        world.send(bob, 1)
        world.settle()
        world.restore(alice)
        uploads = world.directory.uploads[alice.address]
        assert uploads.signed is not None
        assert uploads.last_resort is not None
        for record in (uploads.signed, uploads.last_resort):
            assert seen.setdefault(record.id, bytes(record.key)) == bytes(record.key)
    assert len(seen) == 6
    world.settle()
    world.check()


def test_a_first_message_under_prekeys_of_a_copy_that_is_gone_is_asked_for_again(
    world: World,
) -> None:
    alice, bob = world.homes
    world.take_backup(alice)
    world.send(alice, 1)
    world.settle()
    world.restore(alice)
    world.archive(bob, ALICE)
    world.send(bob, 3)  # a new session, made of prekeys that the next restored copy lacks
    world.send(alice, 1)
    world.restore(alice)
    world.settle()
    world.check()
    assert alice.shown[-3:] == [text for text, sender in world.sent if sender is bob]
