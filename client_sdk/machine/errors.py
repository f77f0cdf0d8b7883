"""Why a step is not taken."""

from client_sdk.wire.errors import MisuseError, OperationalError, ProtocolError


class NoSessionError(OperationalError):
    """A device of the recipient has no session yet; fetch its bundle first."""

    code = "no_session"


class IdentityChangedError(ProtocolError):
    """A user's account key is not the one that was pinned or verified; nothing was sent."""

    code = "identity_changed"


class NotComparedError(MisuseError):
    """The safety number that was shown is not the one that would be verified now."""

    code = "not_compared"


class DeviceListError(ProtocolError):
    """A device list is older than the known one, or another of the same version."""

    code = "device_list_refused"


class EquivocationError(DeviceListError):
    """Two device lists of one version were shown for a user; nothing is sent to that user."""

    code = "equivocation"


class UnknownDeviceError(ProtocolError):
    """The sending device is not in its user's verified list."""

    code = "unknown_device"


class ReplayedHandshakeError(ProtocolError):
    """A handshake that was accepted before came in another envelope."""

    code = "replayed_handshake"


class PrekeyGoneError(ProtocolError):
    """A handshake names a prekey that this device does not have any more."""

    code = "prekey_gone"
