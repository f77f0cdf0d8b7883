"""Each node of a NATS cluster goes on learning what mail waits when another node is lost.

A node hands over retained messages that it knows of, and learns of them from a consumer that it
makes at its start. nats-server makes that consumer with a single copy, on a node of its choice:
lose that one, and a node that is well stays blind for new mail until it is back. Here the consumers
get as many copies as the messages have.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from broker.accounts.nats_client import NatsConnection, NatsError, NatsLogin, connected
from broker.generate.nats import RETAINED_STREAM
from broker.logs import get_logger

LOOK_SECONDS: Final = 2.0
"""How often new consumers are looked for: a node makes one at its start."""

INFO_SUBJECT: Final = f"$JS.API.STREAM.INFO.{RETAINED_STREAM}"
LIST_SUBJECT: Final = f"$JS.API.CONSUMER.LIST.{RETAINED_STREAM}"
CREATE_SUBJECT: Final = f"$JS.API.CONSUMER.CREATE.{RETAINED_STREAM}"

_log = get_logger(__name__)


async def keep_readers(login: NatsLogin) -> None:
    """Give every consumer of retained messages as many copies as the messages have.

    It ends when it is cancelled; where there is one copy of all, it changes nothing.

    Args:
        login: A user who may list and change those consumers.
    """
    while True:
        try:
            async with connected(login) as connection:
                while True:
                    await _replicate(connection)
                    await asyncio.sleep(LOOK_SECONDS)
        except NatsError as error:
            _log.warning("readers of waiting mail are not looked after", reason=str(error))
        await asyncio.sleep(LOOK_SECONDS)


async def _replicate(connection: NatsConnection) -> None:
    stream = await _ask(connection, INFO_SUBJECT, {})
    copies = 1 if stream is None else stream["config"]["num_replicas"]
    if copies == 1:
        return
    listed = await _ask(connection, LIST_SUBJECT, {})
    for one in (listed or {}).get("consumers") or []:
        config = one["config"]
        if config.get("num_replicas", 0) >= copies:
            continue
        wanted = {
            "stream_name": RETAINED_STREAM,
            "config": {**config, "num_replicas": copies},
            "action": "update",
        }
        subject = f"{CREATE_SUBJECT}.{one['name']}.{config['filter_subject']}"
        if await _ask(connection, subject, wanted) is not None:
            _log.info("a reader of waiting mail has its copies", copies=copies)


async def _ask(
    connection: NatsConnection, subject: str, wanted: Mapping[str, object]
) -> dict[str, Any] | None:
    """Return the answer; None where there is none now: a cluster that elects answers later."""
    try:
        answer: dict[str, Any] = json.loads(
            await connection.request(subject, json.dumps(wanted).encode())
        )
    except TimeoutError:
        return None
    if "error" in answer:
        _log.debug("JetStream refused", code=answer["error"].get("err_code"))
        return None
    return answer
