"""Every topic of the protocol; no other module builds or splits one.

Each topic names its one writing and its one reading principal, so that a broker's own rules can
keep everybody else out. Segments hold ``[A-Za-z0-9_-]`` only.
"""

import re
from typing import Final, NamedTuple

from client_sdk.wire.errors import InvalidNameError, MalformedError
from client_sdk.wire.ids import (
    DeviceAddress,
    EnvelopeId,
    EventId,
    InvitationId,
    NoticeId,
    RequestId,
    is_random_id,
    parse_address,
)

ROOT: Final = "v1"
SEGMENT_PATTERN: Final = "[A-Za-z0-9_-]{1,64}"
_SEGMENT: Final = re.compile(SEGMENT_PATTERN)

DEVICE_TREES: Final = f"{ROOT}/u/"
"""What the topics of everything that is for a device begin with."""

DIRECTORY_REQUESTS: Final = f"{ROOT}/kd/req/+/+"
"""What the key directory subscribes to for requests of devices."""

ENROLLMENT_REQUESTS: Final = f"{ROOT}/kd/enroll/+"
"""What the key directory subscribes to for enrolments."""


SHARED_GROUP: Final = "$share/ratchetmq/"
"""What replicas put before a filter where the broker hands each message to one of them."""


class InboxTopic(NamedTuple):
    """Where one envelope waits."""

    recipient: DeviceAddress
    sender: DeviceAddress
    envelope_id: EnvelopeId


class RequestTopic(NamedTuple):
    """Where one directory request arrives."""

    device: DeviceAddress
    request_id: RequestId


def inbox(recipient: DeviceAddress, sender: DeviceAddress, envelope_id: EnvelopeId) -> str:
    """Return the topic of one envelope: QoS 1, retained; the recipient clears it."""
    return f"{ROOT}/u/{recipient}/in/{sender}/{envelope_id}"


def inbox_prefix(recipient: DeviceAddress) -> str:
    """Return what the topics of all envelopes for ``recipient`` begin with."""
    return f"{ROOT}/u/{recipient}/in/"


def reply_prefix(device: DeviceAddress) -> str:
    """Return what the topics of all replies of the directory to ``device`` begin with."""
    return f"{ROOT}/u/{device}/kd/"


def event_prefix(device: DeviceAddress) -> str:
    """Return what the topics of all directory events for ``device`` begin with."""
    return f"{ROOT}/u/{device}/kd/event/"


def inbox_filter(recipient: DeviceAddress) -> str:
    """Return the filter of everything that waits for ``recipient``."""
    return f"{ROOT}/u/{recipient}/in/+/+"


def sent_filter(sender: DeviceAddress) -> str:
    """Return the filter of every envelope that waits anywhere from ``sender`` (for the sweep)."""
    return f"{ROOT}/u/+/in/{sender}/+"


def device_tree(device: DeviceAddress) -> str:
    """Return the filter of all that one device may read."""
    return f"{ROOT}/u/{device}/#"


def request(device: DeviceAddress, request_id: RequestId) -> str:
    """Return the topic of one directory request: QoS 1, not retained."""
    return f"{ROOT}/kd/req/{device}/{request_id}"


def reply(device: DeviceAddress, request_id: RequestId) -> str:
    """Return the topic of the reply to one directory request: QoS 1, not retained."""
    return f"{ROOT}/u/{device}/kd/{request_id}"


def reply_filter(device: DeviceAddress) -> str:
    """Return the filter of all replies of the directory to ``device``."""
    return f"{ROOT}/u/{device}/kd/+"


def event(device: DeviceAddress, event_id: EventId) -> str:
    """Return the topic of one directory event: QoS 1, retained; the device clears it."""
    return f"{ROOT}/u/{device}/kd/event/{event_id}"


def event_filter(device: DeviceAddress) -> str:
    """Return the filter of all directory events for ``device``."""
    return f"{ROOT}/u/{device}/kd/event/+"


def notice(device: DeviceAddress, notice_id: NoticeId) -> str:
    """Return the topic of what the broker tells ``device``: QoS 1, not retained."""
    return f"{ROOT}/u/{device}/notice/{notice_id}"


def notice_prefix(device: DeviceAddress) -> str:
    """Return what the topics of all that the broker tells ``device`` begin with."""
    return f"{ROOT}/u/{device}/notice/"


def notice_filter(device: DeviceAddress) -> str:
    """Return the filter of all that the broker tells ``device``."""
    return f"{ROOT}/u/{device}/notice/+"


def enroll(invitation_id: InvitationId) -> str:
    """Return the topic of a sealed enrolment request."""
    return f"{ROOT}/kd/enroll/{invitation_id}"


def enrolled(invitation_id: InvitationId) -> str:
    """Return the topic of the sealed answer to an enrolment request."""
    return f"{ROOT}/kd/enrolled/{invitation_id}"


def parse_inbox(topic: str) -> InboxTopic:
    """Split a topic made by ``inbox``.

    Raises:
        MalformedError: It is any other topic.
    """
    parts = topic.split("/")
    if len(parts) == 6 and parts[:2] == [ROOT, "u"] and parts[3] == "in" and is_random_id(parts[5]):
        return InboxTopic(_address(parts[2]), _address(parts[4]), EnvelopeId(parts[5]))
    raise MalformedError("not an inbox topic")


def parse_request(topic: str) -> RequestTopic:
    """Split a topic made by ``request``; raises MalformedError for any other topic."""
    parts = topic.split("/")
    if len(parts) == 5 and parts[:3] == [ROOT, "kd", "req"] and is_random_id(parts[4]):
        return RequestTopic(_address(parts[3]), RequestId(parts[4]))
    raise MalformedError("not a directory request topic")


def parse_enroll(topic: str) -> InvitationId:
    """Return the id in a topic made by ``enroll``; raises MalformedError for any other topic."""
    parts = topic.split("/")
    if len(parts) == 4 and parts[:3] == [ROOT, "kd", "enroll"] and is_random_id(parts[3]):
        return InvitationId(parts[3])
    raise MalformedError("not an enrolment topic")


def parse_event(topic: str) -> EventId:
    """Return the id in a topic made by ``event``; raises MalformedError for any other topic."""
    parts = topic.split("/")
    if (
        len(parts) == 6
        and parts[:2] == [ROOT, "u"]
        and parts[3:5] == ["kd", "event"]
        and is_random_id(parts[5])
    ):
        _address(parts[2])
        return EventId(parts[5])
    raise MalformedError("not a directory event topic")


def parse_reply(topic: str) -> RequestId:
    """Return the id in a topic made by ``reply``; raises MalformedError for any other topic."""
    parts = topic.split("/")
    if len(parts) == 5 and parts[:2] == [ROOT, "u"] and parts[3] == "kd" and is_random_id(parts[4]):
        _address(parts[2])
        return RequestId(parts[4])
    raise MalformedError("not a directory reply topic")


def is_segment(text: str) -> bool:
    """Tell whether ``text`` may stand as one segment: 1 to 64 of ``[A-Za-z0-9_-]``."""
    return _SEGMENT.fullmatch(text) is not None


def _address(segment: str) -> DeviceAddress:
    try:
        return parse_address(segment)
    except InvalidNameError as error:
        raise MalformedError("not a device address") from error
