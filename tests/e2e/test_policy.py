"""Two patients do not see each other, whatever one of them tries."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from client_sdk import Messenger, entropy
from client_sdk.core.session import InitiatorKeys
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.fresh import fresh_envelopes
from client_sdk.machine.devices import adopt_device_list
from client_sdk.machine.rows import Message, MessageState
from client_sdk.machine.sending import plan_message, start_session
from client_sdk.transport.mqtt import Login as MqttLogin
from client_sdk.transport.mqtt import MqttTransport
from client_sdk.wire import topics
from client_sdk.wire.bundle import PrekeyBundle
from client_sdk.wire.directory import DeviceListReply
from client_sdk.wire.ids import EnvelopeId, parse_address, parse_user
from tests.e2e.clinic import Clinic, User, texts

CONNECT_SECONDS = 20.0
LISTENED_SECONDS = 2.0


@dataclass(frozen=True)
class Stolen:
    """What the directory gives a doctor, and never a patient."""

    device_list: DeviceListReply
    bundle: PrekeyBundle


@dataclass(frozen=True)
class Letter:
    """One envelope as it is published."""

    topic: str
    payload: bytes


async def stolen_keys(thief: User, victim: User) -> Stolen:
    async with Messenger.open(thief.store) as messenger:
        assert await messenger.wait_connected(CONNECT_SECONDS)
        directory = messenger._context.directory
        return Stolen(
            await directory.fetch_device_list(parse_user(victim.name)),
            await directory.fetch_bundle(parse_address(victim.address)),
        )


async def letter_by_hand(sender: User, victim: User, stolen: Stolen, text: str) -> Letter:
    """Make the envelope that the sender's own client would make, if it got the keys."""
    async with Messenger.open(sender.store, online=False) as messenger:
        context = messenger._context
        state = await context.peers.load(parse_user(victim.name))
        state, _ = adopt_device_list(state, stolen.device_list)
        fresh = InitiatorKeys(
            entropy.draw_x25519(),
            entropy.encapsulate(stolen.bundle.kem_prekey.key),
            entropy.draw_x25519(),
        )
        state = start_session(context.own, state, stolen.bundle, fresh, now_ms())
        message = Message(
            message_id=entropy.draw_message_id(),
            conversation=parse_user(victim.name),
            sender=messenger.user,
            sender_device=messenger.address,
            outgoing=True,
            state=MessageState.QUEUED,
            sent_at=now_ms(),
            text=text,
            data=None,
            content_type=None,
            reply_to=None,
            expires_at=None,
        )
        fresh = fresh_envelopes(state, state.devices)
        _, changes = plan_message(context.own, state, message, fresh, now_ms())
    (envelope,) = changes.envelopes
    topic = topics.inbox(
        envelope.recipient, parse_address(sender.address), EnvelopeId(envelope.envelope_id)
    )
    return Letter(topic, envelope.payload)


async def post(clinic: Clinic, sender: User, *letters: Letter) -> None:
    login = sender.login()
    transport = MqttTransport([clinic.url], MqttLogin(login.username, login.password))
    async with transport.connect() as connection, asyncio.timeout(CONNECT_SECONDS):
        for letter in letters:
            await connection.publish(letter.topic, letter.payload, retain=True)


async def inbox(clinic: Clinic, user: User) -> set[str]:
    """Return the topics that wait for a device or reach it in the next seconds."""
    login = user.login()
    transport = MqttTransport([clinic.url], MqttLogin(login.username, login.password))
    found: set[str] = set()
    async with transport.connect() as connection:
        await connection.subscribe(topics.inbox_filter(parse_address(user.address)))
        try:
            async with asyncio.timeout(LISTENED_SECONDS):
                async for incoming in connection.incoming():
                    found.add(incoming.topic)
        except TimeoutError:
            pass
    return found


def junk(sender: User, victim: User, payload: bytes) -> Letter:
    recipient, author = parse_address(victim.address), parse_address(sender.address)
    return Letter(topics.inbox(recipient, author, EnvelopeId(entropy.draw_id())), payload)


def test_a_patient_gets_no_keys_of_another_patient(clinic: Clinic) -> None:
    curious, victim = clinic.patient(), clinic.patient()

    async def ask() -> None:
        async with Messenger.open(curious.store) as messenger:
            assert await messenger.wait_connected(CONNECT_SECONDS)
            directory = messenger._context.directory
            for name in (victim.name, "nobody"):
                with pytest.raises(NotContactError) as of_list:
                    await directory.fetch_device_list(parse_user(name))
                with pytest.raises(NotContactError) as of_bundle:
                    await directory.fetch_bundle(parse_address(f"{name}-1"))
                assert str(of_list.value) == str(of_bundle.value)
                assert name not in str(of_list.value)
            assert victim.name not in {one.user for one in await messenger.contacts()}

    asyncio.run(ask())
    refusals = [curious.run("send", name, "hello") for name in (victim.name, "nobody")]
    assert [ended.code for ended in refusals] == [2, 2]
    assert refusals[0].err.replace(victim.name, "nobody") == refusals[1].err


def test_a_patient_s_hand_made_envelopes_are_dropped_and_cleared_without_a_receipt(
    tmp_path: Path,
) -> None:
    with Clinic(tmp_path) as clinic:
        doctor, sender, victim = clinic.doctor(), clinic.patient(), clinic.patient()
        keys = asyncio.run(stolen_keys(doctor, victim))
        first = asyncio.run(letter_by_hand(sender, victim, keys, "buy these pills"))
        garbage = [junk(sender, victim, payload) for payload in (b"\xc0", b"x" * 5000)]
        bent = Letter(junk(sender, victim, b"").topic, first.payload)
        asyncio.run(post(clinic, sender, first, bent, *garbage))
        assert len(asyncio.run(inbox(clinic, victim))) == 4
        with victim.listening() as listener:
            keys = asyncio.run(stolen_keys(doctor, victim))
            live = asyncio.run(letter_by_hand(sender, victim, keys, "and these"))
            asyncio.run(post(clinic, sender, live))
            told = doctor.run(
                "send", victim.name, "hello", "--wait", "delivered", "--timeout", "20"
            )
            assert told.code == 0
            assert listener.row()["sender"] == doctor.name
            assert listener.says_nothing(1)
        assert asyncio.run(inbox(clinic, victim)) == set()
        assert asyncio.run(inbox(clinic, sender)) == set()
        assert texts(victim.run("history", doctor.name).rows) == ["hello"]
        assert victim.run("history", sender.name).out == ""
        assert sender.name not in {row["user"] for row in victim.run("contacts").rows}


def test_control_a_doctor_s_hand_made_envelope_is_shown_and_receipted(clinic: Clinic) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    keys = asyncio.run(stolen_keys(doctor, patient))
    letter = asyncio.run(letter_by_hand(doctor, patient, keys, "made by hand"))
    asyncio.run(post(clinic, doctor, letter))
    received = patient.run("listen", "--count", "1", "--timeout", "20")
    assert texts(received.rows) == ["made by hand"]
    assert asyncio.run(inbox(clinic, patient)) == set()
    assert len(asyncio.run(inbox(clinic, doctor))) == 1
