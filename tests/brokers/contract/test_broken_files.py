"""Attack A41 on the brokers that have files of their own: broken or empty ones open nothing."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.generate.mosquitto import ACL_FILE, PASSWORD_FILE
from tests.brokers.contract.clients import Clients, fetch, send
from tests.brokers.contract.conftest import pool
from tests.brokers.contract.mosquitto import Mosquitto
from tests.brokers.contract.nats import Nats
from tests.brokers.contract.under_test import LOGIN_REFUSED, Options, until_open

ALICE, BOB = "user000-1", "user001-1"


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """One that is run alone: `ratchetmq accounts` would mend the files."""
    broker = Mosquitto(tmp_path, pool(), Options())
    yield broker
    broker.close()


@pytest.mark.parametrize("missing", [ACL_FILE, PASSWORD_FILE])
def test_mosquitto_does_not_start_without_a_file_that_it_is_told_of(
    mosquitto: Mosquitto, missing: str
) -> None:
    (mosquitto.machines[0].out / missing).unlink()
    assert mosquitto.run().wait().code != 0


async def test_an_empty_acl_file_lets_nobody_do_anything(
    mosquitto: Mosquitto, clients: Clients
) -> None:
    (mosquitto.machines[0].out / ACL_FILE).write_text("")
    mosquitto.run()
    mosquitto.until_serving()
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
    file = mosquitto.machines[0].out / PASSWORD_FILE
    file.write_text(broken(file.read_text()))
    with contextlib.suppress(AssertionError):  # that it does not start is as good
        until_open(mosquitto.port, mosquitto.run())
    for login in (ALICE, BOB):
        for password in ("", f"secret of {login}"):
            assert mosquitto.answers(login, password) in (*LOGIN_REFUSED, None)


def test_nats_does_not_start_with_half_a_configuration(tmp_path: Path) -> None:
    broker = Nats(tmp_path, pool(), Options())
    config = broker.machines[0].config
    config.write_text(config.read_text()[: -len("}\n")])
    try:
        assert broker.run().wait().code != 0
    finally:
        broker.close()
