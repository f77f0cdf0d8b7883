"""Losing a device, coming back, and contacts who had verified: over real processes."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from client_sdk import Messenger
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings
from keydir.records import Purpose
from tests.e2e.clinic import Clinic, User, until
from tests.e2e.programs import Program, Result, ratchetmq, run


class Owner:
    """A user with the recovery code that was shown, and later a second device."""

    def __init__(self, clinic: Clinic, prefix: str, role: str) -> None:
        self.clinic = clinic
        self.name = f"{prefix}{next(clinic._numbers)}"
        self.first = User(self.name, clinic.folder / f"{self.name}.db")
        enrolled = asyncio.run(
            Messenger.enroll(clinic.invitation(self.name, role), self.first.store)
        )
        self.code = enrolled.recovery_code

    @property
    def second(self) -> User:
        return User(self.name, self.clinic.folder / f"{self.name}-again.db")

    def invited_again(self, option: str) -> str:
        ended = run("invite", self.name, option, "--data", str(self.clinic.data), "--json")
        assert ended.code == 0, ended.err
        return str(ended.row["invitation"])

    def reset(self) -> Result:
        line = self.invited_again("--reset")
        return run("enroll", line, "--store", str(self.second.store), "--json")

    def recover(self, code: str, folder: Path, line: str) -> Result:
        file = folder / "code.txt"
        file.write_text(code)
        return run(
            *("recover", line, "--store", str(self.second.store), "--json"),
            *("--recovery-code-file", str(file)),
        )


@pytest.fixture
def alice(clinic: Clinic) -> Owner:
    return Owner(clinic, "alice", "patient")


@pytest.fixture
def bob(clinic: Clinic) -> User:
    return clinic.doctor()


def talk(one: User, other: User, text: str) -> None:
    """Send a text and see it arrive, with its receipt on the way back."""
    with other.listening("--count", "1", "--timeout", "60") as listener:
        sent = one.run("send", other.name, text, "--wait", "delivered", "--timeout", "60")
        assert (sent.code, sent.row["state"]) == (0, "delivered"), sent.err
        assert listener.row(60)["text"] == text


def identity(user: User, of: str) -> object:
    return user.run("safety-number", of).row["identity"]


def test_a_reset_stops_a_verified_contact_until_trust(alice: Owner, bob: User) -> None:
    talk(bob, alice.first, "before")
    assert bob.run("verify", alice.name).row == {"user": alice.name, "identity": "verified"}
    before = alice.first.run("safety-number", bob.name).row
    assert alice.name in str(bob.state()["verified"])

    back = alice.reset()
    assert back.code == 0, back.err
    assert back.row["address"] == f"{alice.name}-2"
    assert back.row["recovery_code"] != alice.code
    hello = alice.second.run("send", bob.name, "from the new key")
    assert hello.code == 0, hello.err

    with bob.start("listen", "--timeout", "8") as listener:
        heard = listener.wait(60)
    assert (heard.code, heard.out) == (3, "")
    assert heard.err.count("`trust") == 1
    unseen = bob.run("verify", alice.name)
    assert (unseen.code, unseen.out) == (2, "")
    assert f"(safety-number {alice.name})" in unseen.err
    assert bob.state()["changed"] == [alice.name]
    assert identity(bob, alice.name) == "changed"
    held = bob.run("send", alice.name, "only after trust", "--timeout", "3")
    assert held.row["state"] == "queued"
    for command in ("safety-number", "verify", "trust"):
        assert f"`{command} {alice.name}`" in held.err
    assert alice.second.run("listen", "--timeout", "4").out == ""
    after = bob.run("safety-number", alice.name).row
    assert after["digits"] != before["digits"]
    assert after["digits"] == alice.second.run("safety-number", bob.name).row["digits"]

    with bob.listening("--count", "1", "--timeout", "90") as listener:
        bob.wait_for_listener()
        assert bob.run("trust", alice.name).row == {"user": alice.name, "identity": "unverified"}
        assert listener.row(90)["text"] == "from the new key"
    with bob.listening():
        got = alice.second.run("listen", "--count", "1", "--timeout", "60")
    assert got.row["text"] == "only after trust"
    talk(bob, alice.second, "and on")


def test_a_reset_is_told_to_others_and_messages_flow(alice: Owner, bob: User) -> None:
    talk(bob, alice.first, "before")
    talk(alice.first, bob, "an answer")
    assert alice.reset().code == 0
    with bob.listening("--count", "1", "--timeout", "60") as listener:
        assert alice.second.run("send", bob.name, "hello again").code == 0
        assert listener.row(60)["text"] == "hello again"
        until(lambda: "another key" in listener.errors, "the listener warns")
    talk(bob, alice.second, "to the new device")
    assert identity(bob, alice.name) == "unverified"
    refused = alice.first.run("status")
    assert refused.row["connection"] == "login_refused"


def test_what_was_under_way_to_the_earlier_key_says_why_it_failed(alice: Owner, bob: User) -> None:
    with bob.start("send", alice.name, "for nobody", "--wait", "delivered") as sender:
        until(lambda: '"published"' in bob.run("history", alice.name).out, "it is under way")
        assert alice.reset().code == 0
        assert alice.second.run("send", bob.name, "from the new key").code == 0
        ended = sender.wait(60)
    assert (ended.code, ended.row["state"]) == (1, "failed")
    (line,) = ended.err.splitlines()
    assert "identity_changed" in line
    assert f"safety-number {alice.name}" in line


def test_recovery_keeps_the_identity_and_gets_what_was_missed(
    alice: Owner, bob: User, tmp_path: Path
) -> None:
    talk(bob, alice.first, "before")
    assert bob.run("verify", alice.name).code == 0
    missed = bob.run("send", alice.name, "to the lost device")
    assert missed.row["state"] == "published"

    line = alice.invited_again("--recover")
    code = list(alice.code)
    code[0] = "1" if code[0] == "0" else "0"
    wrong = alice.recover("".join(code), tmp_path, line)
    assert (wrong.code, wrong.out) == (2, "")
    assert "nothing was changed" in wrong.err
    assert not alice.second.store.exists()
    back = alice.recover(alice.code.lower().replace("-", " "), tmp_path, line)
    assert back.code == 0, back.err
    assert back.row == {"address": f"{alice.name}-2", "recovery_code": alice.code}
    assert alice.recover(alice.code, tmp_path, line).row == back.row

    with bob.listening() as listener:
        got = alice.second.run("listen", "--count", "1", "--timeout", "60")
        assert got.row["text"] == "to the lost device", got.err
        assert "another key" not in listener.errors
    assert identity(bob, alice.name) == "verified"
    talk(bob, alice.second, "and on")
    talk(alice.second, bob, "yes")
    assert alice.first.run("status").row["connection"] == "login_refused"


def test_a_recovery_that_is_killed_again_and_again_goes_on(
    alice: Owner, bob: User, tmp_path: Path
) -> None:
    line = alice.invited_again("--recover")
    file = tmp_path / "code.txt"
    file.write_text(alice.code)
    store = alice.second.store
    command = ("recover", line, "--store", str(store), "--recovery-code-file", str(file))
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4):
        with Program(ratchetmq(*command)) as program:
            until(lambda p=program: store.exists() or not p.running, "its store is there")
            time.sleep(delay)  # the kill comes at another step each time
            program.kill()
    back = run(*command, "--json")
    assert back.code == 0, back.err
    assert back.row == {"address": f"{alice.name}-2", "recovery_code": alice.code}
    talk(bob, alice.second, "still the same alice")


def test_what_an_invitation_is_not_for_is_refused(
    clinic: Clinic, alice: Owner, tmp_path: Path
) -> None:
    plain = run("invite", alice.name, "--data", str(clinic.data))
    assert (plain.code, plain.out) == (2, "")
    assert "--recover" in plain.err
    nobody = run("invite", "nobody_here", "--reset", "--data", str(clinic.data))
    assert (nobody.code, nobody.out) == (2, "")
    both = run("invite", alice.name, "--reset", "--recover", "--data", str(clinic.data))
    assert (both.code, both.out) == (2, "")
    line = alice.invited_again("--recover")
    enrolled = run("enroll", line, "--store", str(alice.second.store))
    assert (enrolled.code, enrolled.out) == (2, "")
    assert "use recover" in enrolled.err
    fresh = clinic.invitation("somebody_new", "patient")
    recovered = alice.recover(alice.code, tmp_path, fresh)
    assert (recovered.code, recovered.out) == (2, "")
    other = Owner(clinic, "other", "patient")
    foreign = alice.recover(other.code, tmp_path, line)
    assert (foreign.code, foreign.out) == (2, "")
    assert "not the recovery code" in foreign.err
    assert not alice.second.store.exists()
    assert alice.first.run("status").row["connection"] == "connected"


def test_a_reset_invitation_takes_the_recovery_code_as_well(alice: Owner, tmp_path: Path) -> None:
    back = alice.recover(alice.code, tmp_path, alice.invited_again("--reset"))
    assert back.row == {"address": f"{alice.name}-2", "recovery_code": alice.code}


def test_a_scan_of_the_other_side_s_code_matches_and_no_other(
    alice: Owner, bob: User, tmp_path: Path
) -> None:
    picture = tmp_path / "code.svg"
    mine = bob.run("safety-number", alice.name, "--svg", str(picture)).row
    theirs = alice.first.run("safety-number", bob.name).row
    assert re.match(r"<svg [^>]*>.*</svg>\s*\Z", picture.read_text(), re.DOTALL)
    assert mine["qr"] != theirs["qr"]
    for text, same in (
        (theirs["qr"], True),
        (theirs["digits"], True),
        (mine["qr"], False),
        ("0" * 60, False),
    ):
        compared = bob.run("safety-number", alice.name, "--scan", str(text))
        assert (compared.code, compared.row["matches"]) == (0 if same else 1, same)
        again = bob.run("safety-number", alice.name, "--matches", str(text))
        assert again.row["matches"] is same
    for no_scan in ("xyz", str(mine["qr"])[:-1]):
        refused = bob.run("safety-number", alice.name, "--scan", no_scan)
        assert (refused.code, refused.out) == (2, "")
        assert "this is not a safety number's scan text" in refused.err


def test_a_revoked_user_is_taken_back_by_a_reset(clinic: Clinic, alice: Owner, bob: User) -> None:
    assert run("revoke", alice.name, "--data", str(clinic.data)).code == 0
    settings = DirectorySettings(data_dir=clinic.data)
    line = invite(settings, Invite(alice.name, purpose=Purpose.RESET)).invitation
    assert run("enroll", line, "--store", str(alice.second.store)).code == 0
    talk(alice.second, bob, "back")
