"""Several devices of one user: who gets what, whose copies count, which lists are believed."""

from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.errors import AuthenticationError
from client_sdk.core.session import encrypt, keys_wanted
from client_sdk.core.signatures import signed_by
from client_sdk.machine.device import load_device, with_list
from client_sdk.machine.devices import (
    Gossip,
    adopt_device_list,
    compare_mark,
    list_news,
    plan_consent,
    plan_equivocation,
)
from client_sdk.machine.errors import (
    DeviceListError,
    EquivocationError,
    IdentityChangedError,
    NoSessionError,
    UnknownDeviceError,
)
from client_sdk.machine.events import DeviceListChanged, IdentityChanged, SentElsewhere
from client_sdk.machine.late import LateMessage
from client_sdk.machine.rows import CatchUp, Late, MessageState, OutboxEnvelope, ReceiptDue
from client_sdk.machine.sending import plan_message, writable
from client_sdk.machine.state import PeerState
from client_sdk.wire.bundle import list_mark
from client_sdk.wire.codec import encode
from client_sdk.wire.content import (
    Content,
    ContentKind,
    CopyBody,
    MessageBody,
    encode_message_body,
    pad,
)
from client_sdk.wire.errors import MalformedError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, UserName
from tests.unit.machine.household import (
    list_of,
    meet,
    more_devices,
    own_state,
    pair_of_households,
    rekeyed,
    reply,
    take_list,
    without,
    write_late,
    write_to,
)
from tests.unit.machine.machine_parties import NOW, Party, empty_state, make_party


def known_state(asker: Party, others: list[Party]) -> PeerState:
    meet(asker, others)
    return asker.states[others[0].user]


def forged_content(sender: Party, receiver: Party, content: Content) -> OutboxEnvelope:
    """Return content that an honest device would not make, in an honest envelope."""
    state = sender.states[receiver.user]
    current = state.sessions[receiver.address].current
    assert current is not None
    envelope_id = EnvelopeId(entropy.draw_id())
    fresh = entropy.draw_keys(keys_wanted(current))
    _, payload = encrypt(current, envelope_id, pad(encode(content)), fresh)
    return OutboxEnvelope(envelope_id, receiver.address, receiver.user, None, payload, NOW)


def content_of(sender: Party, kind: ContentKind, body: bytes) -> Content:
    mark = sender.own.mark
    stream_id = sender.own.record.stream_id
    message_id = entropy.draw_message_id()
    return Content(message_id, stream_id, 9, (), NOW, kind, body, mark, mark, stream_start=9)


TEXT = MessageBody("text", None, None, None, None)


def test_a_message_goes_to_every_device_and_late_to_those_that_cannot_get_it_now() -> None:
    alices, (bob,) = pair_of_households(2)
    envelopes, changes = write_to(bob, alices, "to both")
    assert set(envelopes) == {"alice-1", "alice-2"}
    assert changes.late == ()
    for alice in alices:
        alice.receive(bob.address, envelopes[alice.address])
        assert alice.handed_over == ["to both"]
    _, changes = write_to(bob, alices, "to one", only=alices[:1])
    (late,) = changes.late
    assert (late.device, late.user) == ("alice-2", "alice")
    message = bob.messages[late.message_id]._replace(stream_id=bob.own.record.stream_id, sequence=2)
    envelope = write_late(bob, alices[1], LateMessage(late, message, 0))
    alices[1].receive(bob.address, envelope)
    assert alices[1].handed_over == ["to both", "to one"]


def test_a_device_that_waits_for_earlier_messages_is_not_written_to_directly() -> None:
    alices, (bob,) = pair_of_households(2)
    write_to(bob, alices, "hello")
    state = bob.states[alices[0].user]
    assert writable(state) == ("alice-1", "alice-2")
    assert writable(replace(state, late=frozenset({DeviceAddress("alice-1")}))) == ("alice-2",)
    with pytest.raises(NoSessionError):
        plan_message(bob.own, state, bob.queue(state.user, "nobody"), {}, NOW)


def test_a_stream_begins_for_a_new_device_where_it_was_first_written_to() -> None:
    alices, (bob,) = pair_of_households(2)
    for number in range(3):
        write_to(bob, alices, f"before {number}", only=alices[:1])
    envelopes, _ = write_to(bob, alices, "fourth")
    later, _ = write_to(bob, alices, "fifth")
    _, events = alices[1].receive(bob.address, later["alice-2"])
    assert alices[1].handed_over == []  # it knows that the fourth was sent to it
    alices[1].receive(bob.address, envelopes["alice-2"])
    assert (alices[1].handed_over, events) == (["fourth", "fifth"], ())


