"""Fresh ids and keys for what is encrypted next."""

from collections.abc import Iterable

from client_sdk import entropy
from client_sdk.core.session import InitiatorKeys
from client_sdk.machine.control import FreshContent
from client_sdk.machine.sending import FreshEnvelope, FreshEnvelopes, fresh_keys_wanted
from client_sdk.machine.state import PeerState
from client_sdk.wire.bundle import PrekeyBundle
from client_sdk.wire.ids import DeviceAddress, EnvelopeId


def fresh_session(bundle: PrekeyBundle) -> InitiatorKeys:
    """Draw what beginning a session with a bundle's device takes."""
    return InitiatorKeys(
        entropy.draw_x25519(),
        entropy.encapsulate(bundle.kem_prekey.key),
        entropy.draw_x25519(),
    )


def fresh_envelope(state: PeerState, device: DeviceAddress) -> FreshEnvelope:
    """Draw an envelope id for one device, and the keys that its encryption wants."""
    keys = entropy.draw_keys(fresh_keys_wanted(state, device))
    return FreshEnvelope(EnvelopeId(entropy.draw_id()), keys)


def fresh_content(state: PeerState, device: DeviceAddress) -> FreshContent:
    """Draw what one content that stands in no stream takes."""
    return FreshContent(entropy.draw_message_id(), fresh_envelope(state, device))


def fresh_envelopes(state: PeerState, devices: Iterable[DeviceAddress]) -> FreshEnvelopes:
    """Draw the same for each of these devices."""
    return {device: fresh_envelope(state, device) for device in devices}
