"""What every command prints and how it ends, on one running server."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.conftest import RequireProgram
from tests.e2e.clinic import Clinic, User, mosquitto
from tests.e2e.programs import Program, ratchetmq, run

MESSAGE_ID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def pair(clinic: Clinic) -> tuple[User, User]:
    """A doctor and a patient who have exchanged nothing yet."""
    return clinic.doctor(), clinic.patient()


def test_invite_prints_one_line_or_one_object(clinic: Clinic) -> None:
    line = run("invite", "line", "--role", "patient", "--data", str(clinic.data))
    assert (line.code, line.err) == (0, "")
    assert re.fullmatch(r"rmq1\.[A-Za-z0-9_=-]+\n", line.out)
    row = run(
        "invite", "row", "--role", "doctor", "--name", "Dr. Ö", "--data", str(clinic.data), "--json"
    ).row
    assert (row["user"], row["role"]) == ("row", "doctor")
    assert str(row["invitation"]).startswith("rmq1.")
    assert isinstance(row["expires_at"], int)
    assert row["expires_at"] > time.time() * 1000


def test_invite_writes_a_new_file_for_its_owner_alone(clinic: Clinic, tmp_path: Path) -> None:
    file = tmp_path / "filed.invitation"
    command = ("invite", "filed", "--role", "patient", "--data", str(clinic.data))
    refused = run(*command[:3], "king", *command[4:], "--out", str(file))
    assert (refused.code, file.exists()) == (2, False)
    row = run(*command, "--out", str(file), "--json").row
    assert (row["user"], row["file"]) == ("filed", str(file))
    assert "invitation" not in row
    line = file.read_text()
    assert re.fullmatch(r"rmq1\.[A-Za-z0-9_=-]+\n", line)
    assert file.stat().st_mode & 0o777 == 0o600
    again = run(*command, "--out", str(file))
    assert (again.code, again.out) == (2, "")
    assert f"{file} exists; nothing was changed" in again.err
    assert file.read_text() == line
    assert run("enroll", line.strip(), "--store", str(tmp_path / "filed.db")).code == 0


def test_enroll_takes_the_invitation_from_stdin_and_answers_the_same_again(
    clinic: Clinic, tmp_path: Path
) -> None:
    invitation = clinic.invitation("stdin", "patient").encode() + b"\n"
    where = ("enroll", "-", "--store", str(tmp_path / "store.db"))
    first = run(*where, stdin=invitation, passphrase="correct horse")
    assert (first.code, first.err) == (0, "")
    assert set(first.row) == {"address", "recovery_code"}
    assert first.row["address"] == "stdin-1"
    again = run(*where, stdin=invitation, passphrase="correct horse")
    assert again.row == first.row
    file = tmp_path / "passphrase"
    file.write_text("correct horse\n")
    opened = run(
        "status", "--store", str(tmp_path / "store.db"), "--passphrase-file", str(file), "--json"
    )
    assert opened.row["address"] == "stdin-1"
    assert (tmp_path / "store.db").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "store.db.key").exists()


def test_enroll_without_passphrase_warns_of_the_key_file(clinic: Clinic, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    ended = run("enroll", clinic.invitation("warned", "patient"), "--store", str(store))
    assert ended.code == 0
    assert ended.err.count("\n") == 1
    assert "store.db.key" in ended.err
    assert (tmp_path / "store.db.key").stat().st_mode & 0o777 == 0o600


def test_send_listen_and_history_agree(pair: tuple[User, User]) -> None:
    doctor, patient = pair
    before = int(time.time() * 1000)
    sent = doctor.run("send", patient.name, "hello")
    assert (sent.code, sent.err) == (0, "")
    assert set(sent.row) == {"id", "state"}
    assert sent.row["state"] == "published"
    assert MESSAGE_ID.fullmatch(str(sent.row["id"]))
    received = patient.run("listen", "--count", "1", "--timeout", "20")
    assert (received.code, received.err) == (0, "")
    sent_at = received.row["sent_at"]
    assert isinstance(sent_at, int)
    assert before <= sent_at <= time.time() * 1000
    assert received.row == {
        "id": sent.row["id"],
        "sender": doctor.name,
        "conversation": doctor.name,
        "seq": 1,
        "text": "hello",
        "sent_at": sent_at,
    }
    told = patient.run("send", doctor.name, "an answer")
    assert told.code == 0
    assert doctor.run("listen", "--count", "1", "--timeout", "20").row["text"] == "an answer"
    mine = doctor.run("history", patient.name).rows
    assert [(row["outgoing"], row["text"], row["state"]) for row in mine] == [
        (True, "hello", "delivered"),
        (False, "an answer", "handled"),
    ]
    (newest,) = doctor.run("history", patient.name, "--limit", "1").rows
    (older,) = doctor.run("history", patient.name, "--before", str(newest["position"])).rows
    assert [older, newest] == mine
    theirs = patient.run("history", doctor.name).rows
    assert [row["id"] for row in theirs] == [row["id"] for row in mine]


def test_send_waits_for_the_receipt_or_times_out_with_three(pair: tuple[User, User]) -> None:
    doctor, patient = pair
    late = doctor.run("send", patient.name, "anyone?", "--wait", "delivered", "--timeout", "1")
    assert late.code == 3
    assert late.row["state"] == "published"
    assert late.err.count("\n") == 1
    with patient.listening():
        heard = doctor.run("send", patient.name, "yes", "--wait", "delivered", "--timeout", "20")
    assert (heard.code, heard.err, heard.row["state"]) == (0, "", "delivered")


def test_send_stdin_waits_for_every_receipt(pair: tuple[User, User]) -> None:
    doctor, patient = pair
    with patient.listening():
        ended = doctor.run(
            "send",
            patient.name,
            *("--stdin", "--wait", "delivered", "--timeout", "20"),
            stdin=b"one\ntwo\nthree, without a newline at its end",
        )
    assert (ended.code, [row["state"] for row in ended.rows]) == (0, ["delivered"] * 3)


def test_listen_without_news_times_out_with_three(clinic: Clinic) -> None:
    quiet = clinic.patient().run("listen", "--timeout", "1")
    assert (quiet.code, quiet.out) == (3, "")
    assert quiet.err == "ratchetmq: --timeout ended it after 1 s\n"


def test_contacts_are_those_of_the_policy(pair: tuple[User, User]) -> None:
    doctor, patient = pair
    rows = patient.run("contacts").rows
    assert {"user": doctor.name, "role": "doctor", "name": doctor.name} in rows
    assert {row["role"] for row in rows} == {"doctor"}


def test_the_safety_number_is_the_same_on_both_sides(pair: tuple[User, User]) -> None:
    doctor, patient = pair
    mine = doctor.run("safety-number", patient.name).row
    theirs = patient.run("safety-number", doctor.name).row
    assert mine["user"] == patient.name
    assert mine["digits"] == theirs["digits"]
    assert re.fullmatch(r"\d{60}", str(mine["digits"]))


def test_status_tells_who_and_how_much_waits(pair: tuple[User, User]) -> None:
    row = pair[0].state()
    assert row["address"] == pair[0].address
    assert (row["role"], row["connection"]) == ("doctor", "connected")
    assert {"queued", "under_way", "unread", "one_time_prekeys"} < set(row)


def test_credentials_open_the_device_s_own_topics_to_mosquitto_sub(
    clinic: Clinic, require_program: RequireProgram
) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    fields = patient.run("credentials").row
    assert fields == {
        "broker_url": clinic.url,
        "username": patient.address,
        "password": fields["password"],
        "client_id": patient.address,
        "topic": f"v1/u/{patient.address}/in/#",
        "ca_file": None,
    }
    doctor.run("send", patient.name, "a secret under seal")
    seen = mosquitto(
        require_program("mosquitto_sub"),
        patient.login(),
        *("-i", patient.address, "-t", str(fields["topic"]), "-v", "-C", "1", "-W", "5"),
    )
    assert seen.code == 0, seen.err
    assert seen.out.startswith(f"v1/u/{patient.address}/in/{doctor.address}/")
    assert "a secret" not in seen.out
    assert patient.run("listen", "--count", "1", "--timeout", "20").row["text"]


def test_serve_says_ready_and_ends_with_zero_at_sigterm(tmp_path: Path) -> None:
    with Program(ratchetmq("serve", "--data", str(tmp_path / "d"), "--port", "0")) as server:
        ready = server.row()
        assert ready["event"] == "ready"
        assert re.fullmatch(r"mqtt://127\.0\.0\.1:\d+", str(ready["url"]))
        ended = server.end()
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == 1


def test_output_is_readable_json_for_pipes_even_without_json(pair: tuple[User, User]) -> None:
    doctor, patient = pair
    ended = run("history", patient.name, "--store", str(doctor.store))
    assert all(isinstance(json.loads(line), dict) for line in ended.out.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ["send", "pat"],
        ["send", "pat", "text", "--stdin"],
        ["send", "pat", "text", "--wait", "forever"],
        ["listen", "--count", "0"],
        ["listen", "--timeout", "soon"],
        ["history"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_ends_with_two(pair: tuple[User, User], command: list[str]) -> None:
    ended = run(*command, "--store", str(pair[0].store))
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err
    assert "Traceback" not in ended.err
