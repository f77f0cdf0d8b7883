"""What people do to commands: odd terminals, full disks, Ctrl-C at once, pasted invitations."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.clinic import Clinic, User, texts, until
from tests.e2e.programs import (
    PASSPHRASE_VARIABLE,
    PATIENCE_SECONDS,
    Program,
    Result,
    ratchetmq,
    run,
    run_command,
)

ASCII_ONLY = ("env", "LC_ALL=POSIX", "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0")


@pytest.fixture(scope="module")
def pair(clinic: Clinic) -> tuple[User, User]:
    """A doctor and a patient; no test here leaves something waiting that another one reads."""
    return clinic.doctor(), clinic.patient()


def one_clear_line(ended: Result, code: int, *words: str) -> None:
    shown = f"{ended.code}\n{ended.out}\n{ended.err}"
    assert ended.code == code, shown
    assert re.fullmatch(r"ratchetmq: [^\n]+\n", ended.err), shown
    for word in words:
        assert word in ended.err, shown


def to_full_disk(*arguments: str) -> Result:
    return run_command(["sh", "-c", '"$@" > /dev/full', "sh", *ratchetmq(*arguments)])


def test_the_version_is_printed() -> None:
    ended = run("--version")
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", ended.out)


def test_an_empty_host_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    for command in ("serve", "broker"):
        ended = run(command, "--host", "", "--data", str(tmp_path / "d"), "--port", "0")
        one_clear_line(ended, 2, "--host")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_stdout_that_takes_nothing_ends_the_operator_s_commands_clearly(
    clinic: Clinic, tmp_path: Path
) -> None:
    data = ("--data", str(clinic.data))
    for form in ((), ("--json",)):
        ended = to_full_disk("invite", "unseen", "--role", "patient", *data, *form)
        one_clear_line(ended, 1, "invite again")
        one_clear_line(to_full_disk("revoke", "unseen", *data, *form), 1, "revoked")
        assert run("invite", "unseen", "--role", "patient", *data).code == 0
    one_clear_line(to_full_disk("serve", "--data", str(tmp_path / "d"), "--port", "0"), 1, "stdout")
    closed = ["sh", "-c", '"$@" >&-', "sh", *ratchetmq("invite", "x", "--role", "patient", *data)]
    one_clear_line(run_command(closed), 1, "invite again")


def test_ctrl_c_while_the_program_loads_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ended = run_command(["env", f"PYTHONPATH={tmp_path}:{Path.cwd()}", *ratchetmq("--help")])
    assert (ended.code, ended.out, ended.err) == (1, "", "")


def test_ctrl_c_while_a_command_connects_ends_it_with_one(pair: tuple[User, User]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        with pair[0].start("status", "--broker-url", url) as program:
            connection, _ = silent.accept()
            with connection:
                ended = program.end(signal.SIGINT)
    assert (ended.code, ended.out, ended.err) == (1, "", "")


def test_ctrl_c_while_a_device_joins_says_how_to_go_on(
    clinic: Clinic, pair: tuple[User, User], tmp_path: Path
) -> None:
    line = clinic.invitation("interrupted", "patient")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = ("--broker-url", f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        enroll = ratchetmq("enroll", line, "--store", str(tmp_path / "s.db"), *url)
        with Program(enroll) as program:
            connection, _ = silent.accept()
            with connection:
                one_clear_line(program.end(signal.SIGINT), 1, "the same `enroll`")
        with pair[0].start("link", *url) as program:
            connection, _ = silent.accept()
            with connection:
                one_clear_line(program.end(signal.SIGINT), 1, "before there was a code")
    with pair[0].start("link") as program:
        code = str(program.row()["code"])
        ended = program.end(signal.SIGINT)
    one_clear_line(ended, 1, f"--store {pair[0].store} --code CODE")
    assert code not in ended.err


def test_a_broker_that_does_not_answer_is_named(clinic: Clinic) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        where = ("--broker-url", url)
        with (
            doctor.start("status", *where) as status,
            patient.start("send", doctor.name, "--stdin", "--timeout", "1", *where) as sender,
        ):
            sender.write(b"one\ntwo\n")
            sender.end_input()
            shown, sent = status.wait(), sender.wait()
    assert shown.row["connection"] == f"no connection yet, trying {url}"
    one_clear_line(sent, 0, url, "stays queued")
    assert [row["state"] for row in sent.rows] == ["queued"] * 2


def test_receipts_that_do_not_come_are_told_once_in_the_words_of_the_output(
    clinic: Clinic,
) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
    late = ("--wait", "delivered", "--timeout", "0")
    one = doctor.run("send", patient.name, "late", *late)
    assert f"is {one.row['state']} so far" in one.err
    assert "planned" not in one.err
    two = doctor.run("send", patient.name, "--stdin", *late, stdin=b"a\nb\n")
    one_clear_line(two, 3, "2 of 2 messages were not delivered in time")
    away = doctor.run("send", patient.name, "x", *late, "--broker-url", gone)
    assert (away.code, away.row["state"]) == (3, "queued")
    assert "is queued so far" in away.err


def test_a_link_is_shown_to_a_person_as_a_command_that_works(pair: tuple[User, User]) -> None:
    ours, terminal = os.openpty()
    command = ratchetmq("link", "--store", str(pair[0].store), "--timeout", "1")
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL) as linking:
        os.close(terminal)
        assert linking.wait(PATIENCE_SECONDS) == 3
    shown = os.read(ours, 65536).decode().splitlines()
    os.close(ours)
    assert shown[1].strip() == "ratchetmq enroll - --store FILE"
    assert shown[3].strip().startswith("rmqlink1.")


def test_a_passphrase_that_is_not_utf_8_is_named(pair: tuple[User, User], tmp_path: Path) -> None:
    command = ratchetmq("status", "--store", str(pair[0].store))
    named = b"\xff\xfe".decode(errors="surrogateescape")
    one_clear_line(
        run_command(["env", f"{PASSPHRASE_VARIABLE}={named}", *command]), 2, PASSPHRASE_VARIABLE
    )
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    file = pair[0].run("status", "--passphrase-file", str(tmp_path / "binary"))
    one_clear_line(file, 2, "passphrase file", "UTF-8")
    missing = pair[0].run("status", "--passphrase-file", str(tmp_path / "none"))
    one_clear_line(missing, 2, "passphrase file", "No such file or directory")


def test_a_passphrase_is_the_same_in_every_locale(clinic: Clinic, tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "s.db"))
    invitation = clinic.invitation("polyglot", "patient")
    assert run("enroll", invitation, *store, passphrase="pässwörd").code == 0
    ended = run_command([*ASCII_ONLY, *ratchetmq("status", *store)], passphrase="pässwörd")
    assert (ended.code, ended.err) == (0, "")


def test_a_text_in_an_argument_is_utf_8_in_every_locale(clinic: Clinic) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    command = ratchetmq("send", "--store", str(doctor.store), patient.name, "ünï")
    ended = run_command([*ASCII_ONLY, *command])
    assert (ended.code, ended.err) == (0, "")
    assert texts(patient.run("listen", "--count", "1", "--timeout", "20").rows) == ["ünï"]


def test_a_revoked_device_is_told_why_its_text_stays_queued(clinic: Clinic) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    assert run("revoke", doctor.name, "--data", str(clinic.data)).code == 0
    until(lambda: doctor.state()["connection"] == "login_refused", "the revoked login is refused")
    for form in (["late"], ["--stdin"]):
        ended = doctor.run("send", patient.name, *form, stdin=b"late\n")
        one_clear_line(ended, 0, "refused")
        assert [row["state"] for row in ended.rows] == ["queued"]


def test_contacts_that_were_never_fetched_are_said_to_be_unknown(clinic: Clinic) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
    empty = clinic.patient().run("contacts", "--broker-url", gone)
    one_clear_line(empty, 0, "no contacts are known here yet", "no broker")


def test_listen_without_a_connection_says_why(pair: tuple[User, User]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
    one_clear_line(pair[0].run("listen", "--timeout", "1", "--broker-url", gone), 3, "no broker")


@pytest.mark.parametrize("form", ["quoted", "marked", "spaced"])
def test_an_invitation_is_found_in_what_was_pasted(
    clinic: Clinic, tmp_path: Path, form: str
) -> None:
    line = clinic.invitation(f"pasted-{form}".replace("-", ""), "patient")
    pasted = {"quoted": f'"{line}"', "marked": f"\ufeff{line}", "spaced": f"\ufeff\r\n \n{line}\r"}
    store = ("--store", str(tmp_path / "s.db"))
    read = run("enroll", "-", *store, stdin=f"{pasted[form]}\n".encode(), passphrase="x")
    assert (read.code, read.err) == (0, "")
    given = run("enroll", pasted[form], *store, passphrase="x")
    assert given.row == read.row


def test_a_wrong_broker_address_leaves_no_store(clinic: Clinic, tmp_path: Path) -> None:
    line = clinic.invitation("elsewhere", "patient")
    ended = run("enroll", line, "--store", str(tmp_path / "s.db"), "--broker-url", "http://x")
    one_clear_line(ended, 2, "address")
    assert list(tmp_path.iterdir()) == []


def test_a_served_system_ends_at_a_signal_of_its_whole_group(tmp_path: Path) -> None:
    command = ratchetmq("broker", "--data", str(tmp_path / "d"), "--port", "0")
    with Program(command) as broker:
        url = str(broker.row()["url"])
        directory = ratchetmq("keydir", "--data", str(tmp_path / "d"), "--broker-url", url)
        with Program(directory) as alone:
            assert alone.line() == b"ready\n"
            for program in (broker, alone):
                os.kill(program.pid, signal.SIGTERM)
            assert [program.wait(10).code for program in (broker, alone)] == [0, 0]
