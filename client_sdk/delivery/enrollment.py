"""Redeeming an invitation: each step is committed first, so that a crash resumes it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from client_sdk import entropy
from client_sdk.core import hpke
from client_sdk.core.hpke import HpkeKeyPair
from client_sdk.core.keys import Ed25519KeyPair, verify
from client_sdk.delivery.broker import transport_of
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import open_context
from client_sdk.delivery.errors import (
    AlreadyEnrolledError,
    DirectoryUnavailableError,
    InvitationRefusedError,
    InvitationUsedError,
    RefusedReplyError,
)
from client_sdk.delivery.new_login import connected_with_new_login, made_at
from client_sdk.delivery.upkeep import make_first_prekeys, upload_waiting
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import (
    FIRST_PLACE,
    DeviceRecord,
    FreshDevice,
    ListPlace,
    Stage,
    encode_device,
    load_device,
    new_device,
)
from client_sdk.machine.linking import LinkingRecord, stored_device
from client_sdk.stores.ports import ClientStore
from client_sdk.transport.errors import ConnectionLostError, LoginRefusedError
from client_sdk.transport.mqtt import Login
from client_sdk.transport.ports import Connection
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import NONCE_BYTES, Status
from client_sdk.wire.enrollment import (
    ENROLL_REPLY,
    EnrollReply,
    EnrollRequest,
    enroll_info,
    enroll_login_secret,
    enroll_reply_bytes,
    enrolled_info,
)
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import ENROLL_LOGIN_PREFIX
from client_sdk.wire.invitation import SECRET_BYTES, Invitation, password_text
from client_sdk.wire.verifier import stored_credential

REPEAT_SECONDS: Final = 2.0
REPEATS: Final = 10


async def begin(
    store: ClientStore,
    invitation: Invitation,
    place: ListPlace = FIRST_PLACE,
    account: Ed25519KeyPair | None = None,
) -> DeviceRecord:
    """Return the store's device, made and committed now where the store is new.

    Args:
        store: An open store.
        invitation: What the device was told.
        place: Where its device list stands.
        account: The account key where there is one already; None draws a new one.

    Raises:
        AlreadyEnrolledError: The store is of another invitation's device; nothing changed.
    """
    stored = await store.device()
    if stored is not None:
        record = stored_device(stored)
        if isinstance(record, LinkingRecord):
            raise AlreadyEnrolledError(
                f"this store waits to become {record.code.address} by a link code; use another "
                "file; nothing was changed"
            )
        if record.invitation.invitation_id != invitation.invitation_id:
            raise AlreadyEnrolledError(
                f"this store belongs to {record.address}; use another file for a new device; "
                "nothing was changed"
            )
        return record
    fresh = FreshDevice(
        account=account or entropy.draw_ed25519(),
        signing=entropy.draw_ed25519(),
        identity=entropy.draw_x25519(),
        credential=entropy.draw_bytes(SECRET_BYTES),
        stream_id=entropy.draw_stream_id(),
        nonce=entropy.draw_bytes(NONCE_BYTES),
        reply_private=entropy.draw_hpke().private_bytes(),
    )
    record = new_device(invitation, fresh, now_ms(), place)
    await store.commit(Changes(device=encode_device(record)))
    return record


async def finish(store: ClientStore, record: DeviceRecord, urls: Sequence[str]) -> DeviceRecord:
    """Do what is left of an enrolment.

    Args:
        store: The store that ``record`` is committed in.
        record: The device, at any stage.
        urls: Broker addresses.

    Raises:
        InvitationRefusedError: The one-time login is gone: used, expired or withdrawn.
        InvitationUsedError: Another device redeemed the invitation.
        TransportError: The broker is away; the same call goes on later.
    """
    if record.stage == Stage.KEYS_MADE:
        reply = await _redeem(store, record, urls)
        record = record._replace(stage=Stage.ENROLLED, role=reply.role, name=reply.name)
        await store.commit(Changes(device=encode_device(record)))
    if record.stage == Stage.ENROLLED:
        await make_first_prekeys(store)
        await _publish_prekeys(store, record, urls)
        record = record._replace(stage=Stage.READY)
        await store.commit(Changes(device=encode_device(record)))
    return record


async def stage_of(store: ClientStore) -> Stage | None:
    """Return how far the enrolment in a store has come; None in a new store."""
    stored = await store.device()
    record = None if stored is None else stored_device(stored)
    if isinstance(record, LinkingRecord):
        return Stage.KEYS_MADE
    return None if record is None else Stage(record.stage)


def enroll_login(invitation: Invitation) -> Login:
    """Return the one-time MQTT login of an invitation."""
    secret = enroll_login_secret(invitation.invitation_id, invitation.password)
    return Login(ENROLL_LOGIN_PREFIX + invitation.invitation_id, password_text(secret))


def sealed_request(invitation: Invitation, request: EnrollRequest) -> bytes:
    """Return an enrolment request that only the invitation's directory can open."""
    info = enroll_info(invitation.directory_id, invitation.invitation_id)
    return hpke.seal(invitation.directory_hpke_key, encode(request), info)


