"""What every store of a device promises about own messages: queued, under way, receipted."""

from client_sdk import entropy
from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import MessageState, Planned, Receipted
from client_sdk.stores.ports import Backlog, ClientStore, Delivery, PublishedMark
from client_sdk.wire.ids import DeviceAddress, EnvelopeId
from tests.contract.client_stores import (
    BOB,
    BOB_1,
    CAROL,
    CAROL_1,
    NOW,
    STREAM,
    envelope,
    incoming,
    outgoing,
    store,
    texts,
)

__all__ = ["store"]


async def test_queued_messages_wait_in_the_order_of_sending(store: ClientStore) -> None:
    for text, to in (("1", CAROL), ("2", BOB), ("3", BOB), ("4", CAROL)):
        await store.commit(Changes(messages=(outgoing(text, to),)))
    assert await store.users_with_queued() == [CAROL, BOB]
    assert [one.text for one in await store.queued(BOB, 10)] == ["2", "3"]
    assert [one.text for one in await store.queued(BOB, 1)] == ["2"]
    assert await store.queued(BOB, 0) == []
    (first, _) = await store.queued(BOB, 2)
    await store.commit(Changes(planned=(Planned(first.message_id, STREAM, 12),)))
    stored = await store.message(first.message_id)
    assert stored is not None
    assert stored.message == first._replace(
        state=MessageState.PLANNED, stream_id=STREAM, sequence=12
    )
    assert [one.text for one in await store.queued(BOB, 10)] == ["3"]


async def test_envelopes_are_due_until_receipted_and_receipts_until_published(
    store: ClientStore,
) -> None:
    message = outgoing()
    mail, receipt = envelope(message.message_id, 70), envelope(None, 30, NOW + 1)
    await store.commit(
        Changes(
            messages=(message,),
            planned=(Planned(message.message_id, STREAM, 1),),
            envelopes=(mail, receipt),
        )
    )
    assert await store.backlog(BOB_1) == Backlog(2, 100)
    assert await store.due_envelopes(NOW - 1, 10) == []
    assert await store.due_envelopes(NOW, 10) == [mail]
    assert await store.due_envelopes(NOW + 1, 10) == [mail, receipt]
    assert await store.due_envelopes(NOW + 1, 1) == [mail]
    unknown = PublishedMark(EnvelopeId("b" * 26), NOW)
    marks = [PublishedMark(one.envelope_id, NOW + 30) for one in (mail, receipt)]
    await store.mark_published([*marks, unknown])
    assert await store.due_envelopes(NOW + 29, 10) == []
    assert await store.next_envelope_at() == NOW + 30
    assert await store.due_envelopes(NOW + 30, 10) == [mail._replace(attempts=1)]
    stored = await store.message(message.message_id)
    assert stored is not None
    assert stored.message.state is MessageState.PUBLISHED
    await store.postpone(BOB_1, NOW + 20)
    await store.postpone(DeviceAddress("bob-2"), NOW + 90)
    assert await store.next_envelope_at() == NOW + 30
    await store.postpone(BOB_1, NOW + 40)
    assert await store.next_envelope_at() == NOW + 40
    await store.resume(BOB_1, NOW + 1)
    assert await store.next_envelope_at() == NOW + 40  # it was published before
    await store.publish_again(NOW + 5)
    assert await store.next_envelope_at() == NOW + 5
    await store.publish_again(NOW + 99)
    assert await store.next_envelope_at() == NOW + 5
    assert await store.envelopes_of(message.message_id) == [mail._replace(attempts=1)]
    await store.commit(Changes(envelopes_gone=(mail.envelope_id,)))
    assert await store.envelopes_of(message.message_id) == []


async def test_what_was_never_published_is_due_again_when_there_is_room(store: ClientStore) -> None:
    message = outgoing()
    mail = envelope(message.message_id)
    await store.commit(
        Changes(
            messages=(message,),
            planned=(Planned(message.message_id, STREAM, 1),),
            envelopes=(mail,),
        )
    )
    await store.postpone(BOB_1, NOW + 40)
    await store.resume(DeviceAddress("bob-2"), NOW + 1)
    assert await store.next_envelope_at() == NOW + 40
    await store.resume(BOB_1, NOW + 1)
    assert await store.next_envelope_at() == NOW + 1
    await store.resume(BOB_1, NOW + 9)
    assert await store.next_envelope_at() == NOW + 1


