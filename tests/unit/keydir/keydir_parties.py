"""A directory in a temporary folder, and devices that speak to it by hand."""

from dataclasses import dataclass, field
from pathlib import Path

from client_sdk.core.hpke import HpkeKeyPair, seal
from client_sdk.core.keys import Ed25519KeyPair, verify
from client_sdk.core.signatures import (
    PrekeyFacts,
    endorse,
    sign_device_list,
    sign_kem_prekey,
    sign_signed_prekey,
)
from client_sdk.entropy import (
    draw_bytes,
    draw_ed25519,
    draw_hpke,
    draw_id,
    draw_ml_kem_1024,
    draw_x25519,
)
from client_sdk.wire import topics
from client_sdk.wire.bundle import (
    NO_PREVIOUS_LIST,
    PREKEY_BUNDLE,
    DeviceEntry,
    DeviceList,
    OneTimePrekeyRecord,
    PrekeyBundle,
)
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    SIGNED_REPLY,
    Action,
    FetchBundle,
    PublishPrekeys,
    SignedReply,
    SignedRequest,
    Status,
    is_for,
    reply_bytes,
    request_bytes,
)
from client_sdk.wire.encoded_keys import (
    AccountKey,
    IdentityKey,
    KemPrekey,
    OneTimePrekey,
    Signature,
    SignedPrekey,
    SigningKey,
)
from client_sdk.wire.enrollment import (
    ENROLL_REPLY,
    EnrollReply,
    EnrollRequest,
    enroll_info,
    enroll_reply_bytes,
    enrolled_info,
)
from client_sdk.wire.ids import (
    DeviceAddress,
    DeviceNumber,
    DirectoryId,
    RequestId,
    UserName,
    device_address,
)
from client_sdk.wire.invitation import Invitation, parse_invitation, password_text, secret_hash
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings
from keydir.desk import Desk, Outgoing, wall_ms
from keydir.enrollment import Enrollment
from keydir.prepare import prepare_directory
from keydir.requests import Requests
from keydir.stores.opening import open_store

BROKER_URL = "mqtt://127.0.0.1:1"
KEM_KEY: KemPrekey = draw_ml_kem_1024().public
"""One public key stands in every KEM record: the directory cares for ids and signatures."""

ONE_TIME_KEY = OneTimePrekey(draw_x25519().public)


@dataclass
class Clock:
    """Milliseconds that pass only when told to."""

    now: int = field(default_factory=wall_ms)

    def __call__(self) -> int:
        return self.now


class DeviceParty:
    """A device with its keys, as an honest client has them."""

    def __init__(self, invitation: Invitation) -> None:
        self.invitation = invitation
        self.directory_id: DirectoryId = invitation.directory_id
        self.address: DeviceAddress = device_address(invitation.user, DeviceNumber(1))
        self.account: Ed25519KeyPair = draw_ed25519()
        self.signing: Ed25519KeyPair = draw_ed25519()
        self.reply_keys: HpkeKeyPair = draw_hpke()
        self.password = password_text(draw_bytes(32))
        self.counter = 0
        self.device_list = self.make_list(invitation.user)

    @property
    def signing_key(self) -> SigningKey:
        return SigningKey(self.signing.public)

    def make_list(
        self,
        user: UserName,
        *,
        version: int = 1,
        number: int = 1,
        previous_hash: bytes = NO_PREVIOUS_LIST,
        manager: bool = True,
    ) -> DeviceList:
        account_key = AccountKey(self.account.public)
        address = device_address(user, DeviceNumber(number))
        entry = DeviceEntry(
            DeviceNumber(number),
            self.signing_key,
            IdentityKey(draw_x25519().public),
            wall_ms(),
            manager,
            endorse(self.signing, address, account_key),
        )
        return sign_device_list(self.account, user, version, previous_hash, (entry,))

    def enroll_request(self, device_list: DeviceList | None = None) -> EnrollRequest:
        return EnrollRequest(
            self.invitation.invitation_id,
            self.invitation.password,
            draw_bytes(16),
            device_list or self.device_list,
            secret_hash(self.password),
            self.reply_keys.public,
        )

    def sealed(self, request: EnrollRequest) -> tuple[str, bytes]:
        invitation = self.invitation
        info = enroll_info(invitation.directory_id, invitation.invitation_id)
        return topics.enroll(invitation.invitation_id), seal(
            invitation.directory_hpke_key, encode(request), info
        )

    def opened(self, payload: bytes, request: EnrollRequest) -> EnrollReply:
        info = enrolled_info(self.directory_id, self.invitation.invitation_id)
        reply = ENROLL_REPLY.decode(self.reply_keys.open(payload, info))
        verify(self.invitation.directory_key, enroll_reply_bytes(reply), reply.signature)
        assert reply.nonce == request.nonce
        return reply

    def request(
        self, action: Action, body: bytes = b"", *, counter: int | None = None
    ) -> SignedRequest:
        if counter is None:
            self.counter += 1
        return self.sign(
            SignedRequest(
                self.directory_id,
                self.address,
                RequestId(draw_id()),
                self.counter if counter is None else counter,
                draw_bytes(16),
                action,
                body,
                Signature(bytes(64)),
            )
        )

    def sign(self, request: SignedRequest) -> SignedRequest:
        return request._replace(signature=self.signing.sign(request_bytes(request)))

    def checked(self, payload: bytes, request: SignedRequest) -> SignedReply:
        reply = SIGNED_REPLY.decode(payload)
        verify(self.invitation.directory_key, reply_bytes(reply), reply.signature)
        assert is_for(reply, request, self.address)
        return reply

    def batch(self, first: int, count: int, *, standing: bool = True) -> PublishPrekeys:
        now = wall_ms()
        kem = [
            sign_kem_prekey(
                self.signing, self.address, PrekeyFacts(number, now), KEM_KEY, last_resort=False
            )
            for number in range(first, first + count)
        ]
        one_time = [
            OneTimePrekeyRecord(number, ONE_TIME_KEY) for number in range(first, first + count)
        ]
        signed = last_resort = None
        if standing:
            facts = PrekeyFacts(1, now)
            key = SignedPrekey(draw_x25519().public)
            signed = sign_signed_prekey(self.signing, self.address, facts, key)
            last_resort = sign_kem_prekey(
                self.signing, self.address, facts, KEM_KEY, last_resort=True
            )
        return PublishPrekeys(signed, last_resort, tuple(one_time), tuple(kem))


