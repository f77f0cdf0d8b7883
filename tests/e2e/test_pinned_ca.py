"""A server with a private CA: invitations carry it, devices pin it, other clients are given it."""

import asyncio
import json
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from broker.certs import Certificates
from broker.tls import private_ca_fingerprint
from client_sdk import Messenger
from client_sdk.transport.errors import (
    BrokerNotTrustedError,
    CertificateExpiredError,
    UnencryptedBrokerError,
    WrongCaError,
    WrongHostError,
)
from client_sdk.wire.invitation import parse_any_invitation
from keydir.commands import Invite, invite
from keydir.data import write_broker_urls
from tests.brokers.fronts import front
from tests.conftest import RequireProgram
from tests.e2e.keydir_system import DirectoryProcess, System, running_directory, running_system
from tests.unit.broker.certificates import HOSTS, expired, made

PATIENCE_SECONDS = 30.0


@dataclass
class Secured:
    """A system whose devices come by TLS alone."""

    system: System
    files: Certificates
    folder: Path

    @asynccontextmanager
    async def listening(
        self, files: Certificates | None = None, scheme: str = "mqtts"
    ) -> AsyncIterator[str]:
        """Listen, by default with the certificate that belongs here; invitations name it."""
        shown = files or self.files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
        async with front(self.system.broker.port, context, websocket=scheme == "wss") as port:
            url = f"{scheme}://localhost:{port}"
            fingerprint = private_ca_fingerprint(self.files.certificate)
            write_broker_urls(self.system.settings.data_dir, (url,), fingerprint)
            yield url

    def invitation(self, user: str, role: str = "doctor") -> str:
        return invite(self.system.settings, Invite(user, role)).invitation

    def store(self, user: str) -> Path:
        return self.folder / f"{user}.db"


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    async with running_system(tmp_path) as system, running_directory(system):
        expired(tmp_path / "data")  # the CA is a year old, its first certificate was renewed
        yield Secured(system, made(tmp_path / "data"), tmp_path)