def test_what_one_device_sends_stands_in_the_history_of_the_other() -> None:
    (one, two), (bob,) = pair_of_households(2)
    _, changes = write_to(one, [bob], "to bob")
    (late,) = changes.late
    assert late == Late(late.message_id, DeviceAddress("alice-2"), one.user)
    message = one.messages[late.message_id]._replace(sequence=1)
    envelope = write_late(one, two, LateMessage(late, message, 1))
    own_state(two)
    changes, events = two.receive(one.address, envelope)
    (copy,) = changes.messages
    assert (copy.conversation, copy.sender, copy.outgoing) == ("bob", "alice", True)
    assert (copy.sender_device, copy.text, copy.sequence) == ("alice-1", "to bob", 1)
    assert two.messages[copy.message_id].state is MessageState.COPIED
    assert events == (SentElsewhere(copy.message_id, bob.user, one.address),)
    assert two.handed_over == []
    again = write_late(one, two, LateMessage(late, message, 1))
    changes, events = two.receive(one.address, again)
    assert (changes.messages, events) == ((), ())


def test_a_receipt_for_a_copy_reaches_nobody() -> None:
    (one, two), (bob,) = pair_of_households(2)
    _, changes = write_to(one, [bob], "to bob")
    (late,) = changes.late
    message = one.messages[late.message_id]._replace(sequence=1)
    two.receive(one.address, write_late(one, two, LateMessage(late, message, 1)))
    due = [ReceiptDue(one.user, late.message_id, read=False, due_since=NOW)]
    changes, events = one.receive(two.address, two.receipt(one, due))
    assert [row.device for row in changes.receipted] == ["alice-2"]
    assert events == ()


@pytest.mark.parametrize("kind", [ContentKind.SENT_COPY, ContentKind.MESSAGE])
def test_nobody_else_sends_copies_and_ones_own_devices_nothing_else(kind: ContentKind) -> None:
    (one, two), (bob,) = pair_of_households(2)
    if kind == ContentKind.SENT_COPY:
        sender, receiver = bob, one
        body = encode(CopyBody("carol", 1, TEXT))
    else:
        sender, receiver = two, one
        own_state(two)
        body = encode_message_body(TEXT)
    if receiver.address not in sender.states[receiver.user].sessions:
        sender.begin(receiver)
    envelope = forged_content(sender, receiver, content_of(sender, kind, body))
    with pytest.raises(MalformedError, match="kind that its sender does not send"):
        receiver.receive(sender.address, envelope)
    assert receiver.messages == {}


def test_a_stream_that_begins_behind_its_message_is_refused() -> None:
    (one, _), (bob,) = pair_of_households(2)
    bob.begin(one)
    content = content_of(bob, ContentKind.MESSAGE, encode_message_body(TEXT))
    envelope = forged_content(bob, one, content._replace(stream_start=10))
    with pytest.raises(MalformedError):
        one.receive(bob.address, envelope)


def test_several_lists_are_followed_at_once() -> None:
    first, bob = make_party("alice"), make_party("bob")
    state = known_state(bob, [first])
    oldest = list_of(first)
    chain = [oldest]
    for _ in range(3):
        more_devices(first, 1)
        chain.append(list_of(first))
    chain.append(without(first, 2))
    adopted, changes = adopt_device_list(state, reply(chain[-1], *chain[1:-1]))
    assert adopted.devices == ("alice-1", "alice-3", "alice-4")
    assert changes.catch_up == tuple(
        CatchUp(DeviceAddress(f"alice-{number}"), first.user, bob.address, NOW) for number in (3, 4)
    )
    assert list_news(oldest, chain[-1]) == (
        DeviceListChanged(first.user, 5, (DeviceAddress("alice-3"), DeviceAddress("alice-4")), ()),
    )
    assert list_news(None, oldest) == list_news(oldest, oldest) == ()


def test_a26_injected_hidden_replayed_and_rolled_back_lists_are_refused() -> None:
    first, bob = make_party("alice"), make_party("bob")
    oldest = list_of(first)
    more_devices(first, 1)
    second = list_of(first)
    more_devices(first, 1)
    third = list_of(first)
    state = known_state(bob, [first])
    assert state.device_list == third
    directory = entropy.draw_ed25519()
    fourth = without(first, 3)
    for refused in (
        reply(second),
        reply(oldest),
        reply(third, second),
        reply(signed_by(directory, fourth)),
        reply(without(first, 2)._replace(version=6)),
        reply(fourth._replace(devices=third.devices)),
    ):
        with pytest.raises(ProtocolError):
            adopt_device_list(state, refused)
    skipping = adopt_device_list(empty_state(first.user), reply(oldest))[0]
    with pytest.raises(DeviceListError):
        adopt_device_list(skipping, reply(third))
    assert adopt_device_list(skipping, reply(third, second))[0].device_list == third
    foreign = list_of(make_party("mallory"))
    with pytest.raises(DeviceListError):
        adopt_device_list(skipping, reply(third, foreign))


