"""Events name messages as the rest of the API does."""

import subprocess
import sys
from typing import get_args

import pytest

import client_sdk
from client_sdk.machine.events import (
    Delivered,
    Event,
    Expired,
    Failed,
    Read,
    SentElsewhere,
    SetAside,
)
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
    assert repr(event).startswith(f"{type(event).__name__}(id='{MESSAGE.hex()}', ")


def test_what_another_device_sent_is_shown_by_its_id() -> None:
    assert repr(SentElsewhere(MESSAGE, BOB, PHONE)) == (
        f"SentElsewhere(id='{MESSAGE.hex()}', conversation='bob', device='bob-1')"
    )


def test_every_event_is_a_public_name_and_is_offered_before_it_is_imported() -> None:
    for event in get_args(Event):
        assert getattr(client_sdk, event.__name__) is event
    for name in client_sdk.__all__:
        assert getattr(client_sdk, name) is not None
    lazy = (
        "import client_sdk, sys; assert 'Messenger' in dir(client_sdk); "
        "assert not [one for one in sys.modules if one.startswith('client_sdk.')]"
    )
    subprocess.run([sys.executable, "-c", lazy], check=True)
