"""Packet ids of deliveries: 1 to 65,535, none twice at a time, and again when they are free."""

from broker.acl import Publication
from broker.limits import MAX_PACKET_IDS, BrokerLimits
from broker.outbound import Outbound

MESSAGE = Publication("a", b"x", 1, retain=False)


def sent_id(outbound: Outbound) -> int:
    return int.from_bytes(outbound.send(MESSAGE)[5:7])


def test_every_id_is_used_once_before_one_is_used_again() -> None:
    outbound, used = Outbound(BrokerLimits()), []
    for _ in range(MAX_PACKET_IDS):
        used.append(sent_id(outbound))
        outbound.acknowledged(used[-1])
    assert used == list(range(1, MAX_PACKET_IDS + 1))
    assert sent_id(outbound) == 1


def test_an_id_that_is_not_acknowledged_is_passed_over() -> None:
    outbound = Outbound(BrokerLimits())
    held = sent_id(outbound)
    for _ in range(MAX_PACKET_IDS - 1):
        outbound.acknowledged(sent_id(outbound))
    assert (held, sent_id(outbound)) == (1, 2)