def test_a_device_that_left_takes_its_sessions_along_and_is_heard_no_more() -> None:
    alices, (bob,) = pair_of_households(2)
    envelopes, _ = write_to(bob, alices, "hello")
    for alice in alices:
        alice.receive(bob.address, envelopes[alice.address])
    write_to(alices[1], [bob], "answer")
    newest = without(alices[0], 2)
    state, changes = adopt_device_list(bob.states[alices[0].user], reply(newest))
    assert changes.devices_gone == ("alice-2",)
    assert set(state.sessions) == set(state.starts) == {"alice-1"}
    assert list_news(list_of(alices[0]), newest)[0] == DeviceListChanged(
        alices[0].user, 3, (), (DeviceAddress("alice-2"),)
    )
    bob.states[alices[0].user] = state
    alices[1].states.pop(bob.user)
    meet(alices[1], [bob])
    late, _ = write_to(alices[1], [bob], "still here")
    with pytest.raises(UnknownDeviceError):
        bob.receive(alices[1].address, late[bob.address])


def test_what_waits_behind_a_missing_message_of_a_device_that_left_is_handed_over() -> None:
    alices, (bob,) = pair_of_households(2)
    for text in ("lost", "held", "lost too", "held too"):
        envelope = write_to(alices[1], [bob], text)[0][bob.address]
        if text.startswith("held"):
            bob.receive(alices[1].address, envelope)
    assert bob.handed_over == []
    adopted, changes = adopt_device_list(bob.states[alices[0].user], reply(without(alices[0], 2)))
    assert changes.devices_gone == (alices[1].address,)
    assert [(one.state, one.after_gap) for one in changes.states] == [
        (MessageState.READY, True),
        (MessageState.READY, True),
    ]
    bob.write(changes)
    assert bob.handed_over == ["held", "held too"]
    assert adopted.streams == {}


def test_a30_two_lists_of_one_version_are_noticed_and_sending_stops_until_the_app_decides() -> None:
    first, bob = make_party("alice"), make_party("bob")
    oldest = list_of(first)
    more_devices(first, 1)
    shown = list_of(first)
    take_list(first, oldest)
    more_devices(first, 1)
    other = list_of(first)
    assert shown.version == other.version
    state = adopt_device_list(bob.state(first.user), reply(shown))[0]
    with pytest.raises(EquivocationError):
        adopt_device_list(state, reply(other))
    assert compare_mark(shown, list_mark(other)) is Gossip.OTHER
    assert compare_mark(shown, list_mark(shown)) is Gossip.NOTHING
    assert compare_mark(oldest, list_mark(other)) is Gossip.NEWER
    assert compare_mark(other, list_mark(oldest)) is Gossip.NOTHING
    stopped, changes = plan_equivocation(state)
    assert changes.peers == (stopped.peer,)
    assert stopped.peer.equivocation
    assert plan_consent(stopped, blocked=False)[0].peer.equivocation
    assert not plan_consent(stopped, accepted=True)[0].peer.equivocation


def test_a30_a_forged_list_of_the_known_version_is_no_equivocation() -> None:
    first, bob = make_party("alice"), make_party("bob")
    state = known_state(bob, [first])
    forged = list_of(first)._replace(version=1, next_number=5)
    with pytest.raises(ProtocolError) as caught:
        adopt_device_list(state, reply(forged))
    assert not isinstance(caught.value, EquivocationError)
    with pytest.raises(IdentityChangedError):
        adopt_device_list(state, reply(list_of(make_party("alice"))))


def test_a_new_account_key_is_taken_where_the_old_one_signed_it_and_nobody_verified() -> None:
    alices, (bob,) = pair_of_households(3)
    known = bob.states[alices[0].user]
    newest = rekeyed(alices[0], 1, 3)
    state, _ = adopt_device_list(known, reply(newest))
    assert state.peer.account_key == newest.account_key
    assert list_news(known.device_list, newest)[1] == IdentityChanged(alices[0].user)
    old_account = alices[1].own.account
    assert old_account is None
    verified = replace(known, peer=known.peer._replace(verified=True))
    with pytest.raises(IdentityChangedError):
        adopt_device_list(verified, reply(newest))