async def test_a_receipt_ends_the_envelope_of_that_device_only(store: ClientStore) -> None:
    message = outgoing()
    first = envelope(message.message_id)
    second = envelope(message.message_id)._replace(recipient=DeviceAddress("bob-2"))
    await store.commit(
        Changes(
            messages=(message,),
            planned=(Planned(message.message_id, STREAM, 1),),
            envelopes=(first, second),
        )
    )
    await store.commit(Changes(receipted=(Receipted(message.message_id, BOB_1, BOB, False, 5),)))
    assert await store.envelopes_of(message.message_id) == [second]
    for receipt in (
        Receipted(message.message_id, BOB_1, BOB, False, 99),
        Receipted(message.message_id, BOB_1, BOB, True, 6),
        Receipted(message.message_id, DeviceAddress("bob-2"), BOB, False, 7),
    ):
        await store.commit(Changes(receipted=(receipt,)))
    assert await store.deliveries(message.message_id) == [
        Delivery(BOB_1, 5, 6),
        Delivery(DeviceAddress("bob-2"), 7, None),
    ]
    stored = await store.message(message.message_id)
    assert stored is not None
    assert stored.message.state is MessageState.READ


async def test_receipts_for_foreign_or_queued_messages_change_nothing(store: ClientStore) -> None:
    queued, to_carol, received = outgoing(), outgoing(to=CAROL), incoming("hi", 1)
    mail = envelope(to_carol.message_id)._replace(recipient=CAROL_1, user=CAROL)
    await store.commit(
        Changes(
            messages=(queued, to_carol, received),
            planned=(Planned(to_carol.message_id, STREAM, 1),),
            envelopes=(mail,),
        )
    )
    for message_id in (
        queued.message_id,
        to_carol.message_id,
        received.message_id,
        entropy.draw_message_id(),
    ):
        for read in (True, False):
            await store.commit(Changes(receipted=(Receipted(message_id, BOB_1, BOB, read, 5),)))
        assert await store.deliveries(message_id) == []
    stored = await store.message(to_carol.message_id)
    assert stored is not None
    assert stored.message.state is MessageState.PLANNED
    assert await store.envelopes_of(to_carol.message_id) == [mail]
    assert [one.text for one in await store.queued(BOB, 9)] == ["hello"]
    assert texts(await store.history(BOB, 9, None)) == ["hello", "hi"]


async def test_sent_to_a_user_are_own_encrypted_messages_to_that_user(store: ClientStore) -> None:
    queued, to_bob, to_carol = outgoing(), outgoing(), outgoing(to=CAROL)
    received = incoming("hi", 1)
    messages = (queued, to_bob, to_carol, received)
    planned = (Planned(to_bob.message_id, STREAM, 1), Planned(to_carol.message_id, STREAM, 1))
    await store.commit(Changes(messages=messages, planned=planned))
    named = [one.message_id for one in messages] + [entropy.draw_message_id()]
    assert await store.sent_to(BOB, named) == {to_bob.message_id}
    assert await store.sent_to(CAROL, named) == {to_carol.message_id}
    assert await store.sent_to(BOB, []) == set()


async def test_own_messages_are_overdue_by_age_or_expiry_until_they_are_delivered(
    store: ClientStore,
) -> None:
    old, dated, young = outgoing("old", sent_at=5), outgoing("dated", expires_at=50), outgoing()
    delivered = outgoing("delivered", sent_at=5, state=MessageState.PLANNED)
    await store.commit(Changes(messages=(old, dated, young, delivered)))
    receipt = Receipted(delivered.message_id, BOB_1, BOB, False, 6)
    await store.commit(Changes(receipted=(receipt,)))
    found = await store.overdue(6, 50)
    assert {one.text for one in found} == {"old", "dated"}
    assert await store.overdue(5, 49) == []
