"""Several devices of one user, as real programs on a served system."""

from pathlib import Path

import pytest

from tests.e2e.clinic import Clinic, Login, User, mosquitto, until
from tests.e2e.programs import Fields, Program, Result, ratchetmq, run


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


def test_a_removed_device_is_refused_and_gets_nothing_more(clinic: Clinic) -> None:
    alice, bob = clinic.doctor(), clinic.patient()
    second = linked_device(clinic, alice)
    assert [row["address"] for row in alice.run("devices").rows] == [
        alice.address,
        second.address,
    ]
    assert bob.run("send", alice.name, "before").code == 0
    for device in (alice, second):
        assert device.run("listen", "--count", "1", "--timeout", "40").code == 0
    login = second.login()
    with second.listening() as listener:
        second.wait_for_listener()
        held = second.run("link")
        assert held.code == 1
        assert "another program holds" in held.err
        removed = alice.run("devices", "--remove", "2")
        assert removed.row == {"removed": 2, "recovery_code": None}, removed.err
        ended = listener.wait(40)
        assert ended.code == 1
        assert "refused" in ended.err
    assert not second_can_log_in(login)
    assert second.state()["connection"] == "login_refused"
    (only,) = alice.run("devices").rows
    assert only["address"] == alice.address
    assert bob.run("send", alice.name, "after").code == 0
    heard = alice.run("listen", "--count", "1", "--timeout", "40")
    assert [row["text"] for row in heard.rows] == ["after"]
    assert [row[1] for row in history(second, bob.name)] == ["before"]
    for wrong in ("1", "2", "3"):
        refused = alice.run("devices", "--remove", wrong)
        assert refused.code == 2
        assert "nothing was changed" in refused.err


def second_can_log_in(login: Login) -> bool:
    return mosquitto_pub(login).code == 0


def mosquitto_pub(login: Login) -> Result:
    return mosquitto("mosquitto_pub", login, "-i", login.username, "-t", "v1/x", "-n")


def test_only_a_manager_links_and_a_removed_manager_takes_no_key_along(clinic: Clinic) -> None:
    alice, bob = clinic.doctor(), clinic.patient()
    second = linked_device(clinic, alice, "--manager")
    third = clinic.folder / f"{alice.name}.third.db"
    assert link(second, third)["address"] == f"{alice.name}-3"
    refused = User(alice.name, third).run("link")
    assert refused.code == 2
    assert "not have the account's key" in refused.err
    assert bob.run("send", alice.name, "to three").code == 0
    removed = alice.run("devices", "--remove", "2")
    assert removed.code == 0, removed.err
    assert len(str(removed.row["recovery_code"])) == 14 * 5 - 1
    for device in (alice, User(alice.name, third)):
        heard = device.run("listen", "--count", "1", "--timeout", "40")
        assert [row["text"] for row in heard.rows] == ["to three"], heard.err
    numbers = [(row["number"], row["manager"]) for row in alice.run("devices").rows]
    assert numbers == [(1, True), (3, False)]
    assert bob.run("send", alice.name, "under the new key").code == 0
    for device in (alice, User(alice.name, third)):
        heard = device.run("listen", "--count", "1", "--timeout", "40")
        assert [row["text"] for row in heard.rows] == ["under the new key"], heard.err


def test_linking_goes_on_after_either_side_was_killed(clinic: Clinic, tmp_path: Path) -> None:
    alice = clinic.doctor()
    store = tmp_path / "second.db"
    with alice.start("link") as linking:
        code = str(linking.row()["code"])
    with Program(ratchetmq("enroll", code, "--store", str(store), "--json")) as joining:
        until(store.exists, "the new device has made its keys")
        joining.kill()
    with alice.start("link", "--code", code) as linking:
        joined = run("enroll", code, "--store", str(store), "--json")
        assert joined.row["address"] == f"{alice.name}-2"
        assert linking.row()["linked"] == f"{alice.name}-2"
    again = alice.run("link", "--code", code)
    assert again.row["linked"] == f"{alice.name}-2"
    assert run("enroll", code, "--store", str(store), "--json").row == joined.row
    used = run("enroll", code, "--store", str(tmp_path / "thief.db"))
    assert used.code == 2
    assert not (tmp_path / "thief.db").exists()


@pytest.mark.parametrize("cut", [1, 40])
def test_a_wrong_code_is_refused_without_change(clinic: Clinic, tmp_path: Path, cut: int) -> None:
    alice = clinic.doctor()
    with alice.start("link") as linking:
        code = str(linking.row()["code"])
    refused = run("enroll", code[:-cut], "--store", str(tmp_path / "s.db"))
    assert refused.code == 2
    assert "nothing was stored" in refused.err
    assert list(tmp_path.iterdir()) == []
    assert len(alice.run("devices").rows) == 1
