"""The three roots of every error, and the errors of decoding."""

from typing import ClassVar


class MessagingError(Exception):
    """Base class; no message holds a key, a plaintext or a passphrase.

    Attributes:
        code: A stable name for programs; the text is for people and may change.
    """

    code: ClassVar[str] = "messaging_error"


class ProtocolError(MessagingError):
    """The peer's fault: what arrived is dropped and no state has changed."""

    code = "protocol_error"


class OperationalError(MessagingError):
    """Ours, the storage's or the network's fault: nothing was changed; trying again may work."""

    code = "operational_error"


class MisuseError(MessagingError):
    """The caller's fault: the call can never work as it stands; nothing was changed."""

    code = "misuse"


class MalformedError(ProtocolError):
    """Bytes that are not the one canonical encoding of the expected record."""

    code = "malformed"


class TooLargeError(ProtocolError):
    """Bytes over the limit of their kind; they were not parsed."""

    code = "too_large"


class InvalidNameError(MisuseError):
    """A user name, address or id outside its alphabet or length."""

    code = "invalid_name"


class InvalidInvitationError(MisuseError):
    """Text that is not a whole invitation; nothing was stored or sent."""

    code = "invalid_invitation"


class MessageTooLongError(MisuseError):
    """A message over the limit of one envelope; nothing was queued."""

    code = "message_too_long"
