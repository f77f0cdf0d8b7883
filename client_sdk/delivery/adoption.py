"""A device list from the directory is adopted, and what that means for what is on its way."""

from typing import NamedTuple

from client_sdk.delivery.clock import now_ms
from client_sdk.machine.changes import OutboxEnvelope
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.devices import adopt_device_list
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.machine.identity import (
    IdentityStep,
    UnderWay,
    is_held,
    plan_other_identity,
    plan_replaced,
)
from client_sdk.machine.state import PeerState
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.directory import DeviceListReply


class Adoption(NamedTuple):
    """One decided adoption; ``dropped`` is cleared from the broker once it is committed."""

    step: IdentityStep
    dropped: tuple[OutboxEnvelope, ...]


async def plan_adoption(
    store: ClientStore, own: OwnDevice, state: PeerState, reply: DeviceListReply
) -> Adoption:
    """Decide what a device list makes of a user.

    Raises:
        DeviceListError: It does not follow the known one, or is under a key that was replaced.
        ProtocolError: A signature or key is bad. In both cases nothing changed.
    """
    try:
        adopted, changes = adopt_device_list(state, reply)
    except IdentityChangedError:
        under_way = await store.under_way(state.user)
        step = plan_other_identity(state, reply, own.user, under_way, now_ms())
        return _adoption(step, under_way)
    if adopted.devices == state.devices or not state.devices:
        return Adoption(IdentityStep(adopted, changes, ()), ())
    under_way = await store.under_way(state.user)
    return _adoption(plan_replaced(state, adopted, changes, own.user, under_way), under_way)


def check_not_held(state: PeerState) -> None:
    """Return only if the user may be sent to.

    Raises:
        IdentityChangedError: The user was verified and has another account key now.
    """
    if is_held(state):
        raise IdentityChangedError(
            f"the account key of {state.user} has changed, and was verified before; nothing was "
            "sent; compare safety numbers, then trust or verify"
        )


def _adoption(step: IdentityStep, under_way: UnderWay) -> Adoption:
    gone = set(step.changes.envelopes_gone)
    return Adoption(step, tuple(one for one in under_way.envelopes if one.envelope_id in gone))