async def _redeem(store: ClientStore, record: DeviceRecord, urls: Sequence[str]) -> EnrollReply:
    invitation = record.invitation
    transport = transport_of(store, invitation, urls, enroll_login(invitation))
    try:
        async with connected_with_new_login(transport, made_at(invitation)) as connection:
            await connection.subscribe(topics.enrolled(invitation.invitation_id))
            reply = await _exchange(connection, record)
    except LoginRefusedError as error:
        raise InvitationRefusedError(
            "the server refused the invitation: it was used, has expired or was withdrawn; "
            "ask for a new one"
        ) from error
    if reply.status is Status.OK and reply.address == record.address:
        return reply
    if reply.status is Status.INVITATION_USED:
        raise InvitationUsedError(
            "another device has redeemed this invitation; ask for a new one, and tell the "
            "operator if that device was not yours"
        )
    raise InvitationRefusedError(
        f"the directory refused the invitation: {reply.status}; ask for a new one"
    )


async def _exchange(connection: Connection, record: DeviceRecord) -> EnrollReply:
    invitation = record.invitation
    pair = HpkeKeyPair.from_private_bytes(record.reply_private)
    request = EnrollRequest(
        invitation_id=invitation.invitation_id,
        password=invitation.password,
        nonce=record.nonce,
        device_list=record.device_list,
        credential_hash=stored_credential(password_text(record.credential)),
        reply_key=pair.public,
    )
    sealed = sealed_request(invitation, request)
    for _ in range(REPEATS):
        await connection.publish(topics.enroll(invitation.invitation_id), sealed)
        try:
            async with asyncio.timeout(REPEAT_SECONDS):
                return await _answer(connection, record, pair)
        except TimeoutError:
            continue
    raise DirectoryUnavailableError(
        "the key directory does not answer; call again with the same invitation and store"
    )


async def _answer(connection: Connection, record: DeviceRecord, pair: HpkeKeyPair) -> EnrollReply:
    async for reply in verified_answers(connection, record.invitation, record.nonce, pair):
        return reply
    raise ConnectionLostError("the connection to the broker ended")


async def verified_answers(
    connection: Connection, invitation: Invitation, nonce: bytes, pair: HpkeKeyPair
) -> AsyncIterator[EnrollReply]:
    """Yield the directory's answers to one enrolment; all else is skipped.

    Args:
        connection: Subscribed to the answers' topic.
        invitation: Names the directory and its key.
        nonce: The request's.
        pair: What the answers are sealed to.
    """
    info = enrolled_info(invitation.directory_id, invitation.invitation_id)
    async for incoming in connection.incoming():
        try:
            reply = ENROLL_REPLY.decode(pair.open(incoming.payload, info))
            verify(invitation.directory_key, enroll_reply_bytes(reply), reply.signature)
            if (reply.directory_id, reply.invitation_id, reply.nonce) != (
                invitation.directory_id,
                invitation.invitation_id,
                nonce,
            ):
                raise RefusedReplyError("an answer to another request")
        except ProtocolError:
            continue
        yield reply


async def _publish_prekeys(store: ClientStore, record: DeviceRecord, urls: Sequence[str]) -> None:
    context = open_context(store, load_device(record))
    login = Login(record.address, password_text(record.credential))
    transport = transport_of(store, record.invitation, urls, login)
    async with connected_with_new_login(transport, now_ms()) as connection:
        await connection.subscribe(topics.reply_filter(record.address))
        context.directory.attach(connection)

        async def receive() -> None:
            async for incoming in connection.incoming():
                context.directory.receive(incoming)

        receiving = asyncio.create_task(receive())
        try:
            await upload_waiting(context)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
