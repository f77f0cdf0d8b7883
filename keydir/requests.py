"""Signed requests: authenticate, judge, act and keep the answer, in one transaction."""

import hashlib

from client_sdk.core.keys import verify
from client_sdk.entropy import draw_id
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    SIGNED_REQUEST,
    CounterReply,
    DirectoryEvent,
    EventKind,
    SignedRequest,
    Status,
    event_bytes,
    request_bytes,
)
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress, EventId
from keydir.actions import Actions, requester_bucket
from keydir.desk import NO_SIGNATURE, Desk, Outgoing
from keydir.errors import DirectoryStoreError, RefusedRequestError
from keydir.limits import DEVICE_LIMIT
from keydir.outcome import Caller, Outcome
from keydir.ports import Transaction
from keydir.records import Answer, Member
from keydir.rules import ANSWER_LIFETIME_MS, Verdict, judge_request
from keydir.throttle import Charge, allow


class Requests:
    """Answers signed requests of devices."""

    def __init__(self, desk: Desk) -> None:
        """Use the directory's keys, store and policy."""
        self._desk = desk
        self._actions = Actions(desk)

    def answer(self, topic: str, payload: bytes) -> tuple[Outgoing, ...]:
        """Return the reply to one request, and events that it caused; all is committed.

        Raises:
            ProtocolError: Malformed, not this device's, or not authentic; nothing was changed.
            DirectoryStoreError: The store failed before the request was authenticated.
        """
        request = self._parse(topic, payload)
        authentic = False
        try:
            with self._desk.store.transaction() as transaction:
                member = self._authenticate(transaction, request)
                authentic = True
                return self._settle(transaction, member, request, payload)
        except DirectoryStoreError:
            if not authentic:
                raise
            return (self._desk.reply(request, Status.UNAVAILABLE, b""),)

    def _parse(self, topic: str, payload: bytes) -> SignedRequest:
        place = topics.parse_request(topic)
        request = SIGNED_REQUEST.decode(payload)
        if (request.device, request.request_id) != place:
            raise RefusedRequestError("a request under another request's topic")
        if request.directory_id != self._desk.keys.directory_id:
            raise RefusedRequestError("a request for another directory")
        return request

    def _authenticate(self, transaction: Transaction, request: SignedRequest) -> Member:
        member = transaction.accounts.held_member(request.device)
        if member is None:
            raise RefusedRequestError("a request of an unknown device")
        verify(member.device.signing_key, request_bytes(request), request.signature)
        return member

    def _settle(
        self, transaction: Transaction, member: Member, request: SignedRequest, payload: bytes
    ) -> tuple[Outgoing, ...]:
        device = member.device
        if device.revoked:
            return (self._desk.reply(request, Status.REVOKED, b""),)
        now = self._desk.wall()
        since = now - ANSWER_LIFETIME_MS
        kept = transaction.answers.find(device.address, request.request_id, since)
        request_hash = hashlib.sha256(payload).digest()
        verdict = judge_request(request.counter, request_hash, device.last_counter, kept)
        if verdict is Verdict.REPEATED and kept is not None:
            return (Outgoing(topics.reply(device.address, request.request_id), kept.reply),)
        if verdict is Verdict.CONFLICT:
            raise RefusedRequestError("another request under a request id that was used")
        if verdict is Verdict.STALE:
            body = encode(CounterReply(device.last_counter))
            return (self._desk.reply(request, Status.STALE_COUNTER, body),)
        charge = Charge(DEVICE_LIMIT, f"any {device.address}")
        transaction.buckets.find([charge.key, requester_bucket(device.address)])  # by one statement
        if not allow(transaction.buckets, now, charge):
            return (self._desk.reply(request, Status.RATE_LIMITED, b""),)
        outcome = self._perform(transaction, member, request)
        reply = self._desk.reply(request, outcome.status, outcome.body)
        transaction.accounts.accept(device.address, request.counter)
        if device.invitation_id is not None:
            transaction.invitations.end(device.invitation_id)
        answer = Answer(request_hash, reply.payload)
        transaction.answers.keep(device.address, request.request_id, answer, now)
        told = () if outcome.low is None else (self._low_event(outcome.low),)
        return (reply, *outcome.extra, *told)

    def _perform(self, transaction: Transaction, member: Member, request: SignedRequest) -> Outcome:
        try:
            caller = Caller(member.device, member.account)
            return self._actions.perform(transaction, caller, request.action, request.body)
        except ProtocolError:
            return Outcome(Status.BAD_REQUEST)

    def _low_event(self, address: DeviceAddress) -> Outgoing:
        unsigned = DirectoryEvent(
            directory_id=self._desk.keys.directory_id,
            device=address,
            event_id=EventId(draw_id()),
            created_at=self._desk.wall(),
            kind=EventKind.PREKEYS_LOW,
            signature=NO_SIGNATURE,
        )
        event = unsigned._replace(signature=self._desk.keys.signing.sign(event_bytes(unsigned)))
        return Outgoing(topics.event(address, event.event_id), encode(event), retain=True)
