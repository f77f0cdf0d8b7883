"""Each node of a NATS cluster goes on learning what mail waits when another node is lost.

A node hands over retained messages that it knows of, and learns of them from a consumer that it
makes for its first device. nats-server keeps that consumer on one node of its choice: lose that
one, and a node that is well stays blind for new mail until it is back. Here such a consumer is
made again on a node that is there, and brings its owner all that waits.
"""

import asyncio
import json
from typing import Any, Final

from broker.accounts.nats_client import NatsConnection, NatsError, NatsLogin, connected
from broker.generate.nats import RETAINED_STREAM
from broker.logs import get_logger

LOOK_SECONDS: Final = 1.0
LIST_SECONDS: Final = 6.0
"""nats-server waits up to 4 s for nodes that do not answer."""

LIST_SUBJECT: Final = f"$JS.API.CONSUMER.LIST.{RETAINED_STREAM}"
CREATE_SUBJECT: Final = f"$JS.API.CONSUMER.CREATE.{RETAINED_STREAM}"
DELETE_SUBJECT: Final = f"$JS.API.CONSUMER.DELETE.{RETAINED_STREAM}"
NOBODY: Final = "_INBOX.nobody"
OWN_NAME: Final = f"{RETAINED_STREAM}_"
"""How the names begin that nodes give; somebody else's consumers are left alone."""

RETRY_SECONDS: Final = 5.0

Config = dict[str, Any]

_log = get_logger(__name__)


async def keep_readers(login: NatsLogin) -> None:
    """Make consumers of retained messages again whose node is away, until cancelled.

    Args:
        login: A user who may list, delete and make those consumers.
    """
    readers = Readers()
    while True:
        try:
            async with connected(login) as connection:
                while True:
                    await readers.look(connection)
                    if not readers.missing:  # otherwise the look took 4 s already
                        await asyncio.sleep(LOOK_SECONDS)
        except NatsError as error:
            _log.warning("readers of waiting mail are not looked after", reason=str(error))
        await asyncio.sleep(RETRY_SECONDS)


class Readers:
    """The consumers of retained messages as they were seen last."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[str, Config] = {}
        self.missing: set[str] = set()
        """Those that did not answer the last time."""

    async def look(self, connection: NatsConnection) -> None:
        """Make those again that did not answer twice: once may be a busy node."""
        answers = await connection.gather(LIST_SUBJECT, b"{}", LIST_SECONDS, 1)
        listed: dict[str, Any] = json.loads(answers[0]) if answers else {"error": "no answer"}
        if "error" in listed:  # a cluster that elects answers later
            self.missing = set()
            return
        missing = set(listed.get("missing") or [])
        known = {name: config for name, config in self._known.items() if name in missing}
        for config in (one.get("config") or {} for one in listed.get("consumers") or []):
            if str(config.get("name")).startswith(OWN_NAME):
                known[config["name"]] = config
        if known.keys() != self._known.keys():
            _log.info("readers of waiting mail", count=len(known))
        self._known = known
        away, self.missing = missing & self.missing, missing
        for config in [self._known[name] for name in away & self._known.keys()]:
            _make_again(connection, config)


def _make_again(connection: NatsConnection, config: Config) -> None:
    """Have one in place of another; several that look after readers come to the same name."""
    name = f"{config['name']}r"
    made = {key: value for key, value in config.items() if key not in {"name", "metadata"}}
    wanted = {"stream_name": RETAINED_STREAM, "config": {**made, "name": name}, "action": "create"}
    connection.publish(f"{DELETE_SUBJECT}.{config['name']}", b"", NOBODY)
    subject = f"{CREATE_SUBJECT}.{name}.{config['filter_subject']}"
    connection.publish(subject, json.dumps(wanted).encode(), NOBODY)
    _log.warning("a reader of waiting mail was on a node that is away: it was made again")
