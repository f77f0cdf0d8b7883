"""docs/operations.md as its reader types it, chapter by chapter, and what each chapter promises."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import FULL, RequireProgram
from tests.guide.machines import FOLDERS, Machine, Machines
from tests.guide.page import Block, blocks
from tests.guide.people import FIRST, OTHER, People
from tests.postgres import Postgres

pytestmark = pytest.mark.timeout(400)


class Guide:
    """How far the reader is: each chapter is typed once, after all before it."""

    def __init__(self, machines: Machines, folder: Path) -> None:
        self.machines = machines
        self.server = machines.of["mq1"]
        self.people = People(folder, self.server)
        self.typed: list[Block] = []
        self._left = list(CHAPTERS)
        self._reading = ""

    async def through(self, chapter: str) -> None:
        while chapter in self._left:
            assert not self._reading, f"the guide ended in {self._reading}"
            self._reading = self._left[0]
            await CHAPTERS[self._reading](self)
            self._left.remove(self._reading)
            self._reading = ""

    async def type(self, heading: str, again_for: Machine | None = None) -> None:
        """Type the blocks under a heading, each on its machines.

        Args:
            heading: Without its marks.
            again_for: A machine that is set up again: on it what it typed before, on the others
                only what copies something to it.
        """
        for block in (one for one in blocks() if one.heading == heading):
            machines = block.machines
            if again_for is None:
                self.typed.append(block)
            elif again_for.name in machines:
                machines = (again_for.name,)
            elif f"{again_for.name}.example.org:/" not in block.text:
                machines = ()
            for name in machines:
                await asyncio.to_thread(self.machines.of[name].type, block)


async def machines(guide: Guide) -> None:
    await guide.type("What a machine needs")


async def one_machine(guide: Guide) -> None:
    await guide.type("1. One machine")
    for user in (FIRST, OTHER):
        await guide.people.enrol(user)
    await guide.people.talk()


async def lost_disk(guide: Guide) -> None:
    await guide.type("Backup")
    guide.server.lose("/etc/ratchetmq", "/var/lib/ratchetmq")
    await guide.type("Restore")
    await guide.people.talk()
    await guide.people.talk(await guide.people.newcomer())


async def nats(guide: Guide) -> None:
    await guide.type("NATS")
    await guide.people.talk()


async def mosquitto(guide: Guide) -> None:
    await guide.type("Mosquitto")
    await guide.people.talk()


async def two_directories(guide: Guide) -> None:
    await guide.type("3. PostgreSQL and two directories")
    await guide.people.talk()
    await guide.people.enrol("zoe")
    await guide.people.talk("zoe")


async def lost_database(guide: Guide) -> None:
    await guide.type("Backup of PostgreSQL")
    await guide.type("Restore of PostgreSQL")
    await guide.people.talk()
    await guide.people.talk(await guide.people.newcomer())


async def rolling_restart(guide: Guide) -> None:
    async with guide.people.enrolling():
        await guide.type("A rolling restart")
    await guide.people.talk()


async def cluster(guide: Guide) -> None:
    await guide.type("4. Three nodes and two directories")
    await guide.people.talk()
    await guide.people.enrol("max")
    await guide.people.talk("max")


async def restarted_cluster(guide: Guide) -> None:
    async with guide.people.enrolling():
        await guide.type("Restarting a cluster")
    await guide.people.talk()


async def lost_machine(guide: Guide) -> None:
    lost = guide.machines.of["mq3"]
    lost.lose(*FOLDERS)
    for heading in ("What a machine needs", "4. Three nodes and two directories"):
        await guide.type(heading, again_for=lost)
    await guide.people.talk()
    await guide.people.talk(await guide.people.newcomer())


async def all_of_it(guide: Guide) -> None:
    """Every block was typed, in its order."""
    assert guide.typed == blocks()


MORE = (
    *(two_directories, lost_database, rolling_restart),
    *(cluster, restarted_cluster, lost_machine, all_of_it),
)
"""They take several times as long as those before them: ``make guide``."""

CHAPTERS: dict[str, Callable[[Guide], Awaitable[None]]] = {
    one.__name__: one
    for one in (
        *(machines, one_machine, lost_disk, nats, mosquitto),
        *(MORE if FULL else ()),
    )
}


def test_one_block_alone_is_not_typed_by_the_tests() -> None:
    """It needs root and the network."""
    assert [one.heading for one in blocks() if not one.machines] == ["What a machine needs"]


@pytest.fixture(scope="module")
def guide(
    postgres: Postgres,
    require_program: RequireProgram,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Guide]:
    require_program("curl")
    folder = tmp_path_factory.mktemp("guide")
    with Machines(folder, postgres) as made:
        yield Guide(made, folder)


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_the_commands_of_a_chapter_do_what_it_says(chapter: str, guide: Guide) -> None:
    await guide.through(chapter)
