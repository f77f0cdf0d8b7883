"""A device list from the directory is adopted, and what that means for what is on its way."""

from dataclasses import replace
from typing import NamedTuple

from client_sdk.delivery.clock import now_ms
from client_sdk.machine.device import OwnDevice, encode_device, with_list
from client_sdk.machine.devices import adopt_device_list, list_news
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.machine.identity import IdentityStep, UnderWay, plan_other_identity
from client_sdk.machine.state import PeerState
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.directory import DeviceListReply
from client_sdk.wire.ids import DeviceAddress, EnvelopeId


class Adoption(NamedTuple):
    """One decided adoption; ``dropped`` is cleared from the broker once it is committed."""

    step: IdentityStep
    dropped: tuple[tuple[DeviceAddress, EnvelopeId], ...]


async def plan_adoption(
    store: ClientStore, own: OwnDevice, state: PeerState, reply: DeviceListReply
) -> Adoption:
    """Decide what a device list makes of a user.

    Raises:
        IdentityChangedError: One's own account has another key, which the known one has not signed.
        EquivocationError: It is another list of the known version.
        DeviceListError: It does not follow the known one, or is under a key that was replaced.
        ProtocolError: A signature or key is bad. In every case nothing changed.
    """
    try:
        adopted, changes = adopt_device_list(state, reply)
    except IdentityChangedError:
        if state.is_own:
            raise
        under_way = await store.under_way(state.user)
        step = plan_other_identity(state, reply, own.user, under_way, now_ms())
        return Adoption(step, await _dropped(store, step, under_way))
    if state.is_own:
        record = with_list(own.record, reply.device_list)
        changes = replace(changes, device=encode_device(record))
    step = IdentityStep(adopted, changes, list_news(state.device_list, reply.device_list))
    return Adoption(step, await _dropped(store, step, UnderWay((), ())))


def check_not_held(state: PeerState) -> None:
    """Return only if the user may be sent to.

    Raises:
        IdentityChangedError: The user was verified and has another account key now.
    """
    if state.is_held:
        raise IdentityChangedError(
            f"the account key of {state.user} has changed, and was verified before; nothing was "
            "sent; compare safety numbers, then trust or verify"
        )


async def _dropped(
    store: ClientStore, step: IdentityStep, under_way: UnderWay
) -> tuple[tuple[DeviceAddress, EnvelopeId], ...]:
    """Return the envelopes that a step takes back: given up, or for a device that has left."""
    given_up = set(step.changes.envelopes_gone)
    found = [
        (one.recipient, one.envelope_id)
        for one in under_way.envelopes
        if one.envelope_id in given_up
    ]
    for device in step.changes.devices_gone:
        found += [(device, one) for one in await store.envelopes_for(device)]
    return tuple(dict.fromkeys(found))
