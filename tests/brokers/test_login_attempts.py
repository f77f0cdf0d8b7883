"""Wrong logins are answered a few times in a row; the right secret is let in whatever failed."""

from broker.embedded import EmbeddedBroker
from broker.limits import BrokerLimits
from broker.login_failures import MAX_REMEMBERED, LoginFailures
from tests.brokers.names import ALICE, BOB
from tests.brokers.raw_client import RawClient

MOST = BrokerLimits().login_failures
WHO = ("192.0.2.1", BOB)


def test_failures_in_a_row_are_counted_and_forgotten_one_by_one() -> None:
    failures = LoginFailures(MOST, 6.0)
    for _ in range(MOST):
        assert not failures.exceeded(WHO, 100.0)
        failures.failed(WHO, 100.0)
    assert failures.exceeded(WHO, 100.0)
    assert not failures.exceeded(("192.0.2.2", BOB), 100.0)
    assert not failures.exceeded(("192.0.2.1", ALICE), 100.0)
    assert failures.exceeded(WHO, 105.9)
    assert not failures.exceeded(WHO, 106.0)
    failures.failed(WHO, 106.0)
    assert failures.exceeded(WHO, 106.0)
    failures.succeeded(WHO)
    assert not failures.exceeded(WHO, 106.0)


def test_only_so_many_names_are_remembered() -> None:
    failures = LoginFailures(1, 6.0)
    for number in range(MAX_REMEMBERED):
        failures.failed(("192.0.2.1", str(number)), 100.0)
    assert failures.exceeded(("192.0.2.1", "0"), 100.0)
    failures.failed(WHO, 100.0)
    assert not failures.exceeded(("192.0.2.1", "0"), 100.0)
    assert failures.exceeded(WHO, 100.0)


async def test_a_wrong_secret_is_answered_a_few_times_and_the_right_one_always(
    broker: EmbeddedBroker,
) -> None:
    answers = []
    for _ in range(MOST + 1):
        stranger = await RawClient.open(broker.port)
        answers.append(await stranger.connect(BOB, BOB, "guessed"))
        await stranger.close()
    assert answers == [5] * MOST + [None]
    assert broker.statistics.refused == {"login": MOST, "too many failures": 1}
    bob = await RawClient.login(broker.port, BOB)
    await bob.disconnect()
