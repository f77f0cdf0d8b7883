"""A device in a room of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.delivery.rooms import Room


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with Room.opened() as opened:
        yield opened
