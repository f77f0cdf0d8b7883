"""Broker addresses, waiting before reconnecting, and brokers that are not there."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.transport.addresses import spread
from client_sdk.transport.backoff import FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS, reconnect_delay
from client_sdk.transport.errors import (
    BrokerUnreachableError,
    InvalidBrokerUrlError,
    UnencryptedBrokerError,
)
from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.urls import BrokerAddress, Scheme, parse_broker_url, usable_urls


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("mqtt://127.0.0.1", "127.0.0.1", 1883),
        ("mqtt://broker.example:1884", "broker.example", 1884),
        ("mqtt://broker.example:1884/", "broker.example", 1884),
        ("mqtt://[::1]:1", "::1", 1),
        ("mqtt://localhost:65535", "localhost", 65535),
    ],
)
def test_an_address_has_a_host_and_a_port(url: str, host: str, port: int) -> None:
    assert parse_broker_url(url) == BrokerAddress(host, port)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtts://a", BrokerAddress("a", 8883, Scheme.MQTTS)),
        ("mqtts://a:1/", BrokerAddress("a", 1, Scheme.MQTTS)),
        ("ws://a", BrokerAddress("a", 80, Scheme.WS, "/mqtt")),
        ("ws://a:8080/", BrokerAddress("a", 8080, Scheme.WS, "/")),
        ("wss://a", BrokerAddress("a", 443, Scheme.WSS, "/mqtt")),
        ("wss://[::1]:9/b/c%20d", BrokerAddress("::1", 9, Scheme.WSS, "/b/c%20d")),
        ("WSS://A.example", BrokerAddress("a.example", 443, Scheme.WSS, "/mqtt")),
    ],
)
def test_a_scheme_decides_on_port_and_path(url: str, address: BrokerAddress) -> None:
    assert parse_broker_url(url) == address


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
    ],
)
def test_a_broker_on_this_machine_is_recognised(host: str, loopback: bool) -> None:
    assert BrokerAddress(host, 1).loopback is loopback


PLAIN, TUNNEL, ENCRYPTED, PAGE = "mqtt://a", "ws://127.0.0.1", "mqtts://a", "wss://a"


@pytest.mark.parametrize(
    ("urls", "pinned", "usable"),
    [
        ([PLAIN], False, [PLAIN]),
        ([PLAIN, TUNNEL], False, [PLAIN, TUNNEL]),
        ([PLAIN, ENCRYPTED], False, [ENCRYPTED]),
        ([TUNNEL, PAGE, PLAIN, ENCRYPTED], False, [PAGE, ENCRYPTED]),
        ([TUNNEL, PAGE], True, [PAGE]),
        ([TUNNEL, PLAIN], True, [TUNNEL]),
        ([PAGE], True, [PAGE]),
    ],
)
def test_where_tls_is_to_be_had_nothing_goes_without_it(
    urls: list[str], pinned: bool, usable: list[str]
) -> None:
    assert usable_urls(urls, pinned=pinned) == tuple(usable)


def test_a_pinned_device_speaks_nothing_but_tls_over_the_network() -> None:
    with pytest.raises(UnencryptedBrokerError, match="mqtts://"):
        usable_urls([PLAIN, "ws://b"], pinned=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mqtts://host/path",
        "wss://host/a b",
        "wss://host/a\r\nHost: b",
        "ws://host/?a=b",
        "ws://host/#a",
        "ws://user:secret@host/",
        "mqtt://user@host",
        "ws://ho st/",
        "mqtt://host:0",
        "ws://host/\u00e9",
        "localhost",
        "localhost:1883",
        "http://localhost",
        "mqtt:",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://host:0x1",
        "mqtt://host:65536",
        "mqtt://host:-1",
        "mqtt://host/path",
        "mqtt://host?query=1",
        "mqtt://[::1",
    ],
)
def test_anything_else_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidBrokerUrlError):
        parse_broker_url(url)


def test_a_transport_needs_an_address() -> None:
    with pytest.raises(InvalidBrokerUrlError):
        MqttTransport((), Login("alice-1", "secret"))
    with pytest.raises(InvalidBrokerUrlError):
        MqttTransport(("mqtt://good", "bad"), Login("alice-1", "secret"))


def test_a_login_does_not_show_its_password() -> None:
    assert "planted" not in repr(Login("alice-1", "planted"))


async def test_a_broker_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    transport = MqttTransport((f"mqtt://127.0.0.1:{port}",), Login("alice-1", "secret"))
    with pytest.raises(BrokerUnreachableError, match=str(port)):
        async with transport.connect():
            pytest.fail("nothing listens there")


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_delay_lies_in_the_upper_half_of_a_ceiling_that_doubles(
    attempt: int, jitter: float
) -> None:
    ceiling = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempt, 16))
    delay = reconnect_delay(attempt, jitter)
    assert ceiling / 2 <= delay <= ceiling <= MAX_DELAY_SECONDS
    assert delay <= reconnect_delay(attempt, 1)
    assert reconnect_delay(attempt, jitter) <= reconnect_delay(attempt + 1, jitter)


NODES = ["mqtts://a", "mqtts://b", "mqtts://c"]


@given(st.text(alphabet="abc-0123456789", max_size=12), st.permutations([*NODES, "wss://a"]))
def test_a_login_tries_every_address_once_and_the_schemes_in_the_given_order(
    login: str, urls: list[str]
) -> None:
    tried = spread(urls, login)
    assert tried == spread(urls, login)
    assert sorted(tried) == sorted(urls)
    others = [url for url in tried if url != "wss://a"]
    assert tried.index("wss://a") == (0 if urls[0] == "wss://a" else 3)
    given = [url for url in urls if url != "wss://a"]
    assert others in [given[first:] + given[:first] for first in range(3)]


def test_devices_begin_at_different_nodes_of_a_cluster() -> None:
    first = [spread(NODES, f"user{number}-1")[0] for number in range(300)]
    assert min(first.count(node) for node in NODES) > 60
