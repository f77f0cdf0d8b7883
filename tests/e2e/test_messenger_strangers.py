"""Strangers and blocked users, by the public API on a served system."""

import pytest

from client_sdk import DeliveryTimeoutError
from client_sdk.machine.events import ContactRequest
from client_sdk.wire.errors import MisuseError
from tests.e2e.messengers import PATIENCE, Party, next_event, next_message, nothing_comes


async def test_strangers_ask_first_and_get_no_receipt_until_accepted(open_party: Party) -> None:
    one, two = await open_party.strangers()
    sent = await one.send(two.user, "do you know me?")
    assert await next_event(two, ContactRequest) == ContactRequest(one.user)
    (asked,) = await two.requests()
    assert (asked.conversation, asked.text) == (one.user, "do you know me?")
    with pytest.raises(DeliveryTimeoutError):
        await sent.delivered(timeout=2)
    assert await nothing_comes(two)
    await two.accept(one.user)
    assert (await next_message(two)).id == sent.id
    await sent.delivered(PATIENCE)
    assert await two.requests() == []
    await (await two.send(one.user, "now I do")).delivered(PATIENCE)
    assert (await next_message(one)).text == "now I do"


async def test_a_blocked_user_is_not_heard_until_unblocked(open_party: Party) -> None:
    one, two = await open_party.strangers()
    await (await one.send(two.user, "hello")).published(PATIENCE)
    await next_event(two, ContactRequest)
    await two.accept(one.user)
    assert (await next_message(two)).text == "hello"
    await two.block(one.user)
    lost = await one.send(two.user, "blocked")
    with pytest.raises(DeliveryTimeoutError):
        await lost.delivered(timeout=2)
    assert await nothing_comes(two, 0.5)
    with pytest.raises(MisuseError):
        await two.send(one.user, "to a blocked one")
    await two.unblock(one.user)
    heard = await one.send(two.user, "and now?")
    await heard.delivered(PATIENCE)
    assert (await next_message(two)).text == "and now?"
