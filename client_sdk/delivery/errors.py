"""What the directory's answers and the lease mean for an app."""

from client_sdk.machine.errors import NoSessionError
from client_sdk.wire.errors import MessagingError, MisuseError, OperationalError, ProtocolError


class DirectoryUnavailableError(OperationalError):
    """The key directory did not answer; what was queued stays queued."""

    code = "directory_unavailable"


class RateLimitedError(OperationalError):
    """The key directory asks to try later."""

    code = "rate_limited"


class NotContactError(MisuseError):
    """No such user, or none that the directory's policy lets this user reach."""

    code = "not_contact"


class InvitationRefusedError(MisuseError):
    """The invitation was used, has expired, or was withdrawn."""

    code = "invitation_refused"


class InvitationUsedError(MisuseError):
    """Another device redeemed this invitation."""

    code = "invitation_used"


class WrongInvitationError(MisuseError):
    """The invitation is not for what was asked; nothing was changed."""

    code = "wrong_invitation"


class WrongRecoveryCodeError(MisuseError):
    """The recovery code is of another account; nothing was changed."""

    code = "wrong_recovery_code"


class AlreadyEnrolledError(MisuseError):
    """The store belongs to a device that another invitation made."""

    code = "already_enrolled"


class NotEnrolledError(MisuseError):
    """The store's enrolment was not finished."""

    code = "not_enrolled"


class ConnectionHeldError(OperationalError):
    """Another process has the one connection of this store."""

    code = "connection_held"


class LinkExpiredError(MisuseError):
    """A link code whose time is over, or that another took the place of."""

    code = "link_expired"


class LinkRefusedError(MisuseError):
    """A link or a removal that cannot be done as asked; nothing was changed."""

    code = "link_refused"


class StaleListError(OperationalError):
    """Another manager changed the device list first; the newest one has to be fetched."""

    code = "stale_list"


class RefusedReplyError(ProtocolError):
    """A reply that the directory did not sign for this request."""

    code = "refused_reply"


class DirectoryRefusedError(OperationalError):
    """The directory refused a request of this device."""

    code = "directory_refused"


def of_a_device(error: MessagingError) -> MessagingError:
    """Return what the sender is told where the user is in reach and no device of it is."""
    if isinstance(error, NotContactError):
        return NoSessionError("no device of the recipient can be written to now")
    return error
