"""What can go wrong in the pure layer, by whose fault it is."""

from client_sdk.wire.errors import MisuseError, OperationalError, ProtocolError


class InvalidKeyError(ProtocolError):
    """A public key of the wrong kind or length, or a point that no honest device sends."""

    code = "invalid_key"


class InvalidSignatureError(ProtocolError):
    """A signature that does not hold for these bytes under this key; nothing was taken over."""

    code = "invalid_signature"


class InvalidBundleError(ProtocolError):
    """A prekey bundle that contradicts itself or its device list; no session was made."""

    code = "invalid_bundle"


class AuthenticationError(ProtocolError):
    """Ciphertext that does not open here: forged, torn or meant for another place."""

    code = "authentication_failed"


class UnknownSessionError(ProtocolError):
    """A message of a session that is not here: a candidate for recovery; nothing was changed."""

    code = "unknown_session"


class SkippedTooFarError(ProtocolError):
    """A message number too far ahead of its chain; no key was derived."""

    code = "skipped_too_far"


class DuplicateMessageError(ProtocolError):
    """A message whose key was used or given up already; nothing was changed."""

    code = "duplicate_message"


class ChainExhaustedError(OperationalError):
    """No message number is left in the sending chain; nothing was encrypted."""

    code = "chain_exhausted"


class StaleBundleError(OperationalError):
    """A bundle whose prekeys are older than their private halves are kept; no session was made.

    The device was not online for weeks: the message waits and a later bundle may be fresh.
    """

    code = "stale_bundle"


class StateFormatError(OperationalError):
    """Stored session bytes that are damaged; they were left as they are."""

    code = "state_format"


class NewerStateError(OperationalError):
    """Session bytes written by a newer version of this software; they were left as they are."""

    code = "newer_state"


class DevicesFullError(MisuseError):
    """No device, number or account key more fits into a user's list; nothing was signed."""

    code = "devices_full"


class InvalidRecoveryCodeError(MisuseError):
    """Text that is not a whole recovery code; nothing was changed."""

    code = "invalid_recovery_code"
