"""Several devices of one user, as real programs on a served system."""

from pathlib import Path

from tests.e2e.clinic import Clinic, User, until
from tests.e2e.programs import Fields, run


class Second(User):
    """A linked device; its store is beside that of the first."""

    @property
    def address(self) -> str:
        return f"{self.name}-2"


def link(user: User, store: Path, *options: str) -> Fields:
    """Link one more device of ``user`` into ``store``; return what `enroll` said."""
    with user.start("link", *options) as linking:
        code = str(linking.row()["code"])
        joined = run("enroll", "-", "--store", str(store), "--json", stdin=code.encode())
        assert joined.code == 0, joined.err
        linked = linking.row()
        assert linked["linked"] == joined.row["address"]
        assert linking.wait().code == 0
    return joined.row


def linked_device(clinic: Clinic, user: User, *options: str) -> Second:
    store = clinic.folder / f"{user.name}.second.db"
    assert link(user, store, *options) == {"address": f"{user.name}-2", "recovery_code": None}
    return Second(user.name, store)


def history(user: User, conversation: str) -> list[tuple[object, object, object]]:
    rows = user.run("history", conversation).rows
    return [(row["sender"], row["text"], row["outgoing"]) for row in rows]


def test_both_devices_get_a_message_and_each_sees_what_the_other_sent(clinic: Clinic) -> None:
    alice, bob = clinic.doctor(), clinic.patient()
    second = linked_device(clinic, alice)
    sent = bob.run("send", alice.name, "to both of you")
    assert sent.code == 0, sent.err
    for device in (alice, second):
        heard = device.run("listen", "--count", "1", "--timeout", "40")
        assert [row["text"] for row in heard.rows] == ["to both of you"], heard.err
    said = alice.run("send", bob.name, "from the first", "--wait", "delivered", "--timeout", "1")
    assert said.code in {0, 3}, said.err
    until(lambda: sees(second, bob, "from the first"), "the copy stands in the history")
    assert history(second, bob.name)[-1] == (alice.name, "from the first", True)
    heard = bob.run("listen", "--count", "1", "--timeout", "40")
    assert [row["text"] for row in heard.rows] == ["from the first"], heard.err


def sees(device: User, other: User, text: str) -> bool:
    device.run("listen", "--timeout", "1")
    return text in [row[1] for row in history(device, other.name)]
