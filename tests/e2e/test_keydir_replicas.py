"""Replicas of the directory as processes on a real broker and a real PostgreSQL server."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from client_sdk.wire.bundle import PREKEY_BUNDLE, PrekeyBundle
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, FetchBundle, FetchContacts, Status
from tests.conftest import RequireProgram
from tests.e2e.keydir_replicas import ALL_REPEATS_SECONDS, Asker, Replicas, asking, replicated
from tests.postgres import Postgres
from tests.unit.keydir.keydir_parties import DeviceParty

NAMES = ("a", "b", "c")
CONTACTS = encode(FetchContacts(""))
PATIENTS, KEYS_OF_ONE, DOCTORS, IN_FLIGHT = 5, 100, 50, 4
KILL_AFTER = (30, 110, 190, 270, 350, 430)
"""Answered requests of 500 after which a replica is killed."""

RESTART_PATIENCE = ALL_REPEATS_SECONDS
"""No repetition comes before the end: every single request has to be answered."""


@pytest.fixture
async def replicas(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    postgres: Postgres,
    require_program: RequireProgram,
) -> AsyncIterator[Replicas]:
    program = None if request.param == "embedded" else require_program("mosquitto")
    shared = request.param == "mosquitto-shared"
    async with replicated(tmp_path, postgres.migrated(), program, shared=shared) as running:
        for name in NAMES:
            await running.start(name)
        yield running


def on(*more: str) -> pytest.MarkDecorator:
    """Run on the embedded broker, and in ``make long`` on others."""
    others = [pytest.param(name, marks=pytest.mark.long) for name in more]
    return pytest.mark.parametrize("replicas", ["embedded", *others], indirect=True)


async def askers(
    stack: AsyncExitStack, replicas: Replicas, parties: list[DeviceParty], *repeat: float
) -> list[Asker]:
    return [
        await stack.enter_async_context(asking(replicas.system, party, *repeat))
        for party in parties
    ]


@on("mosquitto")
async def test_a25_kill_9_of_replicas_hands_no_key_out_twice_and_fails_no_request(
    replicas: Replicas,
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    patients = [
        replicas.enrolled(f"p{number}", "patient", KEYS_OF_ONE) for number in range(PATIENTS)
    ]
    doctors = [replicas.enrolled(f"d{number}", "doctor") for number in range(DOCTORS)]
    bundles: list[PrekeyBundle] = []
    some = asyncio.Condition()

    async def fetch(asker: Asker, targets: list[DeviceParty]) -> None:
        for target in targets:
            reply = await asker.ask(Action.FETCH_BUNDLE, encode(FetchBundle(target.address)))
            assert reply.status is Status.OK
            bundles.append(PREKEY_BUNDLE.decode(reply.body))
            async with some:
                some.notify_all()

    async def kill() -> None:
        for wanted in KILL_AFTER:
            async with some:
                await some.wait_for(lambda wanted=wanted: len(bundles) >= wanted)
            name = dice.choice(NAMES)
            await replicas.end(name, signal.SIGKILL)
            await replicas.start(name)

    async with AsyncExitStack() as stack:
        connected = await askers(stack, replicas, doctors)
        async with asyncio.TaskGroup() as group:
            group.create_task(kill())
            for asker in connected:
                targets = 2 * patients
                dice.shuffle(targets)
                for part in range(IN_FLIGHT):
                    group.create_task(fetch(asker, targets[part::IN_FLIGHT]))
    for kind in ("one_time_prekey", "kem_prekey"):
        given = [(one.address, getattr(one, kind).id) for one in bundles]
        assert len(given) == len(set(given)) == PATIENTS * KEYS_OF_ONE


@on("mosquitto", "mosquitto-shared")
async def test_replicas_are_restarted_one_by_one_without_a_failed_request(
    replicas: Replicas,
) -> None:
    doctors = [replicas.enrolled(f"d{number}", "doctor") for number in range(12)]
    over = asyncio.Event()
    answered = 0

    async def ask(asker: Asker) -> None:
        nonlocal answered
        while not over.is_set():
            assert (await asker.ask(Action.CONTACTS, CONTACTS)).status is Status.OK
            answered += 1
            await asyncio.sleep(0.3)  # a device may ask once a second for ever, twice for a while

    async with AsyncExitStack() as stack:
        connected = await askers(stack, replicas, doctors, RESTART_PATIENCE)
        async with asyncio.TaskGroup() as group:
            for asker in connected:
                group.create_task(ask(asker))
            for name in NAMES:
                assert await replicas.end(name) == 0
                await replicas.start(name)
            over.set()
    assert answered == sum(asker.published for asker in connected) > 3 * len(doctors)


@on("mosquitto")
async def test_replicas_that_hang_hold_nobody_up(replicas: Replicas) -> None:
    patient = replicas.enrolled("pat", "patient", 60)
    doctors = [replicas.enrolled(f"d{number}", "doctor") for number in range(12)]
    body = encode(FetchBundle(patient.address))
    async with AsyncExitStack() as stack:
        connected = await askers(stack, replicas, doctors)
        hanging = [replicas.running[name].process for name in NAMES[:2]]
        for process in hanging:
            process.send_signal(signal.SIGSTOP)
        replies = [
            await asyncio.gather(*(asker.ask(Action.FETCH_BUNDLE, body) for asker in connected))
            for _ in range(2)
        ]
        for process in hanging:
            process.send_signal(signal.SIGCONT)
        replies.append(
            await asyncio.gather(*(asker.ask(Action.FETCH_BUNDLE, body) for asker in connected))
        )
    bundles = [PREKEY_BUNDLE.decode(one.body) for round_ in replies for one in round_]
    given = [one.one_time_prekey.id for one in bundles if one.one_time_prekey is not None]
    assert len(given) == len(set(given)) == 3 * len(doctors)
