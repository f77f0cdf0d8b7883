"""A login that was made a moment ago: some brokers learn of it a little later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from client_sdk.delivery.clock import now_ms
from client_sdk.transport.errors import LoginRefusedError
from client_sdk.transport.ports import Connection, Transport
from client_sdk.wire.invitation import INVITATION_LIFETIME_MS, Invitation

LOGIN_REACHES_MS: Final = 5_000
"""A login reaches every broker within this time; a refusal before says nothing."""

ASK_AGAIN_SECONDS: Final = 0.5
"""Ten refusals in a row are within what the embedded broker answers of one login."""


def made_at(invitation: Invitation) -> int:
    """Return when the login of an invitation was made, in ms since 1970."""
    return invitation.expires_at - INVITATION_LIFETIME_MS


@asynccontextmanager
async def connected_with_new_login(
    transport: Transport, login_made_at: int
) -> AsyncIterator[Connection]:
    """Connect; a login younger than ``LOGIN_REACHES_MS`` that is refused is tried again.

    Raises:
        LoginRefusedError: It is old enough, and refused.
        TransportError: As ``Transport.connect`` says.
    """
    age = now_ms() - login_made_at
    left = (LOGIN_REACHES_MS - age) / 1000 if 0 <= age < LOGIN_REACHES_MS else 0
    loop = asyncio.get_running_loop()
    end = loop.time() + left
    async with AsyncExitStack() as stack:
        while True:
            try:
                connection = await stack.enter_async_context(transport.connect())
                break
            except LoginRefusedError:
                if loop.time() >= end:
                    raise
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        yield connection
