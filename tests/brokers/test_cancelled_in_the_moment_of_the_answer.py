"""A task that is told to end while the broker answers ends, however close the two moments are."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker.embedded import EmbeddedBroker
from client_sdk.transport.mqtt import Login, MqttConnection, MqttTransport
from client_sdk.wire import topics
from client_sdk.wire.ids import DeviceAddress
from tests.brokers.names import ALICE, SECRETS, mail_topic

ROUNDS_OF_THE_LOOP = range(6)
"""Between the answer's arrival and the request to end; nothing takes longer to come through."""


def soon(loop: asyncio.AbstractEventLoop, rounds: int, step: Callable[[], object]) -> None:
    if rounds:
        loop.call_soon(soon, loop, rounds - 1, step)
    else:
        step()


async def publish(connection: MqttConnection) -> None:
    await connection.publish(mail_topic(1), b"x")


async def subscribe(connection: MqttConnection) -> None:
    await connection.subscribe(topics.device_tree(DeviceAddress(ALICE)))


async def unsubscribe(connection: MqttConnection) -> None:
    await connection.unsubscribe(topics.device_tree(DeviceAddress(ALICE)))


@pytest.mark.parametrize("rounds", ROUNDS_OF_THE_LOOP)
@pytest.mark.parametrize(
    ("call", "answer"),
    [(publish, "on_publish"), (subscribe, "on_subscribe"), (unsubscribe, "on_unsubscribe")],
)
async def test_a_request_to_end_is_never_lost(
    broker: EmbeddedBroker,
    call: Callable[[MqttConnection], Awaitable[None]],
    answer: str,
    rounds: int,
) -> None:
    transport = MqttTransport([f"mqtt://127.0.0.1:{broker.port}"], Login(ALICE, SECRETS[ALICE]))
    loop = asyncio.get_running_loop()
    async with transport.connect() as connection:
        assert isinstance(connection, MqttConnection)

        async def work_for_ever() -> None:
            await call(connection)
            await asyncio.Event().wait()

        paho = connection._client._client
        answered = getattr(paho, answer)

        def answered_and_ended(*arguments: object) -> None:
            answered(*arguments)
            soon(loop, rounds, task.cancel)

        setattr(paho, answer, answered_and_ended)
        task = asyncio.create_task(work_for_ever())
        ended, _ = await asyncio.wait({task}, timeout=5)
        still_running = not ended
        task.cancel()
    assert not still_running
    assert task.cancelled()
