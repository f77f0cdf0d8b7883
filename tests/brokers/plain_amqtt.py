"""amqtt as shipped, with the plugins a user of amqtt would write: the control of the hole tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from broker import acl
from broker.acl import Publication


class PlainAuth(BaseAuthPlugin):
    @dataclass
    class Config:
        secrets: dict[str, str] = field(default_factory=dict)

    async def authenticate(self, *, session: Session) -> bool:
        return self.config.secrets.get(session.username or "") == session.password


class PlainAcl(BaseTopicPlugin):
    """The same rules as ours, as far as the plugin is told what happens."""

    @dataclass
    class Config:
        seconds: float = 0.0

    async def topic_filtering(
        self,
        *,
        session: Session | None = None,
        topic: str | None = None,
        action: Action | None = None,
    ) -> bool:
        await asyncio.sleep(self.config.seconds)
        assert session is not None
        login, name = session.username or "", topic or ""
        if action is Action.SUBSCRIBE:
            return acl.may_subscribe(login, name)
        if action is Action.RECEIVE:
            return acl.may_receive(login, name)
        return acl.may_publish(login, Publication(name, b"x", 1, retain=True))


@asynccontextmanager
async def plain_amqtt(secrets: dict[str, str], acl_seconds: float) -> AsyncIterator[Broker]:
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
            "plugins": {
                f"{__name__}.PlainAuth": {"secrets": secrets},
                f"{__name__}.PlainAcl": {"seconds": acl_seconds},
            },
        }
    )
    await broker.start()
    try:
        yield broker
    finally:
        await broker.shutdown()


def port_of(broker: Broker) -> int:
    port: int = broker._servers["default"].instance.sockets[0].getsockname()[1]
    return port