def test_a_message_that_was_under_way_when_an_account_key_was_replaced_still_opens() -> None:
    alices, (bob,) = pair_of_households(3)
    to_alice, _ = write_to(bob, alices, "to the old key")
    from_third, _ = write_to(alices[2], [bob], "under the old key")
    newest = rekeyed(alices[0], 1, 3)
    assert alices[0].own.account is not None
    alices[0].receive(bob.address, to_alice["alice-1"])
    assert alices[0].handed_over == ["to the old key"]
    bob.states[alices[0].user] = adopt_device_list(bob.states[alices[0].user], reply(newest))[0]
    bob.receive(alices[2].address, from_third["bob-1"])
    assert bob.handed_over == ["under the old key"]


@pytest.mark.parametrize("replaced", [3, 4])
def test_a_handshake_may_be_for_one_of_the_four_newest_account_keys(replaced: int) -> None:
    (alice,), (bob,) = pair_of_households(1)
    sent, _ = write_to(bob, [alice], "to an old key")
    for _ in range(replaced):
        rekeyed(alice, 1)
    if replaced < 4:
        alice.receive(bob.address, sent["alice-1"])
        assert alice.handed_over == ["to an old key"]
    else:
        with pytest.raises(AuthenticationError):
            alice.receive(bob.address, sent["alice-1"])


def test_a_handshake_that_names_the_present_list_counts_for_its_account_key_alone() -> None:
    (alice,), (bob,) = pair_of_households(1)
    sent, _ = write_to(bob, [alice], "to an old key")
    named = list_of(alice).version
    newest = rekeyed(alice, 1)
    record = alice.own.record._replace(device_list=newest._replace(version=named))
    alice.own = replace(alice.own, record=record)
    with pytest.raises(AuthenticationError):
        alice.receive(bob.address, sent["alice-1"])


def test_a_handshake_for_a_foreign_account_key_is_refused_after_every_superseded_one() -> None:
    alices, (bob,) = pair_of_households(2)
    rekeyed(alices[0], 1, 2)
    stranger = make_party("alice")
    lying = replace(
        bob.states[alices[0].user],
        device_list=list_of(alices[0])._replace(
            version=1, account_key=list_of(stranger).account_key
        ),
    )
    bob.states[alices[0].user] = lying
    bundle = alices[0].bundle()
    bundle = bundle._replace(device_list=lying.device_list)
    with pytest.raises(ProtocolError):
        bob.begin(alices[0], bundle)
    honest, _ = write_to(alices[0], [bob], "under the new key")
    with pytest.raises(UnknownDeviceError, match="list that is not known"):
        bob.receive(alices[0].address, honest["bob-1"])


def test_a_handshake_under_another_account_key_than_the_senders_is_refused() -> None:
    (alice,), (bob,) = pair_of_households(1)
    sent, _ = write_to(alice, [bob], "hello")
    state = bob.states[alice.user]
    other = list_of(make_party("alice")).account_key
    assert state.device_list is not None
    bob.states[alice.user] = replace(
        state, device_list=state.device_list._replace(account_key=other)
    )
    with pytest.raises(AuthenticationError):
        bob.receive(alice.address, sent["bob-1"])


def test_events_and_bodies_show_ids_and_nothing_that_was_written() -> None:
    event = SentElsewhere(MessageId(b"\x01" * 16), UserName("bob"), DeviceAddress("alice-1"))
    assert event.id == "01" * 16
    assert repr(CopyBody("bob", 1, TEXT)) == "CopyBody(...)"


def test_devices_that_were_not_seen_for_long_are_not_waited_for() -> None:
    alices, (bob,) = pair_of_households(3)
    answer = reply(list_of(alices[0]))._replace(absent=(2,))
    state, changes = adopt_device_list(bob.states[alices[0].user], answer)
    assert state.awaited == ("alice-1", "alice-3")
    assert changes.peers[0].absent == b"\x02"


def test_only_a_manager_has_the_accounts_key() -> None:
    one, two = more_devices(make_party("alice"), 1)
    assert one.own.account is not None
    assert two.own.account is None
    assert one.own.others == ("alice-2",)
    rekeyed(one, 1, 2)
    assert one.own.account is not None
    assert bytes(one.own.account.public) == bytes(list_of(one).account_key)
    waiting = one.own.record._replace(next_account_private=entropy.draw_ed25519().private_bytes())
    taken = with_list(waiting, without(one, 2))
    assert taken.next_account_private == waiting.next_account_private  # its list did not come
    assert load_device(taken).account is not None
