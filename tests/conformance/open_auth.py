"""A broker that admits everyone to everything but one topic: what the standard is tested on."""

import hashlib
from dataclasses import dataclass

from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from broker.acl import Publication
from broker.auth import IDENTITY, Identity
from broker.embedded import EmbeddedBroker
from broker.ports import Credentials
from broker.settings import BrokerSettings

FORBIDDEN = "forbidden"
_HASH = hashlib.sha256(b"one secret for all").digest()


class OpenCredentials:
    """Every login is known, and all have one secret."""

    def secret_hash(self, login: str) -> bytes | None:  # noqa: ARG002
        return _HASH

    def revision(self) -> int:
        return 0


class OpenPlugin(BaseAuthPlugin):
    """Admits every CONNECT, whatever its client id, session and user name."""

    @dataclass
    class Config:
        credentials: Credentials

    config: Config

    async def authenticate(self, *, session: Session) -> bool:
        session.attributes[IDENTITY] = Identity(session.client_id or "nobody", _HASH)
        return True


class OpenAccess:
    """Allows all topics, except to read and write below ``forbidden/``."""

    def may_publish(self, login: str, publication: Publication) -> bool:  # noqa: ARG002
        return not _is_forbidden(publication.topic)

    def may_subscribe(self, login: str, topic_filter: str) -> bool:  # noqa: ARG002
        return not _is_forbidden(topic_filter)

    def may_receive(self, login: str, topic: str) -> bool:  # noqa: ARG002
        return not _is_forbidden(topic)


def open_embedded(settings: BrokerSettings) -> EmbeddedBroker:
    """Return our broker with this plugin and these rules."""
    plugin = f"{OpenPlugin.__module__}.{OpenPlugin.__qualname__}"
    return EmbeddedBroker(settings, OpenCredentials(), access=OpenAccess(), auth_plugin=plugin)


def _is_forbidden(topic: str) -> bool:
    return topic.split("/", maxsplit=1)[0] == FORBIDDEN
