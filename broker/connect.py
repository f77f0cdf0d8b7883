"""The CONNECT packet: what a client says of itself before anything is looked up. Pure.

Source: MQTT Version 3.1.1 (OASIS Standard), section 3.1.
"""

from dataclasses import dataclass, field
from typing import Final

from broker.acl import Publication
from broker.packets import MAX_QOS, read_field, read_text
from client_sdk.wire.errors import MalformedError

ACCEPTED: Final = 0
UNACCEPTABLE_PROTOCOL: Final = 1
IDENTIFIER_REJECTED: Final = 2
NOT_AUTHORIZED: Final = 5

_PROTOCOL: Final = ("MQTT", 4)
_CLEAN: Final = 0x02
_WILL: Final = 0x04
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USERNAME: Final = 0x80


class ConnectRefusedError(MalformedError):
    """The packet is well-formed, but the specification names a CONNACK code to refuse it with."""

    def __init__(self, code: int) -> None:
        """Keep the code."""
        super().__init__("a CONNECT that is refused")
        self.connack = code


@dataclass(frozen=True, slots=True)
class Connect:
    """One CONNECT packet.

    Attributes:
        client_id: As sent; may be empty with a clean session.
        clean: Whether no state outlives the connection.
        keep_alive: Seconds; 0 for none.
        will: What is published when the connection ends without DISCONNECT.
        username: None where none was sent.
        password: None where none was sent.
    """

    client_id: str
    clean: bool
    keep_alive: int
    will: Publication | None
    username: str | None
    password: str | None = field(repr=False)


def parse_connect(body: bytes) -> Connect:
    """Return the packet in ``body``.

    Raises:
        ConnectRefusedError: Its version or empty client id is to be answered with a code.
        MalformedError: It breaks a rule for which the connection is closed without an answer.
    """
    name, position = read_text(body, 0)
    if name not in ("MQTT", "MQIsdp"):
        raise MalformedError("a CONNECT of another protocol")
    if position + 4 > len(body):
        raise MalformedError("a CONNECT that ends early")
    level, flags = body[position], body[position + 1]
    if (name, level) != _PROTOCOL:
        raise ConnectRefusedError(UNACCEPTABLE_PROTOCOL)
    _check_flags(flags)
    keep_alive = int.from_bytes(body[position + 2 : position + 4])
    client_id, position = read_text(body, position + 4)
    will, position = _read_will(flags, body, position)
    username: str | None = None
    password: str | None = None
    if flags & _USERNAME:
        username, position = read_text(body, position)
    if flags & _PASSWORD:
        secret, position = read_field(body, position)
        password = secret.decode(errors="replace")
    if position != len(body):
        raise MalformedError("a CONNECT with bytes after its end")
    if not client_id and not flags & _CLEAN:
        raise ConnectRefusedError(IDENTIFIER_REJECTED)
    return Connect(client_id, bool(flags & _CLEAN), keep_alive, will, username, password)


def _check_flags(flags: int) -> None:
    will_qos, has_will = (flags >> 3) & 3, bool(flags & _WILL)
    if flags & 0x01 or will_qos > MAX_QOS:
        raise MalformedError("a CONNECT with flags that are not defined")
    if not has_will and (will_qos or flags & _WILL_RETAIN):
        raise MalformedError("a CONNECT with flags of a will and no will")
    if flags & _PASSWORD and not flags & _USERNAME:
        raise MalformedError("a CONNECT with a password and no user name")


def _read_will(flags: int, body: bytes, position: int) -> tuple[Publication | None, int]:
    if not flags & _WILL:
        return None, position
    topic, position = read_text(body, position)
    payload, position = read_field(body, position)
    if not topic or "+" in topic or "#" in topic:
        raise MalformedError("a will without a topic, or with a wildcard in it")
    return Publication(topic, payload, (flags >> 3) & 3, bool(flags & _WILL_RETAIN)), position
