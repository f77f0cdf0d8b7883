"""The new device's side of linking: offer keys under the code, wait for a manager's answer."""

import asyncio
from collections.abc import Sequence
from typing import Final

from client_sdk import entropy
from client_sdk.core.hpke import HpkeKeyPair
from client_sdk.delivery.broker import transport_of
from client_sdk.delivery.enrollment import enroll_login, sealed_request, verified_answers
from client_sdk.delivery.errors import (
    AlreadyEnrolledError,
    InvitationRefusedError,
    InvitationUsedError,
)
from client_sdk.delivery.new_login import connected_with_new_login, made_at
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import DeviceRecord, encode_device
from client_sdk.machine.linking import (
    FreshLink,
    LinkingRecord,
    join_of,
    linked,
    new_link,
    stored_device,
)
from client_sdk.stores.ports import ClientStore
from client_sdk.transport.errors import ConnectionLostError, LoginRefusedError
from client_sdk.transport.ports import Connection
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import NONCE_BYTES, Status
from client_sdk.wire.enrollment import EnrollReply, EnrollRequest
from client_sdk.wire.invitation import SECRET_BYTES
from client_sdk.wire.linking import LinkCode

REPEAT_SECONDS: Final = 10.0
"""How often a waiting device asks again; the directory answers by itself once it is approved."""


async def link_device(store: ClientStore, code: LinkCode, urls: Sequence[str]) -> DeviceRecord:
    """Return the store's device, approved after a link code.

    Raises:
        As ``begin_link`` and ``join`` say.
    """
    record = await begin_link(store, code)
    return await join(store, record, urls) if isinstance(record, LinkingRecord) else record


async def begin_link(store: ClientStore, code: LinkCode) -> DeviceRecord | LinkingRecord:
    """Return the store's device, made and committed now where the store is new.

    Raises:
        AlreadyEnrolledError: The store is another device's; nothing changed.
    """
    stored = await store.device()
    if stored is not None:
        record = stored_device(stored)
        invitation = (
            record.code.invitation if isinstance(record, LinkingRecord) else record.invitation
        )
        if invitation.invitation_id != code.invitation.invitation_id:
            raise AlreadyEnrolledError(
                f"this store belongs to another device of {invitation.user} or to another user; "
                "use another file for a new device; nothing was changed"
            )
        return record
    fresh = FreshLink(
        signing=entropy.draw_ed25519(),
        identity=entropy.draw_x25519(),
        credential=entropy.draw_bytes(SECRET_BYTES),
        stream_id=entropy.draw_stream_id(),
        nonce=entropy.draw_bytes(NONCE_BYTES),
        reply_private=entropy.draw_hpke().private_bytes(),
    )
    new = new_link(code, fresh)
    await store.commit(Changes(device=encode(new)))
    return new


async def join(store: ClientStore, record: LinkingRecord, urls: Sequence[str]) -> DeviceRecord:
    """Wait until a manager has approved this device, and commit it as such.

    Args:
        store: The store that ``record`` is committed in.
        record: The waiting device.
        urls: Broker addresses.

    Raises:
        InvitationRefusedError: The code was used up, has expired or was withdrawn.
        InvitationUsedError: Another device came with the code first.
        ProtocolError: The answer is not from the maker of the code; nothing was stored.
        TransportError: The broker is away; the same call goes on later.
    """
    invitation = record.code.invitation
    transport = transport_of(store, invitation, urls, enroll_login(invitation))
    try:
        async with connected_with_new_login(transport, made_at(invitation)) as connection:
            await connection.subscribe(topics.enrolled(invitation.invitation_id))
            reply = await _wait_for_approval(connection, record)
    except LoginRefusedError as error:
        raise InvitationRefusedError(
            "the server refused the link code: it was used, has expired or was withdrawn; "
            "make a new one on the other device"
        ) from error
    if reply.status is Status.INVITATION_USED:
        raise InvitationUsedError(
            "another device came with this code first; make a new one, and do not approve that "
            "device if it is not yours"
        )
    if reply.status is not Status.OK or reply.address != record.code.address:
        raise InvitationRefusedError(
            f"the directory refused the link code: {reply.status}; make a new one"
        )
    device = linked(record, reply)
    await store.commit(Changes(device=encode_device(device)))
    return device


async def _wait_for_approval(connection: Connection, record: LinkingRecord) -> EnrollReply:
    invitation, asked = record.code.invitation, join_of(record)
    request = EnrollRequest(
        invitation_id=invitation.invitation_id,
        password=invitation.password,
        nonce=record.nonce,
        device_list=asked.offer,
        credential_hash=asked.credential_hash,
        reply_key=asked.reply_key,
    )
    sealed = sealed_request(invitation, request)
    pair = HpkeKeyPair.from_private_bytes(record.reply_private)

    async def ask() -> None:
        while True:
            await connection.publish(topics.enroll(invitation.invitation_id), sealed)
            await asyncio.sleep(REPEAT_SECONDS)

    asking = asyncio.create_task(ask())
    try:
        async for reply in verified_answers(connection, invitation, record.nonce, pair):
            if reply.status is not Status.LINK_WAITING:
                return reply
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    raise ConnectionLostError("the connection to the broker ended")
