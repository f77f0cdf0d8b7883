"""Metrics and health as Prometheus and a load balancer see them, over HTTP."""

import asyncio
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.errors import PortInUseError
from broker.health import health_server
from broker.metrics import METRICS, Look, NotAnsweringError, Snapshot
from broker.statistics import Statistics


class Engine:
    """Tells what a test says."""

    def __init__(self) -> None:
        self.now = Snapshot(Statistics(), connections=3, waiting_messages=7, waiting_bytes=900)

    def snapshot(self) -> Snapshot:
        return self.now


@contextmanager
def watched(engine: Engine) -> Iterator[str]:
    with health_server(engine, "127.0.0.1", 0) as url:
        yield url.removeprefix("http://")


async def fetch(where: str, page: str, method: str = "GET") -> tuple[int, str]:
    return await asyncio.to_thread(fetched, where, page, method)


def fetched(where: str, page: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(where, timeout=10)
    try:
        connection.request(method, page)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def test_every_metric_is_shown_and_no_other() -> None:
    engine = Engine()
    engine.now.statistics.refuse("login")
    engine.now.statistics.drop("slow")
    with watched(engine) as where:
        status, text = await fetch(where, "/metrics")
    assert status == 200
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    assert {one.name for one in samples} == set(METRICS)
    assert {label for one in samples for label in one.labels} == {"reason"}
    values = {one.name: one.value for one in samples}
    assert values["ratchetmq_connections"] == 3
    assert values["ratchetmq_waiting_bytes"] == 900
    assert values["ratchetmq_refused_total"] == 1


async def test_each_request_shows_the_moment_it_was_made() -> None:
    engine = Engine()
    with watched(engine) as where:
        for count in (1, 2):
            engine.now.statistics.messages_in = count
            assert f"ratchetmq_messages_in_total {count}.0" in (await fetch(where, "/metrics"))[1]


async def test_a_running_server_is_alive_and_ready() -> None:
    with watched(Engine()) as where:
        assert await fetch(where, "/healthz") == (200, "alive\n")
        assert await fetch(where, "/readyz") == (200, "ready\n")
        assert await fetch(where, "/readyz", "HEAD") == (200, "")


async def test_a_server_that_cannot_store_is_alive_and_not_ready() -> None:
    engine = Engine()
    engine.now = replace(engine.now, storing=False)
    with watched(engine) as where:
        assert await fetch(where, "/readyz") == (503, "waiting mail cannot be written\n")
        assert (await fetch(where, "/healthz"))[0] == 200


async def test_an_event_loop_that_hangs_is_alive_and_not_ready() -> None:
    with watched(Engine()) as where:
        for page, status in (("/readyz", 503), ("/metrics", 503), ("/healthz", 200)):
            assert fetched(where, page)[0] == status  # it blocks the loop, as hanging code does


async def test_a_loop_that_has_ended_is_told_as_not_answering() -> None:
    ended: list[Look] = []

    async def watch() -> None:
        ended.append(Look(Engine()))

    await asyncio.to_thread(asyncio.run, watch())
    with pytest.raises(NotAnsweringError):
        ended[0]()


@pytest.mark.parametrize(
    ("page", "method", "status"),
    [("/", "GET", 404), ("/metrics/..", "GET", 404), ("/metrics", "POST", 405)],
)
async def test_other_pages_and_methods_are_refused(page: str, method: str, status: int) -> None:
    with watched(Engine()) as where:
        assert (await fetch(where, page, method))[0] == status


async def test_an_engine_that_fails_to_tell_is_an_error_and_the_next_request_is_answered(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Broken(Engine):
        def snapshot(self) -> Snapshot:
            raise ValueError("planted")

    with watched(Broken()) as where:
        assert (await fetch(where, "/metrics"))[0] == 500
        assert (await fetch(where, "/healthz"))[0] == 200
    assert "planted" not in capfd.readouterr().err


async def test_a_port_in_use_is_told() -> None:
    with watched(Engine()) as where:
        port = int(where.rpartition(":")[2])
        with pytest.raises(PortInUseError), health_server(Engine(), "127.0.0.1", port):
            pass


async def test_nothing_is_left_when_it_ends() -> None:
    with watched(Engine()) as where:
        assert (await fetch(where, "/healthz"))[0] == 200
    with pytest.raises(ConnectionRefusedError):
        await fetch(where, "/healthz")
