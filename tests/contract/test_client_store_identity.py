"""What every store of a device promises about identities and what is on its way."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.identity import Identity
from client_sdk.machine.rows import MessageState, OutboxEnvelope, Peer, Receipted, StateChange
from client_sdk.stores.ports import ClientStore
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName
from tests.contract.client_stores import BOB, BOB_1, CAROL, NOW, outgoing

BOB_2 = DeviceAddress("bob-2")


@pytest.fixture(params=["memory", "key file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClientStore]:
    made: dict[str, Callable[[], ClientStore]] = {
        "memory": SqliteStore.in_memory,
        "key file": lambda: SqliteStore.create(tmp_path / "device.db", None),
    }
    opened = made[request.param]()
    yield opened
    await opened.close()


def envelope(letter: str, device: DeviceAddress, message_id: bytes | None) -> OutboxEnvelope:
    user = UserName(device.rpartition("-")[0])
    return OutboxEnvelope(EnvelopeId(letter * 26), device, user, message_id, b"sealed", NOW)  # type: ignore[arg-type]


async def test_under_way_is_what_no_device_has_receipted(store: ClientStore) -> None:
    first, second, other = outgoing("first"), outgoing("second"), outgoing("other", CAROL)
    queued = outgoing("queued")
    planned = [
        StateChange(one.message_id, one.sender, MessageState.PLANNED)
        for one in (first, second, other)
    ]
    envelopes = (
        envelope("a", BOB_1, first.message_id),
        envelope("b", BOB_2, first.message_id),
        envelope("c", BOB_1, second.message_id),
        envelope("d", BOB_1, None),
        envelope("e", DeviceAddress("carol-1"), other.message_id),
    )
    await store.commit(
        Changes(messages=(first, second, other, queued), states=tuple(planned), envelopes=envelopes)
    )
    found = await store.under_way(BOB)
    assert [one.envelope_id[0] for one in found.envelopes] == ["a", "b", "c", "d"]
    assert list(found.messages) == [first.message_id, second.message_id]
    receipt = Receipted(first.message_id, BOB_1, BOB, read=False, at=NOW)
    await store.commit(Changes(receipted=(receipt,)))
    found = await store.under_way(BOB)
    assert [one.envelope_id[0] for one in found.envelopes] == ["b", "c", "d"]
    assert list(found.messages) == [second.message_id]
    assert await store.under_way(UserName("nobody")) == ((), ())


async def test_who_owes_receipts_is_known_by_age(store: ClientStore) -> None:
    message = outgoing()
    sealed = envelope("a", BOB_1, message.message_id)
    receipt = envelope("b", DeviceAddress("carol-1"), None)
    await store.commit(Changes(messages=(message,), envelopes=(sealed, receipt)))
    assert await store.unreceipted_since(NOW - 1) == []
    assert await store.unreceipted_since(NOW) == [BOB]


async def test_identities_are_those_that_were_compared(store: ClientStore) -> None:
    users = {
        BOB: Peer(BOB, verified=True),
        CAROL: Peer(CAROL, verified=True, offered_list=b"other"),
        UserName("dave"): Peer(UserName("dave")),
    }
    await store.commit(
        Changes(
            based_on=tuple(UserRevision(user, 0) for user in users), peers=tuple(users.values())
        )
    )
    assert await store.identities() == {BOB: Identity.VERIFIED, CAROL: Identity.CHANGED}
