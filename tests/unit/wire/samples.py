"""One valid record of every kind that crosses the wire, made of counted bytes."""

from typing import Any, Final

from client_sdk.wire.bundle import (
    DEVICE_LIST,
    NO_PREVIOUS_LIST,
    PREKEY_BUNDLE,
    DeviceEntry,
    DeviceList,
    KemPrekeyRecord,
    OneTimePrekeyRecord,
    PrekeyBundle,
    SignedPrekeyRecord,
    Superseded,
)
from client_sdk.wire.codec import Codec
from client_sdk.wire.content import (
    CONTENT,
    COPY_BODY,
    MESSAGE_BODY,
    RECEIPT_BODY,
    Content,
    ContentKind,
    CopyBody,
    ListMark,
    MessageBody,
    ReceiptBody,
    SeenStream,
)
from client_sdk.wire.directory import (
    CONTACTS_REPLY,
    COUNTER_REPLY,
    DEVICE_LIST_REPLY,
    DIRECTORY_EVENT,
    FETCH_BUNDLE,
    FETCH_CONTACTS,
    FETCH_DEVICE_LIST,
    PREKEY_COUNTS,
    PUBLISH_PREKEYS,
    SIGNED_REPLY,
    SIGNED_REQUEST,
    Action,
    Contact,
    ContactsReply,
    CounterReply,
    DeviceListReply,
    DirectoryEvent,
    EventKind,
    FetchBundle,
    FetchContacts,
    FetchDeviceList,
    PrekeyCounts,
    PublishPrekeys,
    Relation,
    SignedReply,
    SignedRequest,
    Status,
)
from client_sdk.wire.encoded_keys import (
    ED25519_TYPE,
    ML_KEM_1024_TYPE,
    X25519_TYPE,
    AccountKey,
    EphemeralKey,
    IdentityKey,
    KemPrekey,
    OneTimePrekey,
    RatchetKey,
    Signature,
    SignedPrekey,
    SigningKey,
)
from client_sdk.wire.enrollment import ENROLL_REPLY, ENROLL_REQUEST, EnrollReply, EnrollRequest
from client_sdk.wire.envelope import (
    ENVELOPE,
    PREKEY_HEADER,
    RATCHET_HEADER,
    Envelope,
    EnvelopeKind,
    HandshakeHeader,
    PrekeyHeader,
    RatchetHeader,
)
from client_sdk.wire.healing import (
    COUNTERS_REPLY,
    RESEND_REQUEST,
    RESENT,
    STORE_COUNTERS,
    CountersReply,
    LostEnvelope,
    ResendRequest,
    Resent,
    StoreCounters,
)
from client_sdk.wire.ids import (
    DeviceAddress,
    DeviceNumber,
    DirectoryId,
    EnvelopeId,
    EventId,
    InvitationId,
    MessageId,
    RequestId,
    StreamId,
    UserName,
    random_id,
)
from client_sdk.wire.invitation import Invitation
from client_sdk.wire.linking import (
    FETCH_JOIN,
    JOIN,
    JOIN_REPLY,
    LINK_OPENED,
    OPEN_LINK,
    OPENED_GRANT,
    UPDATE_DEVICES,
    Approval,
    DeviceOffer,
    FetchJoin,
    Join,
    JoinReply,
    LinkCode,
    LinkOpened,
    OpenedGrant,
    OpenLink,
    UpdateDevices,
)
from client_sdk.wire.manager_keys import (
    ACCOUNT_KEY_GIVEN,
    ACCOUNT_KEY_WANTED,
    AccountKeyGiven,
    AccountKeyWanted,
)
from client_sdk.wire.notice import NOTICE, NoticeReason, notice
from client_sdk.wire.topics import inbox


def fill(size: int, seed: int) -> bytes:
    """Return ``size`` bytes that count up from ``seed``."""
    return bytes((seed + number) % 256 for number in range(size))


def key33(kind: int, seed: int) -> bytes:
    """Return an encoded 32-byte key; the codec does not judge its point."""
    return bytes([kind]) + fill(32, seed)


NOW: Final = 1_790_000_000_000
ALICE: Final = UserName("alice")
ALICE_1: Final = DeviceAddress("alice-1")
BOB_127: Final = DeviceAddress("bob_2-127")
ID: Final = random_id(fill(16, 1))
SIGNATURE: Final = Signature(fill(64, 200))

