"""A device that was made from a link code and is not in its user's list yet."""

from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.core.hpke import HpkeKeyPair
from client_sdk.core.keys import Ed25519KeyPair, X25519KeyPair
from client_sdk.core.linking import make_join, open_grant
from client_sdk.machine.device import DEVICE_RECORD, DeviceRecord, Stage
from client_sdk.wire.codec import Codec
from client_sdk.wire.content import StreamIdField
from client_sdk.wire.directory import NonceField
from client_sdk.wire.enrollment import EnrollReply
from client_sdk.wire.errors import MalformedError
from client_sdk.wire.ids import StreamId
from client_sdk.wire.invitation import Secret, password_text
from client_sdk.wire.limits import KIB
from client_sdk.wire.linking import Join, LinkCode
from client_sdk.wire.verifier import stored_credential


class LinkingRecord(NamedTuple):
    """All that a store keeps of such a device; the same keys are offered after a crash."""

    code: LinkCode
    signing_private: Secret
    identity_private: Secret
    credential: Secret
    stream_id: StreamIdField
    nonce: NonceField
    reply_private: Annotated[bytes, Field(max_length=256)]

    def __repr__(self) -> str:
        """Name the address only: the rest is keys."""
        return f"LinkingRecord(address={self.code.address!r})"


LINKING_RECORD: Final = Codec(LinkingRecord, 32 * KIB)


@dataclass(frozen=True, slots=True)
class FreshLink:
    """The fresh keys and secrets of a device that is to be linked."""

    signing: Ed25519KeyPair = field(repr=False)
    identity: X25519KeyPair = field(repr=False)
    credential: bytes = field(repr=False)
    stream_id: StreamId
    nonce: bytes
    reply_private: bytes = field(repr=False)


def new_link(code: LinkCode, fresh: FreshLink) -> LinkingRecord:
    """Return the record of a device that goes by ``code``."""
    return LinkingRecord(
        code,
        fresh.signing.private_bytes(),
        fresh.identity.private_bytes(),
        fresh.credential,
        fresh.stream_id,
        fresh.nonce,
        fresh.reply_private,
    )


def stored_device(data: bytes) -> DeviceRecord | LinkingRecord:
    """Return what a store keeps of its own device: listed, or waiting to be.

    Raises:
        ProtocolError: It is neither; the store is damaged.
    """
    try:
        return DEVICE_RECORD.decode(data)
    except MalformedError:
        return LINKING_RECORD.decode(data)


def join_of(record: LinkingRecord) -> Join:
    """Return the request of a waiting device; the same record gives the same bytes."""
    return make_join(
        record.code,
        Ed25519KeyPair.from_private_bytes(record.signing_private),
        X25519KeyPair.from_private_bytes(record.identity_private).public,
        (
            HpkeKeyPair.from_private_bytes(record.reply_private).public,
            stored_credential(password_text(record.credential)),
            record.nonce,
        ),
    )


def linked(record: LinkingRecord, reply: EnrollReply) -> DeviceRecord:
    """Return the device that a manager has approved.

    Raises:
        ProtocolError: The grant is not from the maker of the code; nothing changed.
    """
    grant = open_grant(
        record.code,
        HpkeKeyPair.from_private_bytes(record.reply_private),
        Ed25519KeyPair.from_private_bytes(record.signing_private),
        reply.grant,
    )
    return DeviceRecord(
        stage=Stage.ENROLLED,
        address=record.code.address,
        account_private=grant.account_private,
        signing_private=record.signing_private,
        identity_private=record.identity_private,
        device_list=grant.device_list,
        credential=record.credential,
        stream_id=record.stream_id,
        invitation=record.code.invitation,
        nonce=record.nonce,
        reply_private=record.reply_private,
        role=reply.role,
        name=reply.name,
    )
