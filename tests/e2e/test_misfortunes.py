"""Every misfortune of a command: one clear line, exit 1 or 2, and nothing changed."""

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from client_sdk.stores.schema import SCHEMA_VERSION
from tests.e2e.clinic import Clinic, User, picture, texts
from tests.e2e.programs import Program, Result, ratchetmq, run, run_command

LIMITED = 'ulimit -f {blocks}; exec "$@"'


@pytest.fixture
def user(clinic: Clinic) -> User:
    """A device of its own for each test: copies of one would be noticed as what they are."""
    return clinic.doctor()


@pytest.fixture(scope="module")
def contact(clinic: Clinic) -> User:
    return clinic.patient()


def one_clear_line(ended: Result, code: int, *words: str) -> None:
    shown = f"{ended.code}\n{ended.out}\n{ended.err}"
    assert ended.code == code, shown
    assert re.fullmatch(r"ratchetmq: [^\n]+\n", ended.err), shown
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err, shown


def unchanged(user: User) -> dict[str, str]:
    """Return what of a store must not change; its log and lock may come and go."""
    return picture(user.store, Path(f"{user.store}.key"))


def test_a_wrong_passphrase(clinic: Clinic, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    line = clinic.invitation("secretive", "patient")
    assert run("enroll", line, "--store", str(store), passphrase="right").code == 0
    before = picture(tmp_path)
    for wrong in (["listen"], ["send", "doc", "x"], ["credentials"]):
        ended = run(*wrong, "--store", str(store), passphrase="wrong")
        one_clear_line(ended, 2, "passphrase is wrong")
        assert ended.out == ""
    one_clear_line(run("enroll", line, "--store", str(store), passphrase="wrong"), 2, "passphrase")
    needed = run("status", "--store", str(store))
    one_clear_line(needed, 2, "--passphrase-file", "RATCHETMQ_PASSPHRASE")
    assert picture(tmp_path) == before


def test_a_used_invitation(clinic: Clinic, tmp_path: Path) -> None:
    line = clinic.invitation("once", "patient")
    assert run("enroll", line, "--store", str(tmp_path / "first.db")).code == 0
    before = picture(tmp_path)
    ended = run("enroll", line, "--store", str(tmp_path / "second.db"))
    one_clear_line(ended, 2, "used")
    assert picture(tmp_path) == before
    assert ended.out == ""


def test_a_second_invitation_for_a_store_that_is_taken(
    clinic: Clinic, user: User, tmp_path: Path
) -> None:
    before = unchanged(user)
    line = clinic.invitation("other", "patient")
    one_clear_line(run("enroll", line, "--store", str(user.store)), 2, "belongs to")
    assert unchanged(user) == before


@pytest.mark.parametrize("damage", ["cut", "swapped", "empty", "prose", "binary"])
def test_a_garbled_invitation(clinic: Clinic, tmp_path: Path, damage: str) -> None:
    line = clinic.invitation("garbled", "patient")
    swapped = "A" if line[60] != "A" else "B"
    garbled = {
        "cut": line[:-5].encode(),
        "swapped": f"{line[:60]}{swapped}{line[61:]}".encode(),
        "empty": b"",
        "prose": b"please let me in",
        "binary": b"\xff\xfe\x00rmq1.",
    }[damage]
    ended = run("enroll", "-", "--store", str(tmp_path / "new.db"), stdin=garbled + b"\n")
    one_clear_line(ended, 2, "invitation")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_recipient(user: User) -> None:
    one_clear_line(user.run("send", "nobody", "text"), 2, "nobody")
    one_clear_line(user.run("send", "No Such Name!", "text"), 2)
    one_clear_line(user.run("send", user.name, "text"), 2)
    one_clear_line(user.run("safety-number", "nobody"), 2, "contact")
    assert user.run("history", "nobody").out == ""


def test_a_junk_store(user: User) -> None:
    user.store.write_bytes(b"not a store " * 1000)
    before = unchanged(user)
    for command in (["send", "pat", "x"], ["history", "pat"]):
        one_clear_line(user.run(*command), 2, "store")
    one_clear_line(user.run("enroll", "rmq1.AAAA"), 2)
    assert unchanged(user) == before
    user.store.write_bytes(b"short")
    one_clear_line(user.run("status"), 2, "store")


def test_junk_is_not_overwritten_by_enrolling(clinic: Clinic, tmp_path: Path) -> None:
    store = tmp_path / "thesis.txt"
    store.write_text("years of work\n" * 100)
    before = picture(tmp_path)
    line = clinic.invitation("overwriter", "patient")
    one_clear_line(run("enroll", line, "--store", str(store)), 2)
    one_clear_line(run("enroll", line, "--store", str(store), passphrase="x"), 2)
    assert picture(tmp_path) == before


def test_a_missing_store(tmp_path: Path) -> None:
    store = tmp_path / "none.db"
    for command in (["send", "pat", "x"], ["history", "pat"]):
        one_clear_line(run(*command, "--store", str(store)), 2, "no store")
    one_clear_line(run("credentials", "--store", str(store)), 2, "no store")
    one_clear_line(run("listen", "--store", str(tmp_path)), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_a_newer_version(user: User) -> None:
    key = Path(f"{user.store}.key").read_bytes().hex() + user.store.read_bytes()[:16].hex()
    database = sqlcipher.connect(str(user.store), isolation_level=None)
    database.execute(f"PRAGMA key = \"x'{key}'\"")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    database.close()
    before = unchanged(user)
    for command in (["listen"], ["credentials"]):
        one_clear_line(user.run(*command), 2, "newer")
    assert unchanged(user) == before


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("serve", "--data", str(tmp_path / "d"), "--port", port)
    one_clear_line(ended, 1, port, "in use")
    assert ended.out == ""


def test_a_data_directory_that_is_served_already(clinic: Clinic) -> None:
    one_clear_line(run("serve", "--data", str(clinic.data), "--port", "0"), 1)
    assert clinic.server.running


@pytest.mark.parametrize("below", ["file", "immutable"])
def test_a_folder_that_cannot_be_written(
    clinic: Clinic, tmp_path: Path, below: str, immutable: Path
) -> None:
    (tmp_path / "file").write_text("content")
    folder = tmp_path / "file" if below == "file" else immutable
    before = picture(tmp_path)
    ended = run("serve", "--data", str(folder / "d"), "--port", "0")
    one_clear_line(ended, 1)
    line = clinic.invitation("homeless", "patient")
    one_clear_line(run("enroll", line, "--store", str(folder / "s.db")), 2)
    one_clear_line(run("invite", "x", "--role", "patient", "--data", str(folder / "d")), 1)
    assert picture(tmp_path) == before


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Path]:
    """A folder that even root cannot write to, where chattr works."""
    folder = tmp_path / "immutable"
    folder.mkdir()
    chattr = shutil.which("chattr")
    done = chattr and subprocess.run([chattr, "+i", folder], capture_output=True, check=False)
    if not done or done.returncode:
        folder.rmdir()
        folder = Path("/proc/self")
    yield folder
    if done and not done.returncode:
        subprocess.run([str(chattr), "-i", folder], capture_output=True, check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here; the limit on file sizes is tested")
    yield folder
    subprocess.run(["umount", "-l", folder], capture_output=True, check=True)


def fill(folder: Path, left: int) -> None:
    free = shutil.disk_usage(folder).free
    (folder / "filler").write_bytes(bytes(max(free - left, 0)))


def test_a_full_disk_under_a_store(user: User, contact: User, small_disk: Path) -> None:
    moved = User(user.name, small_disk / "store.db")
    for suffix in ("", ".key"):
        shutil.copy(f"{user.store}{suffix}", f"{moved.store}{suffix}")
    fill(small_disk, left=0)
    for command in (["send", contact.name, "x" * 5000], ["status"]):
        one_clear_line(moved.run(*command), 1, "space")
    (small_disk / "filler").unlink()
    assert moved.run("history", contact.name).out == ""
    assert moved.run("send", contact.name, "there is space again").code == 0


def test_a_disk_that_fills_up_while_sending(user: User, contact: User, small_disk: Path) -> None:
    moved = User(user.name, small_disk / "store.db")
    for suffix in ("", ".key"):
        shutil.copy(f"{user.store}{suffix}", f"{moved.store}{suffix}")
    fill(small_disk, left=150_000)
    lines = ("y" * 9000 + "\n") * 60
    ended = moved.run("send", contact.name, "--stdin", stdin=lines.encode())
    one_clear_line(ended, 1, "space")
    (small_disk / "filler").unlink()
    stored = moved.run("history", contact.name, "--limit", "1000").rows
    queued = [row["id"] for row in ended.rows]
    assert [row["id"] for row in stored][: len(queued)] == queued
    assert len(stored) <= len(queued) + 1


def test_a_full_disk_under_enrolment_and_server(
    clinic: Clinic, small_disk: Path, tmp_path: Path
) -> None:
    fill(small_disk, left=20_000)
    store = small_disk / "new.db"
    line = clinic.invitation("cramped", "patient")
    one_clear_line(run("enroll", line, "--store", str(store)), 1)
    one_clear_line(run("serve", "--data", str(small_disk / "d"), "--port", "0"), 1)
    (small_disk / "filler").unlink()
    assert run("enroll", line, "--store", str(store)).code == 0


def test_a_limit_on_file_sizes(user: User, contact: User) -> None:
    before = user.run("history", contact.name).out
    command = ratchetmq("send", "--store", str(user.store), contact.name, "z" * 50_000, "--json")
    limited = ["sh", "-c", LIMITED.format(blocks=32), "sh", *command]
    one_clear_line(run_command(limited), 1)
    assert user.run("history", contact.name).out == before


def test_invalid_utf_8_on_stdin(user: User, contact: User) -> None:
    ended = user.run(
        "send", contact.name, "--stdin", stdin="good ✓\n".encode() + b"bad \xff\xfe\nnever read\n"
    )
    one_clear_line(ended, 2, "line 2", "UTF-8")
    assert [row["state"] for row in ended.rows] == ["queued"]
    assert texts(user.run("history", contact.name).rows) == ["good ✓"]


def test_invalid_utf_8_in_an_argument(user: User, contact: User) -> None:
    command: list[str] = ratchetmq("send", "--store", str(user.store), contact.name)
    ended = run_command([*command, b"\xff\xfe".decode(errors="surrogateescape")])
    one_clear_line(ended, 2)
    assert user.run("history", contact.name).out == ""


@pytest.mark.parametrize("over", [61_440, 2_000_000])
def test_a_text_that_is_too_long(user: User, contact: User, over: int) -> None:
    line = b"a" * (over + 1) + b"\n"
    ended = user.run("send", contact.name, "--stdin", stdin=line + b"after it\n")
    one_clear_line(ended, 2)
    assert ended.out == ""
    assert user.run("history", contact.name).out == ""


def test_no_network(user: User, contact: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
    away = ("--broker-url", gone)
    queued = user.run("send", contact.name, "for later", *away)
    one_clear_line(queued, 0, "no broker")
    assert queued.row["state"] == "queued"
    assert user.run("status", *away).row["connection"] == "broker_unreachable"
    there = user.login()
    both = (*away, "--broker-url", f"mqtt://{there.host}:{there.port}")
    assert user.run("status", *both).row["connection"] == "connected"
    assert user.run("listen", "--timeout", "1", *away).code == 3
    one_clear_line(user.run("safety-number", contact.name, *away), 1)
    one_clear_line(user.run("send", contact.name, "x", "--broker-url", "http://x"), 2, "address")
    late = user.run("send", contact.name, "x", "--wait", "delivered", "--timeout", "1", *away)
    assert (late.code, late.row["state"]) == (3, "queued")
    assert "Traceback" not in late.err


def test_enrolling_without_network_leaves_nothing_and_works_later(
    clinic: Clinic, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
    line = clinic.invitation("early", "patient")
    store = str(tmp_path / "s.db")
    one_clear_line(run("enroll", line, "--store", store, "--broker-url", gone), 1, "no broker")
    assert list(tmp_path.iterdir()) == []
    assert run("enroll", line, "--store", store).code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_listen_ends_it_quietly(user: User, number: signal.Signals) -> None:
    before = user.state()
    with user.listening() as listener:
        user.wait_for_listener()
        ended = listener.end(number)
    assert (ended.code, ended.out) == (0, "")
    at_keyboard = "ratchetmq: interrupted; what was not printed is kept for the next `listen`\n"
    said = at_keyboard if number == signal.SIGINT else ""
    assert ended.err == said
    with user.listening("--count", "1") as counting:
        user.wait_for_listener()
        ended = counting.end(number)
    assert (ended.code, ended.out, ended.err) == (1, "", said)
    assert user.state() == before


def test_interrupting_send_says_no_traceback(user: User, contact: User) -> None:
    with user.start("send", contact.name, "--stdin") as sender:
        sender.write(b"one\n")
        first = sender.row()
        assert first["state"] == "queued"
        ended = sender.end(signal.SIGINT)
    one_clear_line(ended, 1, f"message {first['id']} stays queued", "do not send it again")
    assert texts(user.run("history", contact.name).rows) == ["one"]
    with user.start("send", contact.name, "--stdin") as sender:
        sender.write(b"two\nthree\n")
        assert [sender.row()["state"], sender.row()["state"]] == ["queued"] * 2
        ended = sender.end(signal.SIGINT)
    one_clear_line(ended, 1, "2 messages stay queued", "do not send them again")
    with user.start("send", contact.name, "--stdin") as sender:
        user.wait_for_listener()
        ended = sender.end(signal.SIGINT)
    one_clear_line(ended, 1, "nothing was queued")


def test_interrupting_serve_ends_it_cleanly(tmp_path: Path) -> None:
    with Program(ratchetmq("serve", "--data", str(tmp_path / "d"), "--port", "0")) as server:
        server.row()
        ended = server.end(signal.SIGINT)
    assert (ended.code, ended.err) == (0, "")


def test_a_reader_that_goes_away_ends_listen_without_a_traceback(
    clinic: Clinic, user: User, contact: User
) -> None:
    contact.run("send", user.name, "to a closed pipe")
    command = ratchetmq("listen", "--store", str(user.store), "--timeout", "10", "--json")
    ended = run_command(["sh", "-c", '"$@" | true', "sh", *command])
    assert "Traceback" not in ended.err
    assert ended.err.count("\n") <= 1


def test_operators_mistakes(clinic: Clinic, tmp_path: Path, user: User) -> None:
    data = ("--data", str(clinic.data))
    one_clear_line(run("invite", user.name, "--role", "doctor", *data), 2, "enrolled already")
    one_clear_line(run("invite", "x", "--role", "king", *data), 2, "king")
    one_clear_line(run("invite", "x", *data), 2, "role")
    one_clear_line(run("invite", "_kd", "--role", "doctor", *data), 2)
    one_clear_line(run("invite", "a/b", "--role", "doctor", *data), 2)
    one_clear_line(run("revoke", "nobody", *data), 2, "nobody")
    one_clear_line(run("invite", "x", "--role", "doctor", "--data", str(tmp_path / "no")), 1)
    one_clear_line(run("revoke", "x", "--data", str(tmp_path / "no")), 1)
    assert not (tmp_path / "no").exists()


def test_a_passphrase_file_that_cannot_be_read(user: User, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    mistakes = (
        ("none", ["status"]),
        ("none", ["history", "pat"]),
        ("none", ["send", "pat", "x"]),
        ("empty", ["credentials"]),
    )
    for file, command in mistakes:
        ended = user.run(*command, "--passphrase-file", str(tmp_path / file))
        one_clear_line(ended, 2, "passphrase file")


def test_a_stdout_that_takes_nothing_loses_no_message(clinic: Clinic, user: User) -> None:
    contact = clinic.patient()
    command = ratchetmq("listen", "--store", str(contact.store), "--count", "1", "--timeout", "20")
    user.run("send", contact.name, "printed later")
    one_clear_line(run_command(["sh", "-c", '"$@" > /dev/full', "sh", *command]), 1, "stdout")
    one_clear_line(run_command(["sh", "-c", '"$@" >&-', "sh", *command]), 1, "stdout")
    received = contact.run("listen", "--count", "1", "--timeout", "20")
    assert texts(received.rows) == ["printed later"]


def test_a_closed_stdin(user: User, contact: User) -> None:
    command = ratchetmq("send", "--store", str(user.store), contact.name, "--stdin")
    one_clear_line(run_command(["sh", "-c", '"$@" <&-', "sh", *command]), 2, "stdin")
