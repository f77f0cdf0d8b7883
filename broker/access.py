"""What the engine asks before it lets a client publish, subscribe or receive."""

from typing import Protocol

from broker import acl
from broker.acl import Publication


class Access(Protocol):
    """The rules of one broker: answers at once, knows a client by the login it proved."""

    def may_publish(self, login: str, publication: Publication) -> bool:
        """Tell whether ``login`` may publish exactly this, by PUBLISH or as its last will."""
        ...

    def may_subscribe(self, login: str, topic_filter: str) -> bool:
        """Tell whether everything that ``topic_filter`` can match is for ``login`` to read."""
        ...

    def may_receive(self, login: str, topic: str) -> bool:
        """Tell whether a message under ``topic`` may be handed to ``login``."""
        ...


class TopicTable:
    """The protocol's topic table, see ``broker.acl``: what every real broker here enforces."""

    def may_publish(self, login: str, publication: Publication) -> bool:
        """See ``Access``."""
        return acl.may_publish(login, publication)

    def may_subscribe(self, login: str, topic_filter: str) -> bool:
        """See ``Access``."""
        return acl.may_subscribe(login, topic_filter)

    def may_receive(self, login: str, topic: str) -> bool:
        """See ``Access``."""
        return acl.may_receive(login, topic)