ENTRY: Final = DeviceEntry(
    number=DeviceNumber(1),
    signing_key=SigningKey(key33(ED25519_TYPE, 1)),
    identity_key=IdentityKey(key33(X25519_TYPE, 2)),
    added_at=NOW,
    manager=True,
    endorsement=SIGNATURE,
)
LIST: Final = DeviceList(
    user=ALICE,
    version=1,
    previous_hash=NO_PREVIOUS_LIST,
    account_key=AccountKey(key33(ED25519_TYPE, 3)),
    devices=(ENTRY,),
    next_number=2,
    superseded=(Superseded(AccountKey(key33(ED25519_TYPE, 27)), SIGNATURE),),
    signature=SIGNATURE,
)
SIGNED_PREKEY: Final = SignedPrekeyRecord(1, SignedPrekey(key33(X25519_TYPE, 4)), NOW, SIGNATURE)
ONE_TIME: Final = OneTimePrekeyRecord(2, OneTimePrekey(key33(X25519_TYPE, 5)))
KEM: Final = KemPrekeyRecord(
    3,
    KemPrekey(bytes([ML_KEM_1024_TYPE]) + fill(1568, 6)),
    NOW,
    last_resort=False,
    signature=SIGNATURE,
)
BUNDLE: Final = PrekeyBundle(ALICE_1, LIST, SIGNED_PREKEY, ONE_TIME, KEM)

RATCHET: Final = RatchetHeader(fill(8, 7), RatchetKey(key33(X25519_TYPE, 8)), 0, 2**32 - 1, b"")
HANDSHAKE: Final = HandshakeHeader(
    account_key=AccountKey(key33(ED25519_TYPE, 3)),
    signing_key=SigningKey(key33(ED25519_TYPE, 1)),
    identity_key=IdentityKey(key33(X25519_TYPE, 2)),
    ephemeral_key=EphemeralKey(key33(X25519_TYPE, 9)),
    signed_prekey_id=1,
    one_time_prekey_id=None,
    kem_prekey_id=3,
    kem_ciphertext=fill(1568, 10),
    sender_list_version=1,
    recipient_list_version=2,
)
MESSAGE: Final = MessageBody("grüß dich 👋", None, None, MessageId(fill(16, 11)), NOW + 1)
CONTENT_SAMPLE: Final = Content(
    message_id=MessageId(fill(16, 12)),
    stream_id=StreamId(fill(8, 13)),
    sequence=1,
    last_seen=(SeenStream(BOB_127, StreamId(fill(8, 14)), 9),),
    sent_at=NOW,
    kind=ContentKind.MESSAGE,
    body=b"body",
    sender_list=ListMark(1, fill(16, 15)),
    recipient_list=ListMark(2, fill(16, 16)),
)
REQUEST: Final = SignedRequest(
    directory_id=DirectoryId(ID),
    device=ALICE_1,
    request_id=RequestId(ID),
    counter=1,
    nonce=fill(16, 17),
    action=Action.CONTACTS,
    body=b"\x91\xa0",
    signature=SIGNATURE,
)
REPLY: Final = SignedReply(
    directory_id=DirectoryId(ID),
    device=ALICE_1,
    request_id=RequestId(ID),
    nonce=fill(16, 17),
    answered_at=NOW,
    status=Status.OK,
    body=b"\x92\x90\xc2",
    signature=SIGNATURE,
)
EVENT: Final = DirectoryEvent(
    DirectoryId(ID), ALICE_1, EventId(ID), NOW, EventKind.PREKEYS_LOW, SIGNATURE
)
ENROLL: Final = EnrollRequest(
    InvitationId(ID), fill(32, 21), fill(16, 18), LIST, fill(32, 19), fill(1216, 20)
)
OFFER: Final = DeviceOffer(
    SigningKey(key33(ED25519_TYPE, 1)),
    IdentityKey(key33(X25519_TYPE, 2)),
    SIGNATURE,
    fill(32, 28),
)
JOIN_SAMPLE: Final = Join(OFFER, fill(1216, 20), fill(32, 19), fill(16, 18))
ENROLLED: Final = EnrollReply(
    directory_id=DirectoryId(ID),
    invitation_id=InvitationId(ID),
    nonce=fill(16, 18),
    status=Status.OK,
    address=ALICE_1,
    role="doctor",
    name="Dr. Ålice",
    grant=b"sealed",
    signature=SIGNATURE,
)
INVITATION: Final = Invitation(
    broker_urls=("mqtt://127.0.0.1:1883", "mqtts://example.org"),
    user=ALICE,
    invitation_id=InvitationId(ID),
    password=fill(32, 21),
    directory_id=DirectoryId(ID),
    directory_key=SigningKey(key33(ED25519_TYPE, 22)),
    directory_hpke_key=fill(1216, 23),
    ca_fingerprint=None,
    expires_at=NOW,
)

