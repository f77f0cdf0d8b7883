"""Stores of a device, and rows to put into them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from client_sdk import entropy
from client_sdk.machine.rows import Message, MessageState, OutboxEnvelope, StateChange
from client_sdk.stores.ports import ClientStore, StoredMessage
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, StreamId, UserName

ALICE, BOB, CAROL = UserName("alice"), UserName("bob"), UserName("carol")
BOB_1, CAROL_1 = DeviceAddress("bob-1"), DeviceAddress("carol-1")
STREAM = StreamId(b"streamid")
NOW = 1_800_000_000_000


@pytest.fixture(params=["memory", "passphrase", "key file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClientStore]:
    made: dict[str, Callable[[], SqliteStore]] = {
        "memory": SqliteStore.in_memory,
        "passphrase": lambda: SqliteStore.create(tmp_path / "device.db", "long enough"),
        "key file": lambda: SqliteStore.create(tmp_path / "device.db", None),
    }
    opened = made[request.param]()
    yield opened
    await opened.close()


def outgoing(text: str = "hello", to: UserName = BOB, **fields: Any) -> Message:
    base = Message(
        message_id=entropy.draw_message_id(),
        conversation=to,
        sender=ALICE,
        sender_device=DeviceAddress("alice-1"),
        outgoing=True,
        state=MessageState.QUEUED,
        sent_at=NOW,
        text=text,
    )
    return base._replace(**fields)


def incoming(text: str, sequence: int, sender: UserName = BOB, **fields: Any) -> Message:
    base = Message(
        message_id=entropy.draw_message_id(),
        conversation=sender,
        sender=sender,
        sender_device=DeviceAddress(f"{sender}-1"),
        outgoing=False,
        state=MessageState.HELD,
        sent_at=NOW,
        text=text,
        stream_id=STREAM,
        sequence=sequence,
        received_at=NOW,
    )
    return base._replace(**fields)


def envelope(message_id: MessageId | None, size: int = 10, at: int = NOW) -> OutboxEnvelope:
    return OutboxEnvelope(EnvelopeId(entropy.draw_id()), BOB_1, BOB, message_id, bytes(size), at)


def released(
    message: Message, state: MessageState = MessageState.READY, *, after_gap: bool = False
) -> StateChange:
    return StateChange(message.message_id, message.sender, state, after_gap)


def texts(found: list[StoredMessage]) -> list[str | None]:
    return [one.message.text for one in found]
