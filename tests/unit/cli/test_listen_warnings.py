"""What `listen` says on stderr of events that nobody would hear of otherwise."""

import pytest

from client_sdk.cli_events import warning
from client_sdk.machine.events import (
    CloneSuspected,
    Delivered,
    Event,
    Expired,
    Failed,
    IdentityChanged,
    LoginInUse,
    MailboxFull,
    RecipientInactive,
    RollbackSource,
    SessionDamaged,
    StoreRolledBack,
)
from client_sdk.wire.ids import DeviceAddress, MessageId, UserName

MESSAGE = MessageId(bytes(16))
ADA = UserName("ada")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Failed(MESSAGE, ADA, "not_a_contact"), (MESSAGE.hex(), "ada", "not_a_contact")),
        (Expired(MESSAGE, ADA), (MESSAGE.hex(), "ada", "not delivered")),
        (RecipientInactive(ADA), ("ada", "too old")),
        (MailboxFull(DeviceAddress("ada-1"), 30.0), ("ada-1", "no more mail", "30 s")),
        (IdentityChanged(ADA), ("ada", "another key", "compare")),
        (IdentityChanged(ADA, held=True), ("ada", "nothing is sent", "`trust ada`")),
        (CloneSuspected(DeviceAddress("ada-1")), ("ada-1", "copies")),
        (SessionDamaged(DeviceAddress("ada-1")), ("ada-1", "damaged")),
        (StoreRolledBack(RollbackSource.FILE), ("older copy",)),
        (LoginInUse(60.0), ("another program", "60 s")),
    ],
)
def test_an_event_that_needs_somebody_is_one_line(event: Event, words: tuple[str, ...]) -> None:
    text = warning(event)
    assert text is not None
    assert "\n" not in text
    assert [word for word in words if word not in text] == []


def test_a_receipt_is_not_worth_a_line() -> None:
    assert warning(Delivered(MESSAGE, DeviceAddress("ada-1"))) is None
