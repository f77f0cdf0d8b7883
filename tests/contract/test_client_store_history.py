"""What every store of a device promises about received messages: handed over, shown, asked for."""

import pytest

from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import MessageState, ReceiptDue, StateChange, StreamPosition
from client_sdk.stores.errors import StoreError
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.ids import MessageId, UserName
from tests.contract.client_stores import (
    BOB,
    BOB_1,
    CAROL,
    CAROL_1,
    STREAM,
    incoming,
    outgoing,
    released,
    store,
    texts,
)

__all__ = ["store"]


async def test_messages_are_handed_over_in_the_order_of_their_release(store: ClientStore) -> None:
    one, two, three = incoming("one", 1), incoming("two", 2), incoming("three", 3)
    await store.commit(Changes(messages=(three,)))
    await store.commit(Changes(messages=(two,)))
    assert await store.ready(10) == []
    await store.commit(Changes(messages=(one,), states=tuple(map(released, (one, two, three)))))
    four, five = incoming("four", 4), incoming("five", 5)
    await store.commit(
        Changes(messages=(four, five), states=(released(four), released(five, after_gap=True)))
    )
    everything = ["one", "two", "three", "four", "five"]
    assert texts(await store.ready(10)) == everything
    assert texts(await store.ready(2)) == ["one", "two"]
    assert [one.message.after_gap for one in await store.ready(10)] == [False] * 4 + [True]
    await store.commit(Changes(states=(released(one, MessageState.HANDLED),)))
    assert texts(await store.ready(10)) == everything[1:]
    assert texts(await store.history(BOB, 10, None)) == everything


async def test_history_shows_what_waited_in_the_order_of_its_release(store: ClientStore) -> None:
    held = [incoming(str(number), number) for number in (2, 4, 6)]
    await store.commit(Changes(messages=tuple(held)))
    one, three, five = (incoming(str(number), number) for number in (1, 3, 5))
    order = [one, held[0], three, held[1], five, held[2]]
    await store.commit(Changes(messages=(one, three, five), states=tuple(map(released, order))))
    own = outgoing("own")
    await store.commit(Changes(messages=(own,)))
    seven = incoming("7", 7)
    await store.commit(Changes(messages=(seven,), states=(released(seven),)))
    shown = await store.history(BOB, 99, None)
    assert texts(shown) == ["1", "2", "3", "4", "5", "6", "own", "7"]
    positions = [one.position for one in shown]
    assert positions == sorted(set(positions))
    assert texts(await store.history(BOB, 3, positions[5])) == ["3", "4", "5"]
    assert texts(await store.history(BOB, 3, positions[0])) == []
    assert await store.history(CAROL, 3, None) == []


async def test_one_state_belongs_to_one_sender(store: ClientStore) -> None:
    of_bob = incoming("bob's", 1)
    of_carol = incoming("carol's", 1, CAROL)._replace(message_id=of_bob.message_id)
    own = outgoing("own")._replace(message_id=of_bob.message_id)
    await store.commit(Changes(messages=(of_bob, of_carol, own), states=(released(of_carol),)))
    assert texts(await store.ready(9)) == ["carol's"]
    assert await store.known_messages(BOB, [of_bob.message_id]) == {of_bob.message_id}
    stored = await store.message(of_bob.message_id)
    assert stored is not None
    assert stored.message == own
    assert await store.known_messages(UserName("dave"), [of_bob.message_id]) == set()
    with pytest.raises(StoreError):
        await store.commit(Changes(messages=(of_bob,)))


async def test_requests_wait_in_the_order_of_their_streams(store: ClientStore) -> None:
    second, first = incoming("second", 2), incoming("first", 1)
    of_carol = incoming("carol's", 1, CAROL)
    request = MessageState.REQUEST
    await store.commit(Changes(messages=(second,)))
    await store.commit(
        Changes(messages=(first,), states=(released(first, request), released(second, request)))
    )
    await store.commit(Changes(messages=(of_carol,), states=(released(of_carol, request),)))
    assert texts(await store.requests()) == ["first", "carol's"]
    waiting = [first.message_id, second.message_id]
    assert await store.waiting_requests(BOB) == waiting
    assert await store.ready(9) == []
    states = tuple(StateChange(one, BOB, MessageState.READY) for one in waiting)
    await store.commit(Changes(states=states))
    assert texts(await store.ready(9)) == ["first", "second"]
    assert texts(await store.requests()) == ["carol's"]


async def test_receipts_are_owed_once_until_sent(store: ClientStore) -> None:
    first = ReceiptDue(BOB, MessageId(b"1" * 16), False, 20)
    early = ReceiptDue(CAROL, MessageId(b"2" * 16), False, 10)
    read = first._replace(read=True, due_since=30)
    await store.commit(Changes(receipts_due=(first, early, read)))
    await store.commit(Changes(receipts_due=(first._replace(due_since=99),)))
    assert await store.receipts_due(10) == [early, first, read]
    assert await store.receipts_due(1) == [early]
    await store.commit(Changes(receipts_sent=(first,)))
    assert await store.receipts_due(10) == [early, read]


async def test_gaps_are_found_by_their_age(store: ClientStore) -> None:
    gap = StreamPosition(BOB_1, STREAM, 1, 50, ((2, MessageId(bytes(16))),))
    whole = StreamPosition(CAROL_1, STREAM, 4)
    await store.commit(Changes(streams=(gap, whole)))
    assert await store.gaps_since(49) == []
    assert await store.gaps_since(50) == [(BOB, gap)]