SECONDS = 60.0
"""How long a step may take before a test gives up."""


class DirectoryParty:
    """A directory without a broker: requests go in as bytes, answers come out."""

    def __init__(self, data_dir: Path, policy: str = "clinic", database: str | None = None) -> None:
        self.settings = DirectorySettings(
            data_dir=data_dir, policy=policy, broker_urls=(BROKER_URL,), database_url=database
        )
        prepared = prepare_directory(self.settings)
        self.wall = Clock()
        self.store = open_store(prepared.database)
        self.desk = Desk(
            prepared.keys,
            prepared.policy,
            self.store,
            wall=self.wall,
        )
        self.requests = Requests(self.desk)
        self.enrollment = Enrollment(self.desk)

    def close(self) -> None:
        self.store.close()

    def invited(self, user: str, role: str | None = None) -> DeviceParty:
        invited = invite(self.settings, Invite(user, role))
        return DeviceParty(parse_invitation(invited.invitation))

    def enrolled(self, user: str, role: str | None = None, *, prekeys: int = 0) -> DeviceParty:
        device = self.invited(user, role)
        assert self.enroll(device).status is Status.OK
        if prekeys:
            for first in range(1, prekeys + 1, 40):
                count = min(40, prekeys + 1 - first)
                batch = device.batch(first, count)
                assert self.ask(device, Action.PUBLISH_PREKEYS, encode(batch)).status is Status.OK
        return device

    def enroll(self, device: DeviceParty, request: EnrollRequest | None = None) -> EnrollReply:
        request = request or device.enroll_request()
        sealed = device.sealed(request)
        (answer,) = self.store.submit(lambda: self.enrollment.answer(*sealed)).result(SECONDS)
        assert answer.topic == topics.enrolled(device.invitation.invitation_id)
        assert not answer.retain
        return device.opened(answer.payload, request)

    def send(self, request: SignedRequest) -> tuple[Outgoing, ...]:
        topic = topics.request(request.device, request.request_id)
        answering = self.store.submit(lambda: self.requests.answer(topic, encode(request)))
        return answering.result(SECONDS)

    def ask(self, device: DeviceParty, action: Action, body: bytes = b"") -> SignedReply:
        request = device.request(action, body)
        answers = self.send(request)
        assert answers[0].topic == topics.reply(device.address, request.request_id)
        return device.checked(answers[0].payload, request)

    def fetch(self, device: DeviceParty, target: DeviceParty) -> SignedReply:
        return self.ask(device, Action.FETCH_BUNDLE, encode(FetchBundle(target.address)))

    def bundle(self, device: DeviceParty, target: DeviceParty) -> PrekeyBundle:
        reply = self.fetch(device, target)
        assert reply.status is Status.OK
        return PREKEY_BUNDLE.decode(reply.body)
