"""What `listen` says on stderr of events that nobody would hear of otherwise."""

from client_sdk.machine.events import (
    CloneSuspected,
    Equivocation,
    Event,
    Expired,
    Failed,
    IdentityChanged,
    LoginInUse,
    MailboxFull,
    RecipientInactive,
    SessionDamaged,
    StoreRolledBack,
)


def warning(event: Event) -> str | None:
    """Return the line that says what happened, or None where nobody has to know."""
    match event:
        case LoginInUse(retry_in):
            return (
                "another program uses this device's login and takes the connection; "
                f"trying again in {retry_in:.0f} s"
            )
        case Failed(message_id, recipient, reason):
            return f"message {message_id.hex()} to {recipient} will not be sent: {reason}"
        case Expired(message_id, recipient):
            return f"message {message_id.hex()} to {recipient} was not delivered in its time"
        case RecipientInactive(user):
            return f"{user}'s keys are too old to use; what waits for {user} is tried daily"
        case IdentityChanged() | Equivocation():
            return _identity_warning(event)
        case _:
            return _rare_warning(event)


def _rare_warning(event: Event) -> str | None:
    match event:
        case MailboxFull(device, retry_in):
            return (
                f"the broker takes no more mail for {device} now; what waits here is published "
                f"again in {retry_in:.0f} s"
            )
        case CloneSuspected(device):
            return f"two copies of the store of {device} seem to be in use; its user should know"
        case SessionDamaged(device):
            return f"the stored session with {device} is damaged; a new one takes its place"
        case StoreRolledBack():
            return (
                "this store is an older copy: what was received since it was made is not in it; "
                "sessions are made anew, and what is under way comes again"
            )
        case _:
            return None


def _identity_warning(event: IdentityChanged | Equivocation) -> str:
    user = event.user
    if isinstance(event, Equivocation):
        return (
            f"two device lists of one version were shown for {user}; to a contact nothing is sent "
            "any more: ask whether they know; if it is you, compare `devices` on each of yours"
        )
    if not event.held:
        return (
            f"{user} has another key now, as after a lost device: compare `safety-number {user}`, "
            f"then `verify {user}`"
        )
    return f"{held_warning(user)}; nothing from the new key is shown meanwhile"


def held_warning(user: str) -> str:
    """Return what happened where a verified user has another key, and what to do."""
    return (
        f"{user}, whom you verified, has another key now: nothing is sent to {user} until you "
        f"compare `safety-number {user}`, then `verify {user}`, or `trust {user}` without comparing"
    )
