"""paho-mqtt, as a program uses it, behind awaitable calls."""

import asyncio
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE_SECONDS = 8.0


class Paho:
    """One paho client with a thread of its own; answers come as events of the loop."""

    def __init__(
        self, client_id: str, *, clean: bool = True, manual_ack: bool = False, **options: Any
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.received: asyncio.Queue[MQTTMessage] = asyncio.Queue()
        self.session_present = False
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean,
            manual_ack=manual_ack,
            reconnect_on_failure=False,
            **options,
        )
        self.client.on_connect = lambda _c, _u, flags, code, _p: self._tell(
            "connected", (code.value, flags.session_present)
        )
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self._tell(
            "subscribed", [code.value for code in codes]
        )
        self.client.on_unsubscribe = lambda *_: self._tell("unsubscribed", None)
        self.client.on_publish = lambda *_: self._tell("published", None)
        self.client.on_disconnect = lambda *_: self._tell("disconnected", None)
        self.client.on_message = lambda _c, _u, message: self._loop.call_soon_threadsafe(
            self.received.put_nowait, message
        )

    async def connect(self, port: int, keepalive: int = 60) -> int:
        """Return the code of the CONNACK."""
        self.client.connect("127.0.0.1", port, keepalive)
        self.client.loop_start()
        code, self.session_present = await self._next("connected")
        return int(code)

    async def subscribe(self, topic_filter: str, qos: int = 2) -> int:
        """Return the code of the SUBACK."""
        self.client.subscribe(topic_filter, qos)
        (code,) = await self._next("subscribed")
        return int(code)

    async def unsubscribe(self, topic_filter: str) -> None:
        self.client.unsubscribe(topic_filter)
        await self._next("unsubscribed")

    async def publish(
        self, topic: str, payload: bytes = b"x", qos: int = 1, *, retain: bool = False
    ) -> None:
        """Return when it was acknowledged; at QoS 0, when it was sent."""
        self.client.publish(topic, payload, qos, retain)
        await self._next("published")

    async def messages(self, count: int) -> list[MQTTMessage]:
        """Return the next ``count`` messages."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [await self.received.get() for _ in range(count)]

    async def until(self, last: bytes) -> list[MQTTMessage]:
        """Return the messages before the one whose payload is ``last``."""
        found: list[MQTTMessage] = []
        while True:
            (message,) = await self.messages(1)
            if message.payload == last:
                return found
            found.append(message)

    async def disconnect(self) -> None:
        """Say DISCONNECT and end the thread."""
        self.client.disconnect()
        await self._next("disconnected")
        await asyncio.to_thread(self.client.loop_stop)

    async def break_off(self) -> None:
        """Close the socket without a word and end the thread."""
        self.client.loop_stop()
        socket = self.client.socket()
        if socket is not None:
            socket.close()

    def _tell(self, kind: str, value: Any) -> None:
        self._loop.call_soon_threadsafe(self._events.put_nowait, (kind, value))

    async def _next(self, kind: str) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (event := await self._events.get())[0] != kind:
                pass
            return event[1]
