"""What every store keeps of devices that get messages later, or no more."""

import pytest

from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import (
    CatchUp,
    Late,
    Message,
    MessageState,
    Peer,
    Planned,
    SessionRow,
    StateChange,
)
from client_sdk.stores.late_rows import MAX_CATCH_UP
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.ids import DeviceAddress
from tests.contract.client_stores import (
    ALICE,
    BOB,
    BOB_1,
    CAROL,
    NOW,
    STREAM,
    envelope,
    outgoing,
    store,
)

__all__ = ["store"]

ALICE_1, ALICE_2 = DeviceAddress("alice-1"), DeviceAddress("alice-2")
BOB_2 = DeviceAddress("bob-2")


async def planned(store: ClientStore, *messages: Message, late: tuple[Late, ...] = ()) -> None:
    await store.commit(
        Changes(
            messages=messages,
            planned=tuple(
                Planned(one.message_id, STREAM, number)
                for number, one in enumerate(messages, start=1)
            ),
            late=late,
        )
    )


async def waiting(store: ClientStore, device: DeviceAddress) -> list[tuple[str | None, int]]:
    return [(one.message.text, one.copy_sequence) for one in await store.late(device, 99)]


async def test_a_late_message_waits_for_its_device_in_the_order_of_sending(
    store: ClientStore,
) -> None:
    first, second = outgoing("first"), outgoing("second")
    late = [Late(one.message_id, BOB_2, BOB) for one in (second, first)]
    await planned(store, first, second, late=tuple(late))
    assert await store.users_with_late() == [BOB]
    assert await waiting(store, BOB_2) == [("first", 0), ("second", 0)]
    assert len(await store.late(BOB_2, 1)) == 1
    assert await waiting(store, BOB_1) == []
    found = (await store.late(BOB_2, 9))[1]
    assert (found.late, found.message.sequence) == (late[0], 2)
    await store.commit(Changes(late_done=(found.late,)))
    assert await waiting(store, BOB_2) == [("first", 0)]
    assert (await store.snapshot(BOB)).late == {BOB_2}
    await store.commit(Changes(late_done=(late[1],)))
    assert (await store.snapshot(BOB)).late == frozenset()


async def test_copies_are_numbered_without_a_gap_over_all_conversations(
    store: ClientStore,
) -> None:
    to_bob, to_carol = outgoing("to bob"), outgoing("to carol", CAROL)
    for one in (to_bob, to_carol):
        copies = tuple(Late(one.message_id, device, ALICE) for device in (ALICE_2, BOB_2))
        await planned(store, one, late=copies)
    assert await waiting(store, ALICE_2) == [("to bob", 1), ("to carol", 2)]
    assert await waiting(store, BOB_2) == [("to bob", 1), ("to carol", 2)]


async def test_a_new_device_catches_up_with_what_was_sent_since_and_nobody_has_yet(
    store: ClientStore,
) -> None:
    old, undelivered = outgoing("old", sent_at=NOW - 9), outgoing("undelivered", sent_at=NOW - 8)
    new, foreign = outgoing("new", sent_at=NOW), outgoing("another's", CAROL)
    queued = outgoing("queued")
    copied = outgoing("by the other", sender_device=ALICE_2, state=MessageState.COPIED)
    await planned(store, old, undelivered, new, foreign)
    await store.commit(
        Changes(
            messages=(queued, copied),
            states=tuple(
                StateChange(one.message_id, ALICE, MessageState.DELIVERED) for one in (old, new)
            ),
        )
    )
    await store.commit(Changes(catch_up=(CatchUp(BOB_2, BOB, ALICE_1, NOW),)))
    assert await waiting(store, BOB_2) == [("undelivered", 0), ("new", 0)]
    own = DeviceAddress("alice-3")
    await store.commit(Changes(catch_up=(CatchUp(own, ALICE, ALICE_1, NOW),)))
    assert await waiting(store, own) == [("new", 1), ("another's", 2)]


