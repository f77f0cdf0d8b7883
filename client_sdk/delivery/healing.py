"""Asks again for what did not open, and answers those who ask; both in bounds."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from itertools import groupby
from typing import Final

from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.fresh import fresh_content, fresh_envelope
from client_sdk.machine.changes import Changes, combine
from client_sdk.machine.events import SessionRenewed
from client_sdk.machine.healing import (
    CANDIDATE_LIFETIME_MS,
    may_resend,
    plan_answer,
    plan_request,
    plan_resend,
)
from client_sdk.machine.pace import (
    MAX_ANSWERS,
    MAX_NEW_SESSIONS,
    MAX_REQUESTS,
    opened_window,
)
from client_sdk.machine.rows import (
    Candidate,
    HealingPace,
    Message,
    OutboxEnvelope,
    PaceKind,
    ResendDue,
)
from client_sdk.machine.state import PeerState
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.wire import topics
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, user_of
from client_sdk.wire.limits import MAX_RESEND_IDS

GATHER_SECONDS: Final = 0.2
"""Envelopes that do not open come in flocks: one request names them all."""

ROUND_SECONDS: Final = 60.0
LOOKED_AT: Final = 10 * MAX_RESEND_IDS

_UNANSWERED: Final = (OperationalError, ProtocolError, NotContactError)
_logger = logging.getLogger(__name__)


class Healing:
    """The loop that gets lost messages back, on both sides."""

    def __init__(self, context: Context, ask_again_seconds: float) -> None:
        """Ask for an envelope again after ``ask_again_seconds`` without an answer."""
        self._context = context
        self._ask_again_seconds = ask_again_seconds

    async def loop(self) -> None:
        """Ask and answer until cancelled."""
        while True:
            ticket = self._context.healing_bell.ticket()
            await self._answer_all()
            await self._ask_all()
            await self._forget_old()
            await wait_for(ticket, min(self._ask_again_seconds, ROUND_SECONDS))
            await asyncio.sleep(GATHER_SECONDS)

    async def _ask_all(self) -> None:
        asked_before = now_ms() - round(self._ask_again_seconds * 1000)
        waiting = await self._context.store.candidates_to_ask(asked_before)
        for device, lost in groupby(sorted(waiting), key=lambda one: one.sender):
            await self._guarded(device, self._ask(device, list(lost)))

    async def _answer_all(self) -> None:
        due = await self._context.store.resends_due(LOOKED_AT)
        for device, asked in groupby(due, key=lambda one: one.device):
            await self._guarded(device, self._answer(device, list(asked)))

    async def _guarded(self, device: DeviceAddress, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except StaleSnapshotError:
            self._context.healing_bell.ring()
        except StoreError:
            raise
        except _UNANSWERED as error:
            _logger.info("a session with %s cannot be healed now: %s", device, error.code)

    async def _ask(self, device: DeviceAddress, lost: Sequence[Candidate]) -> None:
        """Request envelopes of one device, in a new session where the bounds allow one."""
        context, user = self._context, user_of(device)
        pace = await self._window(device, PaceKind.ASK)
        left = MAX_REQUESTS - pace.requests
        if left <= 0:
            return
        bundle = None
        if pace.sessions < MAX_NEW_SESSIONS:
            bundle = await context.peers.fetch_bundle(device)
        async with context.peers.lock(user):
            state = await context.peers.load(user)
            if not state.may_be_answered:
                return
            if bundle is not None:
                state = context.peers.with_new_session(state, bundle)
                pace = pace._replace(sessions=pace.sessions + 1)
            elif device not in state.sessions or state.sessions[device].current is None:
                return  # the window has seen its session, and it is gone: the next one heals
            step = Changes()
            for first in range(0, min(len(lost), left * MAX_RESEND_IDS), MAX_RESEND_IDS):
                part = lost[first : first + MAX_RESEND_IDS]
                state, changes = plan_request(
                    context.own, state, part, fresh_content(state, device), now_ms()
                )
                pace = pace._replace(requests=pace.requests + 1)
                step = combine(step, changes)
            step = combine(step, Changes(paces=(pace,)))
            await context.peers.commit(state, step, (device,))
        if bundle is not None:
            context.events.emit([SessionRenewed(device)])
        context.publish_bell.ring()
        context.changed_bell.ring()

    async def _answer(self, device: DeviceAddress, due: Sequence[ResendDue]) -> None:
        """Seal again what ``device`` may have, and tell it which envelopes are settled."""
        context, user = self._context, user_of(device)
        pace = await self._window(device, PaceKind.ANSWER)
        async with context.peers.lock(user):
            asked = due[:MAX_RESEND_IDS]
            state = await context.peers.load(user)
            if pace.requests >= MAX_ANSWERS or not state.may_be_answered:
                done = tuple((one.device, one.envelope_id) for one in due)
                await context.store.commit(Changes(resends_done=done))
                return
            step = Changes(paces=(pace._replace(requests=pace.requests + 1),))
            for again in await self._allowed(state, asked):
                fresh = fresh_envelope(state, device)
                state, changes = plan_resend(context.own, state, again, fresh, now_ms())
                step = combine(step, changes)
            state, changes = plan_answer(
                context.own, state, asked, fresh_content(state, device), now_ms()
            )
            await context.peers.commit(state, combine(step, changes), (device,))
        context.publish_bell.ring()
        if step.late:
            context.outbox_bell.ring()
        if len(due) > len(asked):
            context.healing_bell.ring()

    async def _allowed(
        self, state: PeerState, asked: Sequence[ResendDue]
    ) -> list[tuple[OutboxEnvelope, Message]]:
        store, now = self._context.store, now_ms()
        found = await store.find_envelopes(asked[0].device, [one.envelope_id for one in asked])
        allowed: list[tuple[OutboxEnvelope, Message]] = []
        for due in asked:
            envelope = found.get(due.envelope_id)
            if envelope is None or envelope.message_id is None:
                continue
            stored = await store.message(envelope.message_id)
            if stored is not None and may_resend(state, due, envelope, stored.message, now):
                allowed.append((envelope, stored.message))
        return sorted(allowed, key=lambda one: one[1].sequence)

    async def _window(self, device: DeviceAddress, kind: PaceKind) -> HealingPace:
        return opened_window(await self._context.store.pace(device, kind), device, kind, now_ms())

    async def _forget_old(self) -> None:
        """Clear what nobody answered for in ``CANDIDATE_LIFETIME_MS``."""
        context = self._context
        old = await context.store.candidates_seen(now_ms() - CANDIDATE_LIFETIME_MS, LOOKED_AT)
        if old:
            gone = tuple((one.sender, one.envelope_id) for one in old)
            await context.store.commit(Changes(candidates_gone=gone))
            clear_candidates(context, gone)


def clear_candidates(context: Context, gone: Sequence[tuple[DeviceAddress, EnvelopeId]]) -> None:
    """Clear the topics of candidates that are kept no more."""
    for sender, envelope_id in gone:
        context.clears.put_nowait(topics.inbox(context.own.address, sender, envelope_id))