async def program(*arguments: str, code: int = 0) -> tuple[str, str]:
    """Run `ratchetmq`; return what it printed and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broker.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, err = await process.communicate()
    assert process.returncode == code, err
    return out.decode(), err.decode()


def assert_public_copy(file: Path, authority: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert file.read_text().split() == authority.read_text().split()


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
async def test_devices_enrol_send_and_receive_by_tls_alone(secured: Secured, scheme: str) -> None:
    async with secured.listening(scheme=scheme), AsyncExitStack() as stack:
        line = secured.invitation("doc")
        assert parse_any_invitation(line).ca_fingerprint == secured.files.fingerprint
        await Messenger.enroll(line, secured.store("doc"))
        await Messenger.enroll(secured.invitation("pat", "patient"), secured.store("pat"))
        doctor = await stack.enter_async_context(Messenger.open(secured.store("doc")))
        patient = await stack.enter_async_context(Messenger.open(secured.store("pat")))
        async with asyncio.timeout(PATIENCE_SECONDS):
            sent = await doctor.send("pat", "by TLS")
            async for message in patient.messages():
                assert message.text == "by TLS"
                break
            await sent.delivered(PATIENCE_SECONDS)


async def test_a_linked_device_pins_what_its_manager_pinned(secured: Secured) -> None:
    async with secured.listening():
        await Messenger.enroll(secured.invitation("doc"), secured.store("doc"))
        async with Messenger.open(secured.store("doc")) as first, asyncio.timeout(PATIENCE_SECONDS):
            await first.wait_connected(PATIENCE_SECONDS)
            code = (await first.link_request()).code
            joining = asyncio.create_task(Messenger.enroll(code, secured.store("phone")))
            await first.approve_device(code)
            await joining
    others = made(secured.folder / "others")
    async with (
        secured.listening(others) as url,
        Messenger.open(secured.store("phone"), broker_url=url) as phone,
    ):
        assert not await phone.wait_connected(PATIENCE_SECONDS)
        assert isinstance(phone.connection_error, WrongCaError)


async def test_a52_an_enrolment_with_a_server_of_another_ca_fails_at_once(secured: Secured) -> None:
    line = ""
    async with secured.listening():
        line = secured.invitation("doc")
    others = made(secured.folder / "others")
    async with secured.listening(others) as url:
        with pytest.raises(WrongCaError):
            await Messenger.enroll(line, secured.store("doc"), broker_url=url)
        assert not secured.store("doc").exists()
    async with secured.listening() as url:  # the invitation was not used up
        await Messenger.enroll(line, secured.store("doc"), broker_url=url)


@pytest.mark.parametrize("error", [WrongCaError, CertificateExpiredError, WrongHostError])
async def test_a52_an_open_messenger_says_why_it_does_not_connect(
    secured: Secured, error: type[BrokerNotTrustedError]
) -> None:
    async with secured.listening():
        await Messenger.enroll(secured.invitation("doc"), secured.store("doc"))
    data = secured.folder / "data"
    shown = {
        WrongCaError: lambda: made(secured.folder / "others"),
        CertificateExpiredError: lambda: expired(data),
        WrongHostError: lambda: made(data, ("elsewhere.example",)),
    }[error]()
    async with (
        secured.listening(shown) as url,
        Messenger.open(secured.store("doc"), broker_url=url) as messenger,
    ):
        assert not await messenger.wait_connected(PATIENCE_SECONDS)
        assert type(messenger.connection_error) is error
    async with (
        secured.listening(made(data, HOSTS)) as url,  # renewed
        Messenger.open(secured.store("doc"), broker_url=url) as messenger,
    ):
        assert await messenger.wait_connected(PATIENCE_SECONDS)


async def test_a_pinned_device_refuses_an_unencrypted_address(secured: Secured) -> None:
    async with secured.listening():
        await Messenger.enroll(secured.invitation("doc"), secured.store("doc"))
        line = secured.invitation("pat", "patient")
    with pytest.raises(UnencryptedBrokerError):
        await Messenger.enroll(line, secured.store("pat"), broker_url="mqtt://10.0.0.1")
    assert not secured.store("pat").exists()
    with pytest.raises(UnencryptedBrokerError):
        async with Messenger.open(secured.store("doc"), broker_url="mqtt://10.0.0.1"):
            pytest.fail("it was opened")
    tunnel = secured.system.url
    async with Messenger.open(secured.store("doc"), broker_url=tunnel) as messenger:
        assert await messenger.wait_connected(PATIENCE_SECONDS)


async def test_a52_the_commands_print_why_and_end_with_1(secured: Secured) -> None:
    async with secured.listening():
        await Messenger.enroll(secured.invitation("doc"), secured.store("doc"))
        line = secured.invitation("pat", "patient")
    async with secured.listening(made(secured.folder / "others")) as url:
        where = ("--broker-url", url)
        store = str(secured.store("pat"))
        _, err = await program("enroll", line, "--store", store, *where, code=1)
        assert "of an authority that this device does not trust" in err
        assert "nothing was sent" in err
        out, _ = await program("status", "--store", str(secured.store("doc")), "--json", *where)
        assert '"connection": "wrong_ca"' in out


async def test_credentials_hand_the_ca_to_mosquitto_sub(
    secured: Secured, require_program: RequireProgram
) -> None:
    async with secured.listening() as url:
        await Messenger.enroll(secured.invitation("doc"), secured.store("doc"))
        await Messenger.enroll(secured.invitation("pat", "patient"), secured.store("pat"))
        async with Messenger.open(secured.store("doc")) as doctor:
            await (await doctor.send("pat", "for later")).published(PATIENCE_SECONDS)
        out, _ = await program("credentials", "--store", str(secured.store("pat")), "--json")
        login = json.loads(out)
        assert login["broker_url"] == url
        file = login["ca_file"]
        assert file == f"{secured.store('pat')}.ca.pem"
        assert_public_copy(Path(file), secured.files.ca)
        parts = urlsplit(url)
        process = await asyncio.create_subprocess_exec(
            require_program("mosquitto_sub"),
            *("-h", str(parts.hostname), "-p", str(parts.port), "--cafile", file),
            *("-u", login["username"], "-P", login["password"], "-i", login["client_id"]),
            *("-V", "mqttv311", "-t", "v1/u/pat-1/#", "-F", "%t", "-C", "1", "-W", "10"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            printed, _ = await process.communicate()
        assert printed.startswith(b"v1/u/pat-1/in/doc-1/")


async def test_a_directory_reaches_its_broker_by_tls_under_the_recorded_ca(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system:
        secured = Secured(system, made(tmp_path / "data"), tmp_path)
        async with secured.listening() as url:
            process = await DirectoryProcess.start(system, url=url)
            await Messenger.enroll(secured.invitation("doc"), secured.store("doc"))
            assert await process.end() == 0
