"""Who may publish, subscribe and receive what: the topic table of the protocol, deny by default.

Every decision takes the login that authentication established and nothing else about a client.
Pure: no clock, no randomness, no I/O.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from client_sdk.wire import topics
from client_sdk.wire.errors import InvalidNameError, MalformedError
from client_sdk.wire.ids import (
    ENROLL_LOGIN_PREFIX,
    RANDOM_ID_BYTES,
    DeviceAddress,
    InvitationId,
    is_directory_login,
    is_random_id,
    parse_address,
    random_id,
)
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES, MAX_ENVELOPE_BYTES

MAX_LEVELS: Final = 8
"""Levels of a topic or filter: the protocol's deepest topic has seven."""

MAX_LOGIN_CHARACTERS: Final = 64
"""Longer names are no logins, and are not remembered by the cache of decisions."""

_TOPIC: Final = re.compile(
    f"{topics.SEGMENT_PATTERN}(?:/{topics.SEGMENT_PATTERN}){{0,{MAX_LEVELS - 1}}}"
)
_CACHED_MAILBOXES: Final = 65_536
_TREES: Final = [topics.ROOT, "u"]
_TREE_LEVELS: Final = 4
_SOME_ID: Final = random_id(bytes(RANDOM_ID_BYTES))
_CACHED_LOGINS: Final = 4096


class Publication(NamedTuple):
    """One message as a client publishes it, by PUBLISH or as its last will."""

    topic: str
    payload: bytes
    qos: int
    retain: bool

    @property
    def clears(self) -> bool:
        """Whether it erases what waits under its topic."""
        return self.retain and not self.payload


class _Device(NamedTuple):
    address: DeviceAddress


class _Enrolling(NamedTuple):
    invitation: InvitationId


class _Directory(NamedTuple):
    pass


_Role = _Device | _Enrolling | _Directory


def is_login(login: str) -> bool:
    """Tell whether ``login`` has the form of a device, the directory or an enrolment."""
    return _role(login) is not None


def may_publish(login: str, publication: Publication) -> bool:
    """Tell whether ``login`` may publish exactly this: topic, size, QoS and retain flag."""
    if publication.qos > 1 or _TOPIC.fullmatch(publication.topic) is None:
        return False
    match _role(login):
        case _Device(address):
            return _device_may_publish(address, publication)
        case _Directory():
            return _directory_may_publish(publication)
        case _Enrolling(invitation):
            return publication.topic == topics.enroll(invitation) and _is_request(publication)
        case _:
            return False


def may_subscribe(login: str, topic_filter: str) -> bool:
    """Tell whether everything that ``topic_filter`` can match is for ``login`` to read."""
    levels = _filter_levels(topic_filter)
    if levels is None:
        return False
    match _role(login):
        case _Device(address):
            return _inside_tree(levels, address)
        case _Directory():
            return _directory_may_subscribe(topic_filter, levels)
        case _Enrolling(invitation):
            return topic_filter == topics.enrolled(invitation)
        case _:
            return False


def may_receive(login: str, topic: str) -> bool:
    """Tell whether a message under ``topic`` may be handed to ``login``."""
    if _TOPIC.fullmatch(topic) is None:
        return False
    match _role(login):
        case _Device(address):
            return topic.startswith(f"{topics.DEVICE_TREES}{address}/")
        case _Directory():
            return _is_directory_mail(topic) or _in_some_tree(topic.split("/"))
        case _Enrolling(invitation):
            return topic == topics.enrolled(invitation)
        case _:
            return False


def _role(login: str) -> _Role | None:
    return _known_role(login) if len(login) <= MAX_LOGIN_CHARACTERS else None


@lru_cache(_CACHED_LOGINS)
def _known_role(login: str) -> _Role | None:
    if is_directory_login(login):
        return _Directory()
    if login.startswith(ENROLL_LOGIN_PREFIX):
        invitation = login.removeprefix(ENROLL_LOGIN_PREFIX)
        return _Enrolling(InvitationId(invitation)) if is_random_id(invitation) else None
    try:
        return _Device(parse_address(login))
    except InvalidNameError:
        return None


