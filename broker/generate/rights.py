"""The topic table as rights that another broker can be told; pure, like ``broker.acl``.

``broker.acl`` also knows sizes, flags and empty payloads. Another broker can only be told who
writes and who reads which topics, so that is what is here.
"""

from dataclasses import dataclass
from typing import Final

from broker.acl import is_login
from client_sdk.wire import topics
from client_sdk.wire.ids import (
    DIRECTORY_LOGIN,
    ENROLL_LOGIN_PREFIX,
    DeviceAddress,
    EnvelopeId,
    InvitationId,
    RequestId,
)

_ANY: Final = "+"


@dataclass(frozen=True, slots=True)
class Rights:
    """The topic filters that a login writes and reads."""

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def device_rights(login: str) -> Rights:
    """Return the rights of a device; ``login`` may be what a broker replaces with the name."""
    device = DeviceAddress(login)
    tree = topics.device_tree(device)
    return Rights(
        writes=(
            topics.inbox(DeviceAddress(_ANY), device, EnvelopeId(_ANY)),
            topics.request(device, RequestId(_ANY)),
            tree,
        ),
        reads=(tree,),
    )


def directory_rights() -> Rights:
    """Return the rights of the key directory: requests, answers, and the sweep of any mailbox."""
    trees = f"{topics.DEVICE_TREES}#"
    return Rights(
        writes=(trees, topics.enrolled(InvitationId(_ANY))),
        reads=(topics.DIRECTORY_REQUESTS, topics.ENROLLMENT_REQUESTS, trees),
    )


def enrolment_rights(invitation: InvitationId) -> Rights:
    """Return the rights of a one-time login: one request, one answer."""
    return Rights(writes=(topics.enroll(invitation),), reads=(topics.enrolled(invitation),))


def is_directory(login: str) -> bool:
    """Tell whether ``login`` is the key directory's or a replica's of it."""
    return is_login(login) and login.partition("-")[0] == DIRECTORY_LOGIN


def invitation_of(login: str) -> InvitationId | None:
    """Return the invitation of a one-time login, None for every other one."""
    if not is_login(login) or not login.startswith(ENROLL_LOGIN_PREFIX):
        return None
    return InvitationId(login.removeprefix(ENROLL_LOGIN_PREFIX))


def rights_of(login: str) -> Rights | None:
    """Return what ``login`` may do; None for a name that is no login: it may do nothing.

    Only names that ``broker.acl`` takes for logins get this far: none has a wildcard, a dot or a
    space, so that no name can widen the rights that it is written into.
    """
    if not is_login(login):
        return None
    if is_directory(login):
        return directory_rights()
    invitation = invitation_of(login)
    return device_rights(login) if invitation is None else enrolment_rights(invitation)
