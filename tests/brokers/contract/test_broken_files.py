"""Attack A41 on the brokers that have files of their own: broken or empty ones open nothing."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.brokers.contract.clients import Clients, fetch, send
from tests.brokers.contract.conftest import pool
from tests.brokers.contract.mosquitto import Mosquitto
from tests.brokers.contract.nats import Nats
from tests.brokers.contract.nats_server import require_nats_server
from tests.brokers.contract.under_test import LOGIN_REFUSED, Options
from tests.conftest import RequireProgram
from tests.e2e.programs import Program

ALICE, BOB = "user000-1", "user001-1"


@pytest.fixture
def mosquitto(tmp_path: Path, require_program: RequireProgram) -> Mosquitto:
    return Mosquitto(tmp_path, pool(), Options(), require_program("mosquitto"))


@pytest.mark.parametrize("missing", ["acl", "passwords"])
def test_mosquitto_does_not_start_without_a_file_that_it_is_told_of(
    mosquitto: Mosquitto, missing: str
) -> None:
    (mosquitto.folder / missing).unlink()
    with Program([mosquitto.program, "-c", str(mosquitto.config)]) as program:
        assert program.wait().code != 0


async def test_an_empty_acl_file_lets_nobody_do_anything(
    mosquitto: Mosquitto, clients: Clients
) -> None:
    (mosquitto.folder / "acl").write_text("")
    with mosquitto:
        await send(await clients.login(mosquitto, ALICE), ALICE, BOB, 1)
        recipient = await clients.login(mosquitto, BOB)
        assert await fetch(recipient) == []


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: "",
        lambda text: text.replace(ALICE, "").replace(BOB, "\x00"),
        lambda text: "\n".join(line.partition(":")[0] for line in text.splitlines()),
        lambda _: f"{ALICE}:\n{BOB}:$7$101$$\n",
    ],
    ids=["empty", "without names", "without passwords", "empty passwords"],
)
def test_a_broken_password_file_lets_nobody_in(
    mosquitto: Mosquitto, broken: Callable[[str], str]
) -> None:
    file = mosquitto.folder / "passwords"
    file.write_text(broken(file.read_text()))
    try:
        with contextlib.suppress(AssertionError):  # that it does not start is as good
            mosquitto.start()
        for login in (ALICE, BOB):
            for password in ("", f"secret of {login}"):
                assert mosquitto.answers(login, password) in (*LOGIN_REFUSED, None)
    finally:
        mosquitto.kill()


def test_nats_does_not_start_with_half_a_configuration(tmp_path: Path) -> None:
    broker = Nats(tmp_path, pool(), Options(), require_nats_server())
    config = broker.config(0)
    config.write_text(config.read_text()[: -len("] } }\n")])
    with Program([str(require_nats_server()), "-c", str(config)]) as program:
        assert program.wait().code != 0
