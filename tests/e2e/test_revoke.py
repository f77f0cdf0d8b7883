"""`ratchetmq revoke`: nobody logs in any more, and nothing waits any more."""

import sqlite3
import time
from pathlib import Path

from tests.conftest import RequireProgram
from tests.e2e.clinic import Clinic, User, mosquitto, until
from tests.e2e.programs import run

REFUSED_SECONDS = 5.0


def swept(clinic: Clinic, user: User) -> bool:
    database = sqlite3.connect(f"{(clinic.data / 'directory.db').as_uri()}?mode=ro", uri=True)
    try:
        row = database.execute(
            "SELECT swept_at FROM devices WHERE user = ?", (user.name,)
        ).fetchone()
    finally:
        database.close()
    return row is not None and row[0] is not None


def waiting_mail(clinic: Clinic) -> list[str]:
    """Return every retained topic; the server must have ended."""
    (file,) = clinic.data.rglob("waiting_mail.sqlite3")
    database = sqlite3.connect(file)
    try:
        return [row[0] for row in database.execute("SELECT topic FROM mail")]
    finally:
        database.close()


def test_revoking_a_user_ends_login_connection_and_waiting_mail(
    tmp_path: Path, require_program: RequireProgram
) -> None:
    with Clinic(tmp_path) as clinic:
        doctor, lost, other = clinic.doctor(), clinic.patient(), clinic.patient()
        login = lost.login()
        assert doctor.run("send", lost.name, "too late").row["state"] == "published"
        assert doctor.run("send", other.name, "stays").row["state"] == "published"
        assert lost.run("send", doctor.name, "from the lost one").row["state"] == "published"
        with lost.listening() as listener:
            assert listener.row()["text"] == "too late"
            assert doctor.run("send", other.name, "stays too").row["state"] == "published"
            revoked = run("revoke", lost.name, "--data", str(clinic.data), "--json")
            began = time.monotonic()
            assert (revoked.code, revoked.err) == (0, "")
            assert revoked.row["devices"] == [lost.address]
            ended = listener.wait(REFUSED_SECONDS + 5)
            assert ended.code == 1
            assert "refused" in ended.err.splitlines()[-1]
            assert ended.err.count("\n") <= 2, "that the connection was lost may come first"
            assert time.monotonic() - began < REFUSED_SECONDS + 2
        publish = require_program("mosquitto_pub")
        refused = mosquitto(publish, login, "-i", lost.address, "-t", "v1/x", "-n")
        assert refused.code != 0
        until(lambda: swept(clinic, lost), "the revoked device is swept")
        assert lost.state()["connection"] == "login_refused"
        assert doctor.run("send", lost.name, "sent after all").code == 0  # it knows the device
        assert run("revoke", lost.address, "--data", str(clinic.data)).code == 0
        until(lambda: swept(clinic, lost), "the revoked device is swept once more")
        assert clinic.stop().code == 0
        topics = waiting_mail(clinic)
        assert [topic for topic in topics if lost.address in topic] == []
        assert len([topic for topic in topics if other.address in topic]) == 2
        clinic.start()
        assert mosquitto(publish, login, "-i", lost.address, "-t", "v1/x", "-n").code != 0
        heard = other.run("listen", "--count", "2", "--timeout", "20")
        assert heard.code == 0


def test_mail_that_waits_for_a_revoked_device_is_swept(tmp_path: Path) -> None:
    with Clinic(tmp_path) as clinic:
        doctor, lost = clinic.doctor(), clinic.patient()
        lines = b"".join(b"secret %d\n" % number for number in range(30))
        assert doctor.run("send", lost.name, "--stdin", stdin=lines).code == 0
        assert run("revoke", lost.name, "--data", str(clinic.data)).code == 0
        until(lambda: swept(clinic, lost), "the revoked device is swept")
        assert clinic.stop().code == 0
        assert waiting_mail(clinic) == []


def test_revoking_before_enrolment_withdraws_the_invitation(clinic: Clinic, tmp_path: Path) -> None:
    line = clinic.invitation("withdrawn", "patient")
    revoked = run("revoke", "withdrawn", "--data", str(clinic.data), "--json")
    assert revoked.row["invitation_withdrawn"] is True
    ended = run("enroll", line, "--store", str(tmp_path / "s.db"))
    assert ended.code == 2
    assert list(tmp_path.iterdir()) == []
