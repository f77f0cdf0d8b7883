"""Events name messages as the rest of the API does."""

import pytest

from client_sdk.machine.events import Delivered, Expired, Failed, Read, SetAside
from client_sdk.wire.ids import DeviceAddress, MessageId, UserName

MESSAGE = MessageId(bytes(range(16)))
BOB = UserName("bob")
PHONE = DeviceAddress("bob-1")


@pytest.mark.parametrize(
    "event",
    [
        Delivered(MESSAGE, PHONE),
        Read(MESSAGE, PHONE),
        Failed(MESSAGE, BOB, "not_contact"),
        Expired(MESSAGE, BOB),
        SetAside(MESSAGE, BOB),
    ],
)
def test_an_event_shows_the_id_that_sent_and_received_messages_have(
    event: Delivered | Read | Failed | Expired | SetAside,
) -> None:
    assert event.id == MESSAGE.hex()