def _filter_levels(topic_filter: str) -> list[str] | None:
    levels = topic_filter.split("/", MAX_LEVELS)
    if len(levels) > MAX_LEVELS:
        return None
    named = levels[:-1] if levels[-1] == "#" else levels
    if not all(level == "+" or topics.is_segment(level) for level in named):
        return None
    return levels


def _inside_tree(levels: list[str], address: str) -> bool:
    return len(levels) >= _TREE_LEVELS and levels[:2] == _TREES and levels[2] == address


def _in_some_tree(levels: list[str]) -> bool:
    return len(levels) >= _TREE_LEVELS and levels[:2] == _TREES and _is_address(levels[2])


def _device_may_publish(device: DeviceAddress, publication: Publication) -> bool:
    topic = publication.topic
    if topic.startswith(f"{topics.DEVICE_TREES}{device}/"):
        return publication.clears
    mailbox, _, envelope_id = topic.rpartition("/")
    sender = _sender_into(mailbox)
    if sender is None:
        return _is_own_request(device, topic) and _is_request(publication)
    allowed = publication.clears or _is_envelope(publication)
    return allowed and sender == device and is_random_id(envelope_id)


@lru_cache(_CACHED_MAILBOXES)
def _sender_into(mailbox: str) -> DeviceAddress | None:
    """Return who writes into a mailbox, the topic of an envelope without its last level."""
    try:
        return topics.parse_inbox(f"{mailbox}/{_SOME_ID}").sender
    except MalformedError:
        return None


def _is_envelope(publication: Publication) -> bool:
    size = len(publication.payload)
    return publication.qos == 1 and publication.retain and 0 < size <= MAX_ENVELOPE_BYTES


def _is_request(publication: Publication) -> bool:
    size = len(publication.payload)
    return publication.qos == 1 and not publication.retain and 0 < size <= MAX_DIRECTORY_BYTES


def _is_own_request(device: DeviceAddress, topic: str) -> bool:
    try:
        return topics.parse_request(topic).device == device
    except MalformedError:
        return False


def _directory_may_publish(publication: Publication) -> bool:
    levels = publication.topic.split("/")
    if not _in_some_tree(levels):
        return _is_answer_to_enrolment(levels) and _is_request(publication)
    if publication.clears:
        return True
    if len(levels) == 5 and levels[3] == "kd" and is_random_id(levels[4]):
        return _is_request(publication)
    is_event = len(levels) == 6 and levels[3:5] == ["kd", "event"] and is_random_id(levels[5])
    return is_event and _is_event(publication)


def _is_event(publication: Publication) -> bool:
    size = len(publication.payload)
    return publication.qos == 1 and publication.retain and 0 < size <= MAX_DIRECTORY_BYTES


def _is_answer_to_enrolment(levels: list[str]) -> bool:
    return (
        len(levels) == 4
        and levels[:3] == [topics.ROOT, "kd", "enrolled"]
        and is_random_id(levels[3])
    )


def _directory_may_subscribe(topic_filter: str, levels: list[str]) -> bool:
    if topic_filter in (topics.DIRECTORY_REQUESTS, topics.ENROLLMENT_REQUESTS):
        return True
    if _in_some_tree(levels):
        return True
    return (
        len(levels) == 6
        and levels[:4] == [*_TREES, "+", "in"]
        and _is_address(levels[4])
        and (levels[5] == "+" or is_random_id(levels[5]))
    )


def _is_directory_mail(topic: str) -> bool:
    for parse in (topics.parse_request, topics.parse_enroll):
        try:
            parse(topic)
        except MalformedError:
            continue
        return True
    return False


def _is_address(level: str) -> bool:
    try:
        parse_address(level)
    except InvalidNameError:
        return False
    return True
