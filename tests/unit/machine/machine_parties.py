"""Two devices with real keys and no I/O: rows live in plain dictionaries."""

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from client_sdk import entropy
from client_sdk.core.session import InitiatorKeys
from client_sdk.core.state_format import serialize_record
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import DeviceRecord, FreshDevice, OwnDevice, load_device, new_device
from client_sdk.machine.devices import adopt_device_list
from client_sdk.machine.errors import ReplayedHandshakeError
from client_sdk.machine.events import Event
from client_sdk.machine.opening import (
    Arrived,
    HandshakeInput,
    handshake_wanted,
    open_envelope,
    parse_arrived,
    prekeys_named,
    replay_digest,
)
from client_sdk.machine.prekeys import kem_row, responder_prekeys, upload, x25519_row
from client_sdk.machine.receiving import plan_receive, plan_repeat
from client_sdk.machine.rows import (
    Message,
    MessageState,
    OpenedEnvelope,
    OutboxEnvelope,
    Peer,
    PrekeyKind,
    PrekeyRow,
    ReceiptDue,
)
from client_sdk.machine.sending import (
    FreshEnvelope,
    FreshEnvelopes,
    FreshReceipt,
    fresh_keys_wanted,
    plan_message,
    plan_receipts,
    start_session,
    without_session,
)
from client_sdk.machine.state import PeerState
from client_sdk.wire.bundle import PrekeyBundle
from client_sdk.wire.directory import DeviceListReply, Relation
from client_sdk.wire.encoded_keys import SigningKey
from client_sdk.wire.ids import (
    DeviceAddress,
    DirectoryId,
    EnvelopeId,
    InvitationId,
    MessageId,
    UserName,
    user_of,
)
from client_sdk.wire.invitation import Invitation
from client_sdk.wire.topics import InboxTopic

NOW: Final = 1_800_000_000_000
"""ms since 1970: the time of these tests, at which all is received."""

SEALED_AT: Final = count(1)
"""ms after ``NOW`` of what is sealed: each content has a later one."""

HPKE_KEY: Final = entropy.draw_hpke().public
DIRECTORY_KEYS: Final = entropy.draw_ed25519()
DIRECTORY_ID: Final = DirectoryId(entropy.draw_id())


def make_invitation(user: str) -> Invitation:
    return Invitation(
        broker_urls=("mqtt://127.0.0.1:1",),
        user=UserName(user),
        invitation_id=InvitationId(entropy.draw_id()),
        password=entropy.draw_bytes(32),
        directory_id=DIRECTORY_ID,
        directory_key=SigningKey(DIRECTORY_KEYS.public),
        directory_hpke_key=HPKE_KEY,
        ca_fingerprint=None,
        expires_at=NOW,
    )


def draw_device() -> FreshDevice:
    return FreshDevice(
        account=entropy.draw_ed25519(),
        signing=entropy.draw_ed25519(),
        identity=entropy.draw_x25519(),
        credential=entropy.draw_bytes(32),
        stream_id=entropy.draw_stream_id(),
        nonce=entropy.draw_bytes(16),
        reply_private=entropy.draw_hpke().private_bytes(),
    )


def make_record(user: str) -> DeviceRecord:
    return new_device(make_invitation(user), draw_device(), NOW)


def empty_state(user: UserName) -> PeerState:
    return PeerState(0, Peer(user), None, {}, {})


def serialised(state: PeerState) -> dict[DeviceAddress, bytes]:
    return {device: serialize_record(one) for device, one in state.sessions.items()}


def fresh_for(state: PeerState) -> FreshEnvelopes:
    return {
        device: FreshEnvelope(
            EnvelopeId(entropy.draw_id()),
            entropy.draw_keys(fresh_keys_wanted(state, device)),
        )
        for device in state.devices
    }


