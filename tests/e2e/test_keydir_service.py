"""The running directory over the embedded broker, as devices and operators meet it."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.limits import BrokerLimits
from broker.settings import BrokerSettings
from client_sdk.core.signatures import verify_bundle
from client_sdk.entropy import draw_id
from client_sdk.transport.errors import ConnectionLostError, InvalidBrokerUrlError
from client_sdk.transport.mqtt import MqttTransport
from client_sdk.wire import topics
from client_sdk.wire.bundle import PREKEY_BUNDLE
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    Action,
    FetchBundle,
    FetchContacts,
    SignedReply,
    Status,
)
from client_sdk.wire.ids import DeviceAddress, EnvelopeId
from client_sdk.wire.invitation import parse_invitation, secret_hash
from keydir.actions import Actions
from keydir.commands import revoke, run_directory
from keydir.data import write_broker_urls
from keydir.desk import wall_ms
from keydir.errors import DataDirectoryError
from keydir.prepare import prepare_directory
from keydir.service import KeyDirectory
from keydir.stores import CredentialReader
from keydir.stores.sql import SqlDirectoryStore
from tests.e2e.keydir_system import (
    PATIENCE_SECONDS,
    DirectoryProcess,
    System,
    command,
    refused,
    retained,
    run_command,
    running_directory,
    running_system,
)
from tests.unit.keydir.keydir_parties import DeviceParty

CONTACTS = encode(FetchContacts(""))


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path) as running:
        yield running


async def publish(system: System, device: DeviceParty, count: int) -> None:
    async with system.connected(device) as live:
        batch = encode(device.batch(1, count))
        assert (await live.ask(Action.PUBLISH_PREKEYS, batch)).status is Status.OK


async def fetch(system: System, device: DeviceParty, address: str) -> SignedReply:
    async with system.connected(device) as live:
        return await live.ask(Action.FETCH_BUNDLE, encode(FetchBundle(DeviceAddress(address))))


async def test_two_devices_enrol_and_one_fetches_the_others_bundle(system: System) -> None:
    async with running_directory(system):
        patient = await system.enrolled("pat", "patient")
        doctor = await system.enrolled("dora", "doctor")
        await publish(system, patient, 2)
        reply = await fetch(system, doctor, "pat-1")
    bundle = PREKEY_BUNDLE.decode(reply.body)
    verify_bundle(bundle, wall_ms())
    assert bundle.device_list == patient.device_list


async def test_a32_every_reply_is_signed_and_echoes_request_id_and_nonce(system: System) -> None:
    async with running_directory(system):
        patient = await system.enrolled("pat", "patient")
        async with system.connected(patient) as live:
            request = patient.request(Action.CONTACTS, CONTACTS)
            first_reply = await live.repeat(request)
            assert await live.repeat(request) == first_reply
            other = await live.ask(Action.CONTACTS, CONTACTS)
    assert first_reply.nonce == request.nonce != other.nonce
    assert first_reply.signature != other.signature


async def test_the_one_time_login_is_gone_after_the_first_request(system: System) -> None:
    async with running_directory(system):
        patient = await system.enrolled("pat", "patient")
        reader = CredentialReader(system.settings.database_path)
        login = f"_enroll-{patient.invitation.invitation_id}"
        assert reader.secret_hash(login) is not None
        async with system.connected(patient) as live:
            await live.ask(Action.CONTACTS, CONTACTS)
        assert reader.secret_hash(login) is None
        reader.close()


async def test_garbage_and_a_failing_answer_end_nothing(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_directory(system) as directory:
        patient = await system.enrolled("pat", "patient")
        async with system.connected(patient) as live:
            for junk in (b"\x00", b"\xff" * 5000, encode((1, 2, 3))):
                topic = topics.request(patient.address, patient.request(Action.CONTACTS).request_id)
                await live.connection.publish(topic, junk)
            assert (await live.ask(Action.CONTACTS, CONTACTS)).status is Status.OK
            assert directory.dropped == 3

            def fail(*_: object) -> None:
                raise ZeroDivisionError

            with monkeypatch.context() as broken:
                broken.setattr(Actions, "perform", fail)
                request = patient.request(Action.CONTACTS, CONTACTS)
                topic = topics.request(request.device, request.request_id)
                await live.connection.publish(topic, encode(request))
                await live.connection.publish(
                    topics.request(patient.address, request.request_id), b"junk"
                )
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while directory.dropped < 4:  # noqa: ASYNC110 - a number, not an event
                        await asyncio.sleep(0.01)
            assert (await live.repeat(request)).status is Status.OK


async def test_the_directory_comes_back_after_the_broker_was_away(
    system: System, tmp_path: Path
) -> None:
    async with running_directory(system):
        patient = await system.enrolled("pat", "patient")
        port = system.broker.port
        await system.broker.stop()
        credentials = CredentialReader(system.settings.database_path)
        settings = BrokerSettings(port=port, data_dir=tmp_path / "broker")
        system.broker = EmbeddedBroker(settings, credentials)
        await system.broker.start()
        async with system.connected(patient) as live:
            assert (await live.ask(Action.CONTACTS, CONTACTS)).status is Status.OK
    await system.broker.stop()
    credentials.close()


async def test_a_broker_that_was_never_there_is_waited_for(system: System) -> None:
    login = prepare_directory(system.settings).login
    away = MqttTransport(["mqtt://127.0.0.1:1", system.url], login)
    ready = asyncio.Event()
    running = asyncio.ensure_future(KeyDirectory(system.settings, away).run(ready.set))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await ready.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_only_one_directory_runs_in_a_folder(system: System) -> None:
    async with running_directory(system):
        second = system.settings.model_copy(update={"broker_urls": (system.url,)})
        with pytest.raises(DataDirectoryError, match="another key directory is running"):
            await run_directory(second)


async def test_a_directory_needs_a_broker_address(system: System) -> None:
    with pytest.raises(InvalidBrokerUrlError):
        await run_directory(system.settings)
    wrong = system.settings.model_copy(update={"broker_urls": ("http://127.0.0.1",)})
    with pytest.raises(InvalidBrokerUrlError):
        await run_directory(wrong)


def mail(recipient: DeviceParty, sender: DeviceParty) -> str:
    return topics.inbox(recipient.address, sender.address, EnvelopeId(draw_id()))


async def test_a40_revoking_refuses_the_login_and_sweeps_mail_for_and_from_the_device(
    system: System,
) -> None:
    async with running_directory(system):
        mallory = await system.enrolled("mallory", "patient")
        doctor = await system.enrolled("dora", "doctor")
        patient = await system.enrolled("pat", "patient")
        kept = mail(doctor, patient)
        async with system.connected(patient) as live:
            await live.connection.publish(kept, b"mail", retain=True)
        async with system.connected(doctor) as live:
            for _ in range(120):
                await live.connection.publish(mail(mallory, doctor), b"mail", retain=True)
        async with system.connected(mallory) as live:
            for _ in range(3):
                await live.connection.publish(mail(doctor, mallory), b"mail", retain=True)
            revoke(system.settings, "mallory")
            async with asyncio.timeout(5):
                with pytest.raises(ConnectionLostError):
                    async for _ in live.connection.incoming():
                        pass
        assert await refused(system, mallory)
        await until_swept(system)
        async with system.connected(doctor) as live:
            assert await retained(live.connection, topics.inbox_filter(doctor.address)) == {kept}
        readmit(system, mallory)
        async with system.connected(mallory) as live:
            assert await retained(live.connection, topics.device_tree(mallory.address)) == set()


async def test_more_revoked_devices_are_swept_than_one_connection_may_have_filters(
    system: System,
) -> None:
    async with running_directory(system):
        doctor = await system.enrolled("dora", "doctor")
        gone = [
            await system.enrolled(f"patient{n}", "patient")
            for n in range(BrokerLimits().max_filters // 2 + 3)
        ]
        async with system.connected(doctor) as live:
            for patient in gone:
                await live.connection.publish(mail(patient, doctor), b"mail", retain=True)
        for patient in gone:
            revoke(system.settings, patient.address)
        await until_swept(system)
        readmit(system, gone[-1])
        async with system.connected(gone[-1]) as live:
            assert await retained(live.connection, topics.device_tree(gone[-1].address)) == set()


async def test_a_device_revoked_while_the_directory_was_down_is_swept_at_its_start(
    system: System,
) -> None:
    async with running_directory(system):
        mallory = await system.enrolled("mallory", "patient")
        doctor = await system.enrolled("dora", "doctor")
    async with system.connected(doctor) as live:
        await live.connection.publish(mail(mallory, doctor), b"mail", retain=True)
    revoke(system.settings, "mallory")
    async with running_directory(system):
        await until_swept(system)
    readmit(system, mallory)
    async with system.connected(mallory) as live:
        assert await retained(live.connection, topics.device_tree(mallory.address)) == set()


async def until_swept(system: System) -> None:
    store = SqlDirectoryStore(system.settings.database_path)
    due = True
    async with asyncio.timeout(PATIENCE_SECONDS):
        while due:
            await asyncio.sleep(0.02)
            with store.transaction() as transaction:
                due = bool(transaction.accounts.unswept(0))
    store.close()


def readmit(system: System, device: DeviceParty) -> None:
    """Give a revoked device its login back, so that the test can look into its tree."""
    store = SqlDirectoryStore(system.settings.database_path)
    with store.transaction() as transaction:
        transaction.logins.put(device.address, secret_hash(device.password), None)
    store.close()


async def test_enrolment_is_resumed_after_kill_9_of_the_directory(system: System) -> None:
    device = system.invited("pat", "patient")
    request = device.enroll_request()
    process = await DirectoryProcess.start(system)
    answering = asyncio.ensure_future(system.enroll(device, request))
    # The request is on its way, was taken or was answered: each must end the same.
    await asyncio.sleep(0)
    await process.end(signal.SIGKILL)
    process = await DirectoryProcess.start(system)
    assert (await answering).address == "pat-1"
    await process.end(signal.SIGKILL)
    process = await DirectoryProcess.start(system)
    assert (await system.enroll(device, request)).status is Status.OK
    thief = DeviceParty(device.invitation)
    used = await system.enroll(thief, thief.enroll_request())
    assert used.status is Status.INVITATION_USED
    async with system.connected(device) as live:
        assert (await live.ask(Action.CONTACTS, CONTACTS)).status is Status.OK
    assert await process.end() == 0


async def test_a25_kill_9_while_bundles_are_handed_out_repeats_no_key(system: System) -> None:
    process = await DirectoryProcess.start(system)
    patient = await system.enrolled("pat", "patient")
    doctors = [await system.enrolled(f"d{number}", "doctor") for number in range(6)]
    await publish(system, patient, 40)
    bundles = []

    async def ask(doctor: DeviceParty) -> None:
        async with system.connected(doctor) as live:
            for _ in range(4):
                body = encode(FetchBundle(patient.address))
                reply = await live.ask(Action.FETCH_BUNDLE, body)
                if reply.status is Status.OK:
                    bundles.append(PREKEY_BUNDLE.decode(reply.body))

    async with asyncio.TaskGroup() as group:
        for doctor in doctors:
            group.create_task(ask(doctor))
        for wanted in (3, 12):
            while len(bundles) < wanted:  # noqa: ASYNC110 - a number, not an event
                await asyncio.sleep(0.001)
            await process.end(signal.SIGKILL)
            process = await DirectoryProcess.start(system)
    given = [one.one_time_prekey.id for one in bundles if one.one_time_prekey is not None]
    assert len(given) == len(bundles) == 24
    assert len(set(given)) == 24
    assert len({one.kem_prekey.id for one in bundles}) == 24
    await process.end()


async def test_the_commands_speak_json_and_exit_with_1_or_2(system: System) -> None:
    data = str(system.settings.data_dir)
    code, _, error = await run_command("invite", "pat", "--role", "patient", "--data", data)
    assert (code, error.count("\n")) == (2, 1)
    write_broker_urls(system.settings.data_dir, (system.url,))
    code, out, error = await run_command(
        "invite", "pat", "--role", "patient", "--name", "Pat P.", "--data", data, "--json"
    )
    assert (code, error) == (0, "")
    shown = json.loads(out)
    invitation = parse_invitation(shown["invitation"])
    assert (shown["user"], shown["role"]) == ("pat", "patient")
    assert invitation.broker_urls == (system.url,)
    assert shown["expires_at"] == invitation.expires_at
    code, out, _ = await run_command("invite", "dora", "--role", "doctor", "--data", data)
    assert parse_invitation(out).user == "dora"
    code, out, _ = await run_command("revoke", "pat", "--data", data, "--json")
    assert (code, json.loads(out)["invitation_withdrawn"]) == (0, True)


async def test_a_directory_alone_logs_which_broker_it_cannot_reach_and_why(tmp_path: Path) -> None:
    url = "mqtt://127.0.0.1:1"
    where = ("--broker-url", url, "--data", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *command("keydir", *where, "--log-format", "json", "--log-level", "warning"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        record = json.loads(await process.stderr.readline())
    process.terminate()
    await process.communicate()
    assert (record["event"], record["level"], record["brokers"]) == ("disconnected", "warning", url)
    assert record["codes"] == ["broker_unreachable"]
    assert {"timestamp", "failures"} <= record.keys()


async def test_the_directory_runs_alone_from_a_database_url(system: System) -> None:
    database = f"sqlite:///{system.settings.database_path}"
    process = await DirectoryProcess.start(system, "--database", database)
    device = system.invited("pat", "patient")
    assert (await system.enroll(device, device.enroll_request())).address == "pat-1"
    assert await process.end() == 0
