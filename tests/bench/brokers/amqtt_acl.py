"""The topic table as a plugin of plain amqtt, which is not told payload, QoS or retain flag."""

import asyncio
from dataclasses import dataclass

from amqtt.contexts import Action
from amqtt.plugins.base import BaseTopicPlugin
from amqtt.session import Session

from broker import acl
from broker.acl import Publication

_AS_MESSAGE, _AS_CLEAR, _AS_REQUEST = (b"x", True), (b"", True), (b"x", False)


class AclPlugin(BaseTopicPlugin):
    """Allows what some payload would be allowed for; gives others their turn, as a look-up does."""

    @dataclass
    class Config:
        """Nothing can be set."""

    async def topic_filtering(
        self,
        *,
        session: Session | None = None,
        topic: str | None = None,
        action: Action | None = None,
    ) -> bool:
        await asyncio.sleep(0)
        assert session is not None
        login, name = session.username or "", topic or ""
        if action is Action.SUBSCRIBE:
            return acl.may_subscribe(login, name)
        if action is Action.RECEIVE:
            return acl.may_receive(login, name)
        return any(
            acl.may_publish(login, Publication(name, payload, 1, retain=retain))
            for payload, retain in (_AS_MESSAGE, _AS_CLEAR, _AS_REQUEST)
        )