@dataclass
class Party:
    """One device; the same steps that delivery takes, without store and network."""

    own: OwnDevice
    states: dict[UserName, PeerState] = field(default_factory=dict)
    prekeys: dict[tuple[PrekeyKind, int], PrekeyRow] = field(default_factory=dict)
    handshakes: set[bytes] = field(default_factory=set)
    opened: dict[tuple[DeviceAddress, EnvelopeId], OpenedEnvelope] = field(default_factory=dict)
    messages: dict[MessageId, Message] = field(default_factory=dict)
    handed_over: list[str | None] = field(default_factory=list)
    receipts_due: list[ReceiptDue] = field(default_factory=list)
    next_key: int = 1
    now: int = NOW

    @property
    def address(self) -> DeviceAddress:
        return self.own.address

    @property
    def user(self) -> UserName:
        return self.own.user

    def state(self, user: UserName) -> PeerState:
        return self.states.setdefault(user, empty_state(user))

    def make_prekeys(self, *, one_time: bool = True) -> list[PrekeyRow]:
        first = self.next_key
        rows = [
            x25519_row(PrekeyKind.SIGNED, first, entropy.draw_x25519(), NOW),
            kem_row(PrekeyKind.KEM_LAST_RESORT, first + 1, entropy.draw_ml_kem_1024(), NOW),
        ]
        if one_time:
            rows += [
                x25519_row(PrekeyKind.ONE_TIME, first + 2, entropy.draw_x25519(), NOW),
                kem_row(PrekeyKind.KEM_ONE_TIME, first + 3, entropy.draw_ml_kem_1024(), NOW),
            ]
        self.next_key += len(rows)
        self.prekeys.update({(row.kind, row.id): row for row in rows})
        return rows

    def bundle(self, *, one_time: bool = True) -> PrekeyBundle:
        batch = upload(self.own.signing, self.address, self.make_prekeys(one_time=one_time))
        assert batch.signed_prekey is not None
        assert batch.last_resort is not None
        return PrekeyBundle(
            self.address,
            self.own.record.device_list,
            batch.signed_prekey,
            batch.one_time_prekeys[0] if one_time else None,
            batch.kem_prekeys[0] if one_time else batch.last_resort,
        )

    def list_reply(self, relation: Relation = Relation.CONTACT) -> DeviceListReply:
        return DeviceListReply(self.own.record.device_list, relation, "staff", "Someone")

    def know(self, other: "Party", relation: Relation = Relation.CONTACT) -> None:
        state, _ = adopt_device_list(self.state(other.user), other.list_reply(relation))
        self.states[other.user] = state

    def begin(self, other: "Party", bundle: PrekeyBundle | None = None) -> None:
        bundle = bundle or other.bundle()
        keys = InitiatorKeys(
            entropy.draw_x25519(),
            entropy.encapsulate(bundle.kem_prekey.key),
            entropy.draw_x25519(),
        )
        self.states[other.user] = start_session(
            self.own, self.states[other.user], bundle, keys, self.now
        )

    def queue(self, to: UserName, text: str, expires_at: int | None = None) -> Message:
        return Message(
            message_id=entropy.draw_message_id(),
            conversation=to,
            sender=self.user,
            sender_device=self.address,
            outgoing=True,
            state=MessageState.QUEUED,
            sent_at=NOW + next(SEALED_AT),
            text=text,
            expires_at=expires_at,
        )

    def send(
        self, to: "Party", text: str = "hello", expires_at: int | None = None
    ) -> OutboxEnvelope:
        state = self.states[to.user]
        if without_session(state):
            self.begin(to)
            state = self.states[to.user]
        message = self.queue(to.user, text, expires_at)
        self.messages[message.message_id] = message
        state, changes = plan_message(self.own, state, message, fresh_for(state), NOW)
        self.states[to.user] = state
        (envelope,) = changes.envelopes
        return envelope

    def receipt(self, to: "Party", due: list[ReceiptDue]) -> OutboxEnvelope:
        state = self.states[to.user]
        fresh = FreshReceipt(entropy.draw_message_id(), fresh_for(state))
        state, changes = plan_receipts(self.own, state, due, fresh, NOW + next(SEALED_AT))
        self.states[to.user] = state
        (envelope,) = changes.envelopes
        return envelope

    def arrived(self, sender: DeviceAddress, envelope: OutboxEnvelope) -> Arrived:
        topic = InboxTopic(self.address, sender, envelope.envelope_id)
        return parse_arrived(topic, envelope.payload)

    def handshake(self, state: PeerState, arrived: Arrived) -> HandshakeInput | None:
        header = handshake_wanted(state, arrived)
        if header is None:
            return None
        if replay_digest(header.handshake) in self.handshakes:
            raise ReplayedHandshakeError("a handshake came a second time")
        named = prekeys_named(header.handshake)
        rows = {key: self.prekeys[key] for key in named if key in self.prekeys}
        return responder_prekeys(header, rows)

    def receive(
        self, sender: DeviceAddress, envelope: OutboxEnvelope, now: int = NOW
    ) -> tuple[Changes, tuple[Event, ...]]:
        arrived = self.arrived(sender, envelope)
        state = self.state(user_of(sender))
        before = self.opened.get((sender, envelope.envelope_id))
        if before is not None and before.digest == arrived.digest:
            changes = plan_repeat(state, before, now)
            self.receipts_due += changes.receipts_due
            return changes, ()
        moved, opened = open_envelope(self.own, state, arrived, self.handshake(state, arrived), now)
        known = opened.content.message_id in self.messages
        moved, changes, events = plan_receive(moved, opened, now, known=known)
        self.states[state.user] = replace(moved, revision=moved.revision + 1)
        self.write(changes)
        return changes, events

    def write(self, changes: Changes) -> None:
        for key in changes.prekeys_spent:
            del self.prekeys[key]
        self.handshakes |= {one.digest for one in changes.handshakes}
        self.opened.update({(one.sender, one.envelope_id): one for one in changes.opened})
        self.messages.update({one.message_id: one for one in changes.messages})
        self.receipts_due += changes.receipts_due
        for change in changes.states:
            message = self.messages[change.message_id]._replace(state=change.state)
            self.messages[change.message_id] = message
            if change.state is MessageState.READY:
                self.handed_over.append(message.text)

    def current_id(self, other: "Party") -> bytes:
        current = self.states[other.user].sessions[other.address].current
        assert current is not None
        return current.session_id


def make_party(user: str) -> Party:
    return Party(load_device(make_record(user)))


def make_pair() -> tuple[Party, Party]:
    """Return two contacts that know each other's device lists and have no session yet."""
    alice, bob = make_party("alice"), make_party("bob")
    alice.know(bob)
    bob.know(alice)
    return alice, bob