async def test_catching_up_leaves_no_hole_in_the_stream(store: ClientStore) -> None:
    first, second, third = (outgoing(str(number), sent_at=NOW - 9) for number in range(3))
    await planned(store, first, second, third)
    delivered = StateChange(second.message_id, ALICE, MessageState.DELIVERED)
    await store.commit(Changes(states=(delivered,)))
    await store.commit(Changes(catch_up=(CatchUp(BOB_2, BOB, ALICE_1, NOW),)))
    assert await waiting(store, BOB_2) == [("0", 0), ("1", 0), ("2", 0)]


async def test_a_new_device_is_sent_the_newest_1000_at_most(store: ClientStore) -> None:
    many = [outgoing(str(number)) for number in range(MAX_CATCH_UP + 1)]
    await planned(store, *many)
    await store.commit(Changes(catch_up=(CatchUp(BOB_2, BOB, ALICE_1, NOW),)))
    found = await store.late(BOB_2, MAX_CATCH_UP + 1)
    assert len(found) == MAX_CATCH_UP
    assert found[0].message.text == "1"


async def test_a_device_that_left_takes_sessions_envelopes_and_late_messages_along(
    store: ClientStore,
) -> None:
    one = outgoing()
    await store.commit(
        Changes(
            based_on=(UserRevision(BOB, 0),),
            sessions=(SessionRow(BOB_1, BOB, b"one", 7), SessionRow(BOB_2, BOB, b"two")),
        )
    )
    sent = envelope(one.message_id)
    await planned(store, one, late=(Late(one.message_id, BOB_2, BOB),))
    await store.commit(Changes(envelopes=(sent,)))
    assert await store.envelopes_for(BOB_1) == [sent.envelope_id]
    await store.commit(Changes(devices_gone=(BOB_1,)))
    assert await store.envelopes_for(BOB_1) == []
    assert (await store.snapshot(BOB)).sessions == (SessionRow(BOB_2, BOB, b"two"),)
    await store.commit(Changes(devices_gone=(BOB_2,)))
    assert await store.users_with_late() == []
    assert (await store.snapshot(BOB)).sessions == ()


async def test_envelopes_outlive_a_message_by_no_more_than_their_time(store: ClientStore) -> None:
    one = outgoing()
    young, old = envelope(one.message_id, at=NOW), envelope(one.message_id, at=NOW - 1)
    await planned(store, one)
    await store.commit(Changes(envelopes=(young, old)))
    assert [two.envelope_id for two in await store.outlived(NOW, 9)] == [old.envelope_id]
    assert len(await store.outlived(NOW + 1, 1)) == 1


async def test_late_messages_are_forgotten_with_their_age(store: ClientStore) -> None:
    old, young = outgoing("old", sent_at=NOW - 1), outgoing("young", sent_at=NOW)
    late = tuple(Late(one.message_id, BOB_2, BOB) for one in (old, young))
    await planned(store, old, young, late=late)
    await store.prune(NOW)
    assert await waiting(store, BOB_2) == [("young", 0)]


async def test_the_device_that_has_sent_a_message_is_found(store: ClientStore) -> None:
    one = outgoing(sender_device=ALICE_2)
    await store.commit(Changes(messages=(one,)))
    unknown = outgoing()
    found = await store.senders_of(ALICE, [one.message_id, unknown.message_id])
    assert found == {one.message_id: ALICE_2}


async def test_copies_stand_in_the_history_in_the_order_of_their_release(
    store: ClientStore,
) -> None:
    held = [
        outgoing(text, sender_device=ALICE_2, state=MessageState.HELD, sequence=number)
        for number, text in ((2, "second"), (1, "first"))
    ]
    await store.commit(Changes(messages=tuple(held)))
    released = tuple(StateChange(one.message_id, ALICE, MessageState.COPIED) for one in held[::-1])
    await store.commit(Changes(states=released))
    history = await store.history(BOB, 9, None)
    assert [one.message.text for one in history] == ["first", "second"]
    assert await store.ready(9) == []


@pytest.mark.parametrize("equivocation", [True, False])
async def test_what_is_known_of_a_users_devices_comes_back(
    store: ClientStore, equivocation: bool
) -> None:
    peer = Peer(BOB, equivocation=equivocation, absent=b"\x02\x7f")
    await store.commit(Changes(based_on=(UserRevision(BOB, 0),), peers=(peer,)))
    assert (await store.snapshot(BOB)).peer == peer
