"""Every row runs on every broker; quick rows share one process of each, with users of their own."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.brokers.contract.brokers import NAMES, made
from tests.brokers.contract.clients import Clients
from tests.brokers.contract.office import Office
from tests.brokers.contract.under_test import BrokerUnderTest, Options
from tests.conftest import FULL

collect_ignore = [] if FULL else ["test_lost_node.py"]
"""A cluster takes up to a minute to serve all again: `make brokers` has the patience."""

POOL = 200
"""Users that a shared broker knows; a row takes some that no other row has used."""

Make = Callable[..., BrokerUnderTest]
Running = Callable[[str], BrokerUnderTest]
People = Callable[[], str]


def pool() -> dict[str, str]:
    logins = [f"user{number:03}-1" for number in range(POOL)]
    return {login: f"secret of {login}" for login in logins}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with ExitStack() as stack:
        brokers: dict[str, BrokerUnderTest] = {}

        def of_name(name: str) -> BrokerUnderTest:
            if name not in brokers:
                folder = tmp_path_factory.mktemp(name)
                brokers[name] = stack.enter_context(made(name, folder, pool(), Options()))
            return brokers[name]

        yield of_name


@pytest.fixture(params=NAMES)
def broker(request: pytest.FixtureRequest, running: Running) -> BrokerUnderTest:
    """A broker that other rows use too: it is not to be stopped."""
    return running(str(request.param))


@pytest.fixture(params=NAMES)
def broker_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def own_broker(broker_name: str, tmp_path: Path) -> Iterator[Make]:
    """Makes and starts a broker that is this row's alone."""
    with ExitStack() as stack:

        def make(
            logins: Mapping[str, str] | None = None, options: Options | None = None
        ) -> BrokerUnderTest:
            known = pool() if logins is None else logins
            broker = made(broker_name, tmp_path / broker_name, known, options or Options())
            return stack.enter_context(broker)

        yield make


@pytest.fixture(scope="session")
def person() -> People:
    """Returns a user that no row of this process has used."""
    numbers = itertools.count()
    return lambda: f"user{next(numbers):03}-1"


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()


@pytest.fixture
def office(own_broker: Make, tmp_path: Path) -> Iterator[Office]:
    """A key directory on a broker that is this row's alone."""
    with Office(own_broker({}), tmp_path) as running:
        yield running