COUNTERS: Final = StoreCounters(3, 70, fill(16, 42))
LINK_CODE: Final = LinkCode(
    INVITATION, fill(32, 32), AccountKey(key33(ED25519_TYPE, 3)), DeviceNumber(2)
)

RECORDS: Final[dict[str, tuple[Codec[Any], tuple[Any, ...]]]] = {
    "envelope": (ENVELOPE, Envelope(1, 1, EnvelopeKind.MESSAGE, b"header", fill(272, 24))),
    "ratchet header": (RATCHET_HEADER, RATCHET),
    "prekey header": (PREKEY_HEADER, PrekeyHeader(HANDSHAKE, RATCHET)),
    "content": (CONTENT, CONTENT_SAMPLE),
    "message body": (MESSAGE_BODY, MESSAGE),
    "receipt body": (RECEIPT_BODY, ReceiptBody((MessageId(fill(16, 25)), MessageId(fill(16, 26))))),
    "device list": (DEVICE_LIST, LIST),
    "prekey bundle": (PREKEY_BUNDLE, BUNDLE),
    "signed request": (SIGNED_REQUEST, REQUEST),
    "signed reply": (SIGNED_REPLY, REPLY),
    "directory event": (DIRECTORY_EVENT, EVENT),
    "enrolment request": (ENROLL_REQUEST, ENROLL),
    "enrolment reply": (ENROLL_REPLY, ENROLLED),
    "publish prekeys": (PUBLISH_PREKEYS, PublishPrekeys(SIGNED_PREKEY, None, (ONE_TIME,), (KEM,))),
    "prekey counts": (PREKEY_COUNTS, PrekeyCounts(100, 0)),
    "fetch device list": (FETCH_DEVICE_LIST, FetchDeviceList(ALICE)),
    "device list reply": (
        DEVICE_LIST_REPLY,
        DeviceListReply(LIST, Relation.CONTACT, "patient", "A"),
    ),
    "fetch bundle": (FETCH_BUNDLE, FetchBundle(BOB_127)),
    "fetch contacts": (FETCH_CONTACTS, FetchContacts("")),
    "contacts reply": (
        CONTACTS_REPLY,
        ContactsReply((Contact(ALICE, "doctor", "Alice"),), more=True),
    ),
    "counter reply": (COUNTER_REPLY, CounterReply(7)),
    "resend request": (
        RESEND_REQUEST,
        ResendRequest((LostEnvelope(EnvelopeId(ID), fill(8, 40)),), (fill(8, 41),)),
    ),
    "resent": (RESENT, Resent((EnvelopeId(ID),))),
    "store counters": (STORE_COUNTERS, COUNTERS),
    "counters reply": (COUNTERS_REPLY, CountersReply(COUNTERS)),
    "account key wanted": (ACCOUNT_KEY_WANTED, AccountKeyWanted(LIST.account_key)),
    "account key given": (ACCOUNT_KEY_GIVEN, AccountKeyGiven(fill(32, 43))),
    "copy body": (COPY_BODY, CopyBody(BOB_127[:5], 9, MESSAGE)),
    "enrolment request of a linked device": (ENROLL_REQUEST, ENROLL._replace(device_list=OFFER)),
    "open link": (OPEN_LINK, OpenLink(InvitationId(ID), fill(32, 29))),
    "link opened": (LINK_OPENED, LinkOpened(NOW)),
    "fetch join": (FETCH_JOIN, FetchJoin(InvitationId(ID))),
    "join": (JOIN, JOIN_SAMPLE),
    "join reply": (JOIN_REPLY, JoinReply(JOIN_SAMPLE, "")),
    "opened grant": (OPENED_GRANT, OpenedGrant(LIST, fill(32, 30), fill(32, 31))),
    "update devices": (
        UPDATE_DEVICES,
        UpdateDevices(LIST, Approval(InvitationId(ID), b"sealed")),
    ),
    "notice": (NOTICE, notice(NoticeReason.OVER_QUOTA, inbox(BOB_127, ALICE_1, EnvelopeId(ID)))),
}
