"""Logins, secrets and topics that the broker tests share."""

from broker.acl import Publication
from broker.embedded import EmbeddedBroker
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, random_id
from client_sdk.wire.topics import inbox

ALICE, BOB, MALLORY, DIRECTORY = "alice-1", "bob-1", "mallory-1", "_kd"
ENROLLING = f"_enroll-{random_id(bytes(16))}"
SECRETS = {login: f"secret of {login}" for login in (ALICE, BOB, MALLORY, DIRECTORY, ENROLLING)}


def numbered_id(number: int) -> EnvelopeId:
    return EnvelopeId(random_id(number.to_bytes(16)))


def mail_topic(number: int, sender: str = ALICE, recipient: str = BOB) -> str:
    return inbox(DeviceAddress(recipient), DeviceAddress(sender), numbered_id(number))


def waiting(broker: EmbeddedBroker) -> dict[str, bytes]:
    """What waits in the broker, read past every rule."""
    assert broker._engine is not None
    mail = broker._engine.mail
    found: dict[str, bytes] = {}
    for topic, place in mail.index.matching("#"):
        payload = mail._unwritten(place.number)
        if payload is None:
            file = mail._opened()
            payload = mail._thread.submit(file.payloads, [place.number]).result()[place.number]
        found[topic] = payload
    return found


def envelope(topic: str, payload: bytes = b"sealed") -> Publication:
    return Publication(topic, payload, 1, retain=True)
