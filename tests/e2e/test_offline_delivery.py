"""Texts for somebody who is away, with the server down now and then."""

from pathlib import Path

from tests.e2e.clinic import Clinic, texts, until
from tests.e2e.unicode_texts import BIG_TEXT, unicode_texts


def test_texts_for_an_absent_user_outlive_a_restart_of_the_server(tmp_path: Path) -> None:
    wanted = [*unicode_texts(200), BIG_TEXT]
    with Clinic(tmp_path) as clinic:
        doctor, patient = clinic.doctor(), clinic.patient()
        lines = "".join(text + "\n" for text in wanted).encode()
        sent = doctor.run("send", patient.name, "--stdin", stdin=lines)
        assert (sent.code, sent.err) == (0, "")
        assert [row["state"] for row in sent.rows] == ["queued"] * len(wanted)
        assert doctor.state()["under_way"] == len(wanted)
        clinic.restart()
        received = patient.run("listen", "--count", str(len(wanted)), "--timeout", "30")
        assert (received.code, received.err) == (0, "")
        assert texts(received.rows) == wanted
        assert [row["id"] for row in received.rows] == [row["id"] for row in sent.rows]
        assert [row["seq"] for row in received.rows] == list(range(1, len(wanted) + 1))
        assert patient.run("listen", "--count", "1", "--timeout", "2").rows == []
        told = doctor.run("send", patient.name, "and now?", "--wait", "delivered", "--timeout", "0")
        assert told.code == 3
        history = doctor.run("history", patient.name, "--limit", "1000").rows
        assert [row["state"] for row in history] == ["delivered"] * len(wanted) + ["published"]


def test_the_first_texts_ever_are_queued_while_the_server_is_down(tmp_path: Path) -> None:
    wanted = [*unicode_texts(200), BIG_TEXT]
    with Clinic(tmp_path) as clinic:
        doctor, patient = clinic.doctor(), clinic.patient()
        assert clinic.stop().code == 0
        lines = "".join(text + "\n" for text in wanted).encode()
        sent = doctor.run("send", patient.name, "--stdin", stdin=lines)
        assert sent.code == 0
        assert "no broker answers" in sent.err
        assert {row["state"] for row in sent.rows} == {"queued"}
        assert doctor.state()["queued"] == len(wanted)
        clinic.start()
        again = doctor.run("send", patient.name, "the server is back")
        assert again.row["state"] == "published"
        received = patient.run("listen", "--count", str(len(wanted) + 1), "--timeout", "30")
        assert received.code == 0
        assert texts(received.rows) == [*wanted, "the server is back"]


def test_a_listener_sends_what_was_queued_for_a_stranger_while_the_server_was_down(
    tmp_path: Path,
) -> None:
    with Clinic(tmp_path) as clinic:
        doctor, patient = clinic.doctor(), clinic.patient()
        assert clinic.stop().code == 0
        assert doctor.run("send", patient.name, "first ever").row["state"] == "queued"
        nobody = doctor.run("send", "nobody", "to no user at all")
        assert nobody.row["state"] == "queued"
        clinic.start()
        with doctor.listening():
            received = patient.run("listen", "--count", "1", "--timeout", "30")
        assert texts(received.rows) == ["first ever"]
        (failed,) = doctor.run("history", "nobody").rows
        assert failed["state"] == "failed"


def test_a_listener_says_that_the_server_is_away_and_that_it_is_back(tmp_path: Path) -> None:
    with Clinic(tmp_path) as clinic:
        doctor, patient = clinic.doctor(), clinic.patient()
        clinic.stop()
        with patient.listening() as listener:
            until(lambda: "not connected, trying again" in listener.errors, "it is not there")
            clinic.start()
            until(lambda: ": connected\n" in listener.errors, "it is there")
            clinic.kill()
            until(lambda: "the connection was lost" in listener.errors, "it is gone")
            clinic.start()
            until(lambda: "connected again" in listener.errors, "it is back")
            assert doctor.run("send", patient.name, "and on").code == 0
            assert listener.row()["text"] == "and on"
            ended = listener.end()
    assert len(ended.err.splitlines()) == 4
    assert len(ended.rows) == 1
