"""One `send` command: what it queues, waits for and says."""

import time

from client_sdk.cli_connection import missing
from client_sdk.cli_events import held_warning
from client_sdk.cli_options import Opened, connect
from client_sdk.handles import DeliveryFailedError, DeliveryTimeoutError, Sent
from client_sdk.lines import lines_of
from client_sdk.machine.identity import Identity
from client_sdk.machine.rows import MessageState
from client_sdk.messenger import Messenger
from client_sdk.printing import EXIT_FAILED, EXIT_TIMED_OUT, Output, open_stdin, warn
from client_sdk.wire.errors import MisuseError


class Sending:
    """The texts of one command to one user."""

    def __init__(self, to: str, output: Output, *, wait: bool) -> None:
        """Queue nothing yet; ``wait`` is for receipts, not for the broker alone."""
        self._to = to
        self._output = output
        self._wait = wait
        self._sent: list[Sent] = []
        self._queueing = False
        self._late: list[str] = []

    def interrupted(self) -> str:
        """Return what Ctrl-C left, and what to do."""
        if self._queueing:
            return f"interrupted while queueing; look into `history {self._to}` before sending it"
        if not self._sent:
            return "interrupted; nothing was queued"
        if len(self._sent) == 1:
            return (
                f"interrupted; message {self._sent[0].id} stays queued and is sent by the next "
                "command; do not send it again"
            )
        return (
            f"interrupted; {len(self._sent)} messages stay queued and are sent by the next "
            "command; do not send them again"
        )

    async def one(self, opened: Opened, text: str, until: float | None) -> int:
        """Send one text and return the exit code."""
        async with opened as messenger:
            await connect(messenger)
            sent = await self._queue(messenger, text)
            state, code = await self._settled(messenger, sent, until)
            self._say(sent, state)
            await self._warn(messenger)
            return code

    async def lines(self, opened: Opened, until: float | None) -> int:
        """Send each line of stdin and return the worst exit code."""
        async with opened as messenger:
            await connect(messenger)
            number = 0
            async for line in lines_of(open_stdin()):
                number += 1
                sent = await self._queue(messenger, _text_of(line, number))
                if not self._wait:
                    self._say(sent, MessageState.QUEUED)
            worst = 0
            for sent in self._sent:
                state, code = await self._settled(messenger, sent, until)
                worst = max(worst, code)
                if self._wait:
                    self._say(sent, state)
                elif state is MessageState.QUEUED:
                    break  # the broker is away or has enough: later ones wait as well
            await self._warn(messenger)
            return worst

    async def _queue(self, messenger: Messenger, text: str) -> Sent:
        self._queueing = True
        sent = await messenger.send(self._to, text)
        self._sent.append(sent)
        self._queueing = False
        return sent

    async def _settled(
        self, messenger: Messenger, sent: Sent, until: float | None
    ) -> tuple[MessageState, int]:
        """Wait for what was asked for; return the state and the exit code."""
        left = None if until is None else max(until - time.monotonic(), 0.0)
        try:
            if self._wait:
                await sent.delivered(left)
            else:
                await messenger.wait_published(sent, left)
        except DeliveryTimeoutError as error:
            if not self._wait:
                return await sent.state(), 0
            self._late.append(str(error))
            return await sent.state(), EXIT_TIMED_OUT
        except DeliveryFailedError as error:
            warn(str(error))
            return await sent.state(), EXIT_FAILED
        return await sent.state(), 0

    def _say(self, sent: Sent, state: MessageState) -> None:
        shown = MessageState.DELIVERED if state is MessageState.READ else state.told
        self._output.say({"id": sent.id, "state": str(shown)}, f"{shown}  {sent.id}")

    async def _warn(self, messenger: Messenger) -> None:
        """Say once a command, however many lines there were, what waits and why."""
        if len(self._late) == 1:
            warn(self._late[0])
        elif self._late:
            warn(
                f"{len(self._late)} of {len(self._sent)} messages were not delivered in time; "
                "they stay queued: do not send them again"
            )
        why = missing(messenger)
        if why is not None:
            warn(f"not connected, what is queued stays queued: {why}")
        if await messenger.identity(self._to) is Identity.CHANGED:
            warn(held_warning(self._to))


def _text_of(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise MisuseError(
            f"line {number} is not UTF-8; it was not queued, the lines before it were"
        ) from error
