"""Logins, secrets and topics of the load: the product's shape, the same on every broker."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle
from typing import Final

from client_sdk.wire import topics
from client_sdk.wire.ids import (
    DIRECTORY_LOGIN,
    DeviceAddress,
    EnvelopeId,
    RequestId,
    parse_address,
    random_id,
)

ALICE: Final = parse_address("alice-1")
BOB: Final = parse_address("bob-1")
SENDERS: Final = [parse_address(f"sender{number:02}-1") for number in range(20)]
"""Each may leave 1,000 messages with one recipient: 20 of them make 20,000."""
READERS: Final = [parse_address(f"reader{number:02}-1") for number in range(20)]
WORDS: Final = {"plain": "plain", "mail": "retained + clear"}
KINDS: Final = tuple(WORDS)
"""Not retained, as requests to the directory are; retained and cleared, as messages are."""

_IDS: Final = 1 << 15
"""Topics in turn; more are never waiting at the same time."""


def other(number: int) -> DeviceAddress:
    """Return the login of one of the other subscribers."""
    return DeviceAddress(f"other{number:05}-1")


def secrets_of(others: int) -> dict[str, str]:
    """Return all logins of a run with their secrets."""
    known = [ALICE, BOB, DIRECTORY_LOGIN, *SENDERS, *READERS, *map(other, range(others))]
    return {login: secret_of(login) for login in known}


def secret_of(login: str) -> str:
    """Return the secret of any login of the bench."""
    return f"secret of {login}"


def recipient_of(kind: str) -> str:
    """Return who receives what alice sends."""
    return BOB if kind == "mail" else DIRECTORY_LOGIN


def filter_of(login: str) -> str:
    """Return what a login of the load subscribes to: its inbox, or all requests."""
    if login == DIRECTORY_LOGIN:
        return topics.DIRECTORY_REQUESTS
    return topics.inbox_filter(DeviceAddress(login))


def answers_filter(login: str) -> str:
    """Return where the directory's answers to ``login`` arrive."""
    return topics.reply_filter(DeviceAddress(login))


def topics_of(kind: str, sender: str, recipient: str) -> Iterator[bytes]:
    """Return endless topics for messages of ``kind`` from ``sender``."""
    return cycle(_topics(kind, sender, recipient, _IDS))


def numbered_topic(sender: str, recipient: str, number: int) -> bytes:
    """Return the topic of a message that stays; another for each number."""
    waiting = EnvelopeId(random_id((_IDS + number).to_bytes(16)))
    return topics.inbox(DeviceAddress(recipient), DeviceAddress(sender), waiting).encode()


def answer_topic(topic: bytes) -> bytes:
    """Return where the answer to what came under ``topic`` goes."""
    levels = topic.decode().split("/")
    if levels[1] == "kd":
        return topics.reply(DeviceAddress(levels[3]), RequestId(levels[4])).encode()
    me, sender = DeviceAddress(levels[2]), DeviceAddress(levels[4])
    return topics.inbox(sender, me, EnvelopeId(levels[5])).encode()


@lru_cache
def _topics(kind: str, sender: str, recipient: str, count: int) -> list[bytes]:
    ids = [random_id(number.to_bytes(16)) for number in range(count)]
    device = DeviceAddress(sender)
    if kind == "plain":
        return [topics.request(device, RequestId(one)).encode() for one in ids]
    to = DeviceAddress(recipient)
    return [topics.inbox(to, device, EnvelopeId(one)).encode() for one in ids]
