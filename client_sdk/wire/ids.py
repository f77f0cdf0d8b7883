"""Names and ids, and the alphabets that make each of them safe as one MQTT topic segment."""

import base64
import re
from typing import Final, NewType

from client_sdk.wire.errors import InvalidNameError
from client_sdk.wire.limits import MAX_DEVICE_NUMBER

UserName = NewType("UserName", str)
"""``^[a-z0-9][a-z0-9_]{0,31}$``; names with a leading ``_`` belong to the system."""

DeviceNumber = NewType("DeviceNumber", int)
"""1 to 127, never used twice for one user."""

DeviceAddress = NewType("DeviceAddress", str)
"""``<user>-<device number>``; also the device's MQTT user name and client id."""

EnvelopeId = NewType("EnvelopeId", str)
"""16 random bytes as 26 lower-case base32 characters; new for each encryption."""

RequestId = NewType("RequestId", str)
"""One directory request; the same form as an envelope id."""

NoticeId = NewType("NoticeId", str)
"""26 characters, random: names one message of the broker to a device."""

EventId = NewType("EventId", str)
"""One retained directory event; the same form as an envelope id."""

InvitationId = NewType("InvitationId", str)
"""One invitation; the same form as an envelope id."""

MessageId = NewType("MessageId", bytes)
"""16 random bytes; exists only inside sealed content."""

StreamId = NewType("StreamId", bytes)
"""8 random bytes: one unbroken run of a sending device's sequence numbers."""

SessionId = NewType("SessionId", bytes)
"""32 bytes: SHA-256 of the handshake transcript."""

DirectoryId = NewType("DirectoryId", str)
"""One key directory: the form of an envelope id, drawn at its first start."""

DIRECTORY_LOGIN: Final = "_kd"
"""The key directory's MQTT user name and client id."""

DIRECTORY_REPLICA_PREFIX: Final = "_kd-"
"""``_kd-<name>`` is a replica of the directory and has its rights: a login is one connection."""

ENROLL_LOGIN_PREFIX: Final = "_enroll-"
"""``_enroll-<invitation id>`` is a one-time login."""

MESSAGE_ID_BYTES: Final = 16
STREAM_ID_BYTES: Final = 8
SESSION_ID_BYTES: Final = 32
RANDOM_ID_BYTES: Final = 16

_USER: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_RANDOM_ID: Final = re.compile(r"[a-z2-7]{26}")
_REPLICA: Final = re.compile(r"[a-z0-9]{1,16}")
_ADDRESS: Final = re.compile(r"([a-z0-9][a-z0-9_]{0,31})-([1-9][0-9]{0,2})")


def parse_user(text: str) -> UserName:
    """Return ``text`` as a user name.

    Raises:
        InvalidNameError: It is not 1 to 32 characters of a-z, 0-9 and ``_``, not ``_`` first.
    """
    if not isinstance(text, str) or not _USER.fullmatch(text):
        raise InvalidNameError(
            "not a user name: use 1 to 32 characters of a-z, 0-9 and _, beginning with a-z or 0-9"
        )
    return UserName(text)


def device_address(user: UserName, number: DeviceNumber) -> DeviceAddress:
    """Return the address of one device of ``user``."""
    return DeviceAddress(f"{user}-{number}")


def split_address(address: str) -> tuple[UserName, DeviceNumber]:
    """Return the user and the device number of an address such as ``alice-1``.

    Raises:
        InvalidNameError: It is not a user name, ``-`` and a number from 1 to 127.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > MAX_DEVICE_NUMBER:
        raise InvalidNameError("not a device address: expected a user name, - and 1 to 127")
    return UserName(match[1]), DeviceNumber(int(match[2]))


def parse_address(text: str) -> DeviceAddress:
    """Return ``text`` as a device address; raises InvalidNameError where it is none."""
    split_address(text)
    return DeviceAddress(text)


def user_of(address: DeviceAddress) -> UserName:
    """Return the user whose device ``address`` is."""
    return UserName(address.rpartition("-")[0])


def is_replica_name(text: str) -> bool:
    """Tell whether ``text`` may name a replica of the directory: 1 to 16 of a-z and 0-9."""
    return _REPLICA.fullmatch(text) is not None


def is_directory_login(login: str) -> bool:
    """Tell whether ``login`` is the key directory's, or one of its replicas'."""
    if login == DIRECTORY_LOGIN:
        return True
    name = login.removeprefix(DIRECTORY_REPLICA_PREFIX)
    return name != login and is_replica_name(name)


def is_random_id(text: str) -> bool:
    """Tell whether ``text`` has the form of an envelope, request, event or invitation id."""
    return _RANDOM_ID.fullmatch(text) is not None


def random_id(random_bytes: bytes) -> str:
    """Return 16 random bytes as the 26 characters of an id, safe in every topic."""
    if len(random_bytes) != RANDOM_ID_BYTES:
        raise InvalidNameError(f"an id is made of {RANDOM_ID_BYTES} bytes")
    return base64.b32encode(random_bytes).decode().rstrip("=").lower()
