"""Requests to the key directory, and what is taken for its answer (A32)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from client_sdk import entropy
from client_sdk.delivery import directory as directory_module
from client_sdk.delivery.directory import (
    MAX_CONTACT_PAGES,
    MAX_LAST_COUNTER,
    REQUEST_COUNTER,
    DirectoryClient,
)
from client_sdk.delivery.errors import (
    DirectoryRefusedError,
    DirectoryUnavailableError,
    NotContactError,
    RateLimitedError,
    RefusedReplyError,
)
from client_sdk.machine.device import OwnDevice, load_device
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.transport.errors import ConnectionLostError
from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    SIGNED_REPLY,
    SIGNED_REQUEST,
    Contact,
    ContactsReply,
    CounterReply,
    DirectoryEvent,
    EventKind,
    SignedReply,
    Status,
    event_bytes,
    reply_bytes,
)
from client_sdk.wire.encoded_keys import Signature
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress, EventId, RequestId, UserName
from keydir.limits import DEVICE_LIMIT
from tests.simulation.small_directory import SmallDirectory
from tests.unit.machine.machine_parties import DIRECTORY_KEYS, NOW, make_party, make_record

BOB = UserName("bob")


@dataclass
class Wire:
    """A connection whose other end is the directory alone; ``bend`` changes its answers."""

    directory: SmallDirectory
    client: DirectoryClient
    own: OwnDevice
    forged: list[tuple[str, bytes]]
    sent: int = 0
    lost: bool = False

    async def subscribe(self, *filters: str) -> None:
        """The answers come anyway."""

    async def unsubscribe(self, *filters: str) -> None:
        """Nothing is subscribed to."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        if self.lost:
            raise ConnectionLostError("cut")
        self.sent += 1
        answer = self.directory(topic, payload)
        for one in (*self.forged, answer):
            if one is not None:
                self.client.receive(Incoming(*one, retained=False))

    async def incoming(self) -> AsyncIterator[Incoming]:
        """Answers are handed over at once."""
        return
        yield


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    store, own = SqliteStore.in_memory(), load_device(make_record("alice"))
    client, directory = DirectoryClient(store, own), SmallDirectory()
    directory.register(own)
    directory.register(load_device(make_record("bob")))
    wire = Wire(directory, client, own, [])
    client.attach(wire)
    yield wire
    await store.close()


def resigned(payload: bytes, **fields: object) -> bytes:
    reply: SignedReply = SIGNED_REPLY.decode(payload)._replace(**fields)  # type: ignore[arg-type]
    return encode(reply._replace(signature=DIRECTORY_KEYS.sign(reply_bytes(reply))))


async def test_a_signed_answer_is_believed(wire: Wire) -> None:
    reply = await wire.client.fetch_device_list(BOB)
    assert reply.device_list.user == BOB
    assert [one.user for one in await wire.client.fetch_contacts()] == ["alice", "bob"]
    assert wire.client.attached


async def test_forged_foreign_and_replayed_answers_are_dropped(wire: Wire) -> None:
    original = wire.directory.sign

    def bent(request: object, status: Status, body: bytes) -> bytes:
        assert isinstance(request, tuple)
        honest = original(request, status, body)  # type: ignore[arg-type]
        topic = topics.reply(wire.own.address, RequestId(request[2]))
        unsigned = SIGNED_REPLY.decode(honest)
        other_key = entropy.draw_ed25519().sign(reply_bytes(unsigned))
        for payload in (
            b"",
            b"garbage",
            encode(unsigned._replace(signature=Signature(bytes(64)))),
            encode(unsigned._replace(signature=other_key)),
            encode(unsigned._replace(status=Status.NOT_CONTACT)),
            resigned(honest, nonce=entropy.draw_bytes(16)),
            resigned(honest, request_id=RequestId(entropy.draw_id())),
            resigned(honest, device=DeviceAddress("bob-1")),
            resigned(honest, directory_id=entropy.draw_id()),
        ):
            wire.client.receive(Incoming(topic, payload, retained=False))
            assert not any(future.done() for _, future in wire.client._waiting.values())
        return honest

    wire.directory.sign = bent  # type: ignore[method-assign]
    await wire.client.fetch_device_list(BOB)
    late = wire.directory.requests[-1]
    wire.directory.sign = original  # type: ignore[method-assign]
    answer = wire.directory.sign(late, Status.NOT_CONTACT, b"")
    wire.forged.append((topics.reply(wire.own.address, late.request_id), answer))
    wire.forged.append(("v1/u/alice-1/kd", answer))
    assert (await wire.client.fetch_device_list(BOB)).device_list.user == BOB


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.NOT_CONTACT, NotContactError),
        (Status.RATE_LIMITED, RateLimitedError),
        (Status.UNAVAILABLE, DirectoryUnavailableError),
        (Status.BAD_REQUEST, DirectoryRefusedError),
        (Status.REVOKED, DirectoryRefusedError),
    ],
)
async def test_each_refusal_has_its_error(
    wire: Wire, status: Status, expected: type[Exception]
) -> None:
    wire.directory.statuses.append((status, b""))
    with pytest.raises(expected):
        await wire.client.fetch_device_list(BOB)


async def test_a_stale_counter_is_raised_once_and_the_request_repeated(wire: Wire) -> None:
    wire.directory.statuses.append((Status.STALE_COUNTER, encode(CounterReply(500))))
    await wire.client.fetch_device_list(BOB)
    assert [one.counter for one in wire.directory.requests] == [1, 501]
    assert await wire.client._store.reserve(REQUEST_COUNTER, 1) == 502
    wire.directory.statuses += [(Status.STALE_COUNTER, encode(CounterReply(900)))] * 2
    with pytest.raises(DirectoryRefusedError):
        await wire.client.fetch_device_list(BOB)


