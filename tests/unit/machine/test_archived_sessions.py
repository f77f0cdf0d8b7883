"""An archived session decrypts for 30 days; what its peer writes in it later is asked for again."""

from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.errors import UnknownSessionError
from client_sdk.core.session_record import ARCHIVE_LIFETIME_MS, archive_current
from client_sdk.machine.control import FreshContent
from client_sdk.machine.healing import (
    Verdict,
    candidate,
    judge,
    may_resend,
    plan_request,
    plan_resend,
)
from client_sdk.machine.rows import MessageState
from client_sdk.machine.state import PeerState, expired
from client_sdk.wire.ids import DeviceAddress
from tests.unit.machine.machine_parties import NOW, Party, fresh_for, make_pair


def with_archived_session(rounds: int = 1) -> tuple[Party, Party]:
    """Return two contacts of whom bob has put away the session in which alice goes on writing."""
    alice, bob = make_pair()
    for _ in range(rounds):
        bob.receive(alice.address, alice.send(bob, "early"))
        alice.receive(bob.address, bob.send(alice, "answer"))
    state = bob.states[alice.user]
    record = archive_current(state.sessions[alice.address], NOW)
    bob.states[alice.user] = replace(state, sessions={alice.address: record})
    return alice, bob


def fresh(state: PeerState, device: DeviceAddress) -> FreshContent:
    return FreshContent(entropy.draw_message_id(), fresh_for(state)[device])


def test_an_archived_session_decrypts_for_thirty_days_and_not_a_moment_longer() -> None:
    alice, bob = with_archived_session()
    kept = bob.states[alice.user]
    for age in (1, ARCHIVE_LIFETIME_MS):
        bob.states[alice.user] = expired(bob.states[alice.user], NOW + age)
        bob.receive(alice.address, alice.send(bob, f"after {age} ms"), NOW + age)
    assert bob.handed_over == ["early", f"after {1} ms", f"after {ARCHIVE_LIFETIME_MS} ms"]
    bob.states[alice.user] = expired(kept, NOW + ARCHIVE_LIFETIME_MS + 1)
    with pytest.raises(UnknownSessionError):
        bob.receive(alice.address, alice.send(bob, "too late"), NOW + ARCHIVE_LIFETIME_MS + 1)


def test_what_comes_in_an_expired_session_is_asked_for_and_comes_again_in_a_new_one() -> None:
    alice, bob = with_archived_session()
    now = NOW + ARCHIVE_LIFETIME_MS + 1
    envelope = alice.send(bob, "written in a session that bob has forgotten")
    state = expired(bob.states[alice.user], now)
    arrived = bob.arrived(alice.address, envelope)
    assert judge(state, arrived, UnknownSessionError("")) is Verdict.HEAL

    bob.now, bob.states[alice.user] = now, state
    bob.begin(alice)
    state = bob.states[alice.user]
    moved, asked = plan_request(
        bob.own, state, [candidate(arrived, now)], fresh(state, alice.address), now
    )
    bob.states[alice.user] = moved
    (due,) = alice.receive(bob.address, asked.envelopes[0], now)[0].resends_due
    assert alice.current_id(bob) == bob.current_id(alice)

    at_alice = alice.states[bob.user]
    assert envelope.message_id is not None
    message = alice.messages[envelope.message_id]._replace(
        state=MessageState.PUBLISHED,
        sent_at=now,
        stream_id=alice.own.record.stream_id,
        sequence=2,
    )
    assert may_resend(at_alice, due, envelope, message, now)
    again = fresh_for(at_alice)[bob.address]
    _, resent = plan_resend(alice.own, at_alice, (envelope, message), again, now)
    bob.receive(alice.address, resent.envelopes[0], now)
    assert bob.handed_over == ["early", "written in a session that bob has forgotten"]