async def test_a_signed_counter_that_leaves_no_next_one_is_refused(wire: Wire) -> None:
    for too_far in (MAX_LAST_COUNTER + 1, 2**63 - 1):
        wire.directory.statuses.append((Status.STALE_COUNTER, encode(CounterReply(too_far))))
        with pytest.raises(RefusedReplyError):
            await wire.client.fetch_device_list(BOB)
    assert await wire.client._store.reserve(REQUEST_COUNTER, 1) == 3
    wire.directory.statuses.append((Status.STALE_COUNTER, encode(CounterReply(MAX_LAST_COUNTER))))
    await wire.client.fetch_device_list(BOB)
    assert wire.directory.requests[-1].counter == MAX_LAST_COUNTER + 1


def page(*users: str, more: bool) -> tuple[Status, bytes]:
    contacts = tuple(Contact(UserName(user), "", "") for user in users)
    return Status.OK, encode(ContactsReply(contacts, more=more))


@pytest.mark.parametrize(
    "pages",
    [
        [page("bob", "alice", more=False)],
        [page("bob", "bob", more=False)],
        [page("alice", "bob", more=True), page("bob", more=True)],
        [page("alice", "bob", more=True), page("alice", more=False)],
    ],
)
async def test_contacts_that_do_not_ascend_are_refused(
    wire: Wire, pages: list[tuple[Status, bytes]]
) -> None:
    wire.directory.statuses += pages
    with pytest.raises(RefusedReplyError, match="order"):
        await wire.client.fetch_contacts()
    assert wire.directory.statuses == []


async def test_a_hundred_pages_of_contacts_are_taken_and_no_more(wire: Wire) -> None:
    pages = [page(f"u{number:03}", more=True) for number in range(MAX_CONTACT_PAGES + 1)]
    wire.directory.statuses += [*pages[: MAX_CONTACT_PAGES - 1], page("z", more=False)]
    assert len(await wire.client.fetch_contacts()) == MAX_CONTACT_PAGES
    wire.directory.statuses += pages
    with pytest.raises(RefusedReplyError, match="more contacts"):
        await wire.client.fetch_contacts()
    assert wire.directory.statuses == pages[MAX_CONTACT_PAGES:]
    assert DEVICE_LIMIT.burst > MAX_CONTACT_PAGES


async def test_the_bundle_of_another_device_is_refused(wire: Wire) -> None:
    carol = make_party("carol")
    wire.directory.statuses += [(Status.OK, encode(carol.bundle()))] * 2
    assert (await wire.client.fetch_bundle(carol.address)).address == carol.address
    with pytest.raises(RefusedReplyError):
        await wire.client.fetch_bundle(DeviceAddress("bob-1"))
    wire.directory.statuses.append((Status.OK, b"garbage"))
    with pytest.raises(ProtocolError):
        await wire.client.fetch_bundle(carol.address)


async def test_without_a_connection_the_directory_is_away(wire: Wire) -> None:
    wire.lost = True
    with pytest.raises(DirectoryUnavailableError):
        await wire.client.fetch_device_list(BOB)
    wire.client.attach(None)
    assert not wire.client.attached
    with pytest.raises(DirectoryUnavailableError):
        await wire.client.fetch_device_list(BOB)
    assert wire.client._waiting == {}


async def test_the_same_request_is_repeated_until_it_is_answered(wire: Wire) -> None:
    wire.directory.silent = True
    asking = asyncio.create_task(wire.client.fetch_device_list(BOB))
    async with asyncio.timeout(directory_module.REPEAT_SECONDS * 3):
        while wire.sent < 2:  # noqa: ASYNC110 - a test may look
            await asyncio.sleep(0.05)
    wire.directory.silent = False
    assert (await asking).device_list.user == BOB
    assert len({encode(one) for one in wire.directory.requests}) == 1
    assert SIGNED_REQUEST.decode(encode(wire.directory.requests[0])).counter == 1


def event(**fields: object) -> tuple[str, bytes]:
    own = load_device(make_record("alice"))
    unsigned = DirectoryEvent(
        own.record.invitation.directory_id,
        DeviceAddress("alice-1"),
        EventId(entropy.draw_id()),
        NOW,
        EventKind.PREKEYS_LOW,
        Signature(bytes(64)),
    )
    topic = topics.event(unsigned.device, unsigned.event_id)
    changed = unsigned._replace(**fields)  # type: ignore[arg-type]
    return topic, encode(changed._replace(signature=DIRECTORY_KEYS.sign(event_bytes(changed))))


async def test_only_events_that_the_directory_signed_for_this_device_count(wire: Wire) -> None:
    topic, payload = event()
    found = wire.client.verified_event(Incoming(topic, payload, retained=True))
    assert found is not None
    assert found.kind == EventKind.PREKEYS_LOW
    _, other_device = event(device=DeviceAddress("bob-1"))
    for bad_topic, bad in (
        (topic, payload[:-1] + bytes([payload[-1] ^ 1])),
        (topic, other_device),
        (event()[0], payload),
        ("v1/u/alice-1/kd/event/short", payload),
        (topic, b""),
    ):
        assert wire.client.verified_event(Incoming(bad_topic, bad, retained=True)) is None
