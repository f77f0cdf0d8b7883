"""Several commands on one store at a time: one connection, and nobody is kicked."""

from tests.e2e.clinic import Clinic, texts

TEXTS = 20


def test_send_works_while_listen_holds_the_connection(clinic: Clinic) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    with doctor.listening() as mine, patient.listening() as theirs:
        doctor.wait_for_listener()
        heard = doctor.run("send", patient.name, "one", "--wait", "delivered", "--timeout", "20")
        assert (heard.code, heard.err, heard.row["state"]) == (0, "", "delivered")
        lines = "".join(f"{number}\n" for number in range(TEXTS)).encode()
        many = doctor.run("send", patient.name, "--stdin", stdin=lines)
        assert (many.code, many.err) == (0, "")
        answer = patient.run("send", doctor.name, "two", "--wait", "delivered", "--timeout", "20")
        assert (answer.code, answer.err) == (0, "")
        assert mine.row()["text"] == "two"
        got = [theirs.row()["text"] for _ in range(TEXTS + 1)]
        assert got == ["one", *(str(number) for number in range(TEXTS))]
        assert doctor.state()["connection"] == "held by another program"
        assert doctor.run("contacts").code == 0
        assert doctor.run("history", patient.name).code == 0
        unknown = doctor.run("send", "nobody", "x")
        assert "Traceback" not in unknown.err
        assert mine.running
        assert theirs.running
        told = mine.end().err
        assert "to nobody will not be sent" in told
        assert told.count("\n") == 1
        assert theirs.end().err == ""


def test_two_senders_at_once_keep_every_text_and_each_its_own_order(clinic: Clinic) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    names = ("a", "b", "c")
    senders = [doctor.start("send", patient.name, "--stdin") for _ in names]
    try:
        for name, sender in zip(names, senders, strict=True):
            sender.write("".join(f"{name} {number}\n" for number in range(TEXTS)).encode())
            sender.end_input()
        ended = [sender.wait(60) for sender in senders]
    finally:
        for sender in senders:
            sender.kill()
    assert [one.code for one in ended] == [0] * len(names)
    # Who takes the connection over at its end may still be connecting then.
    assert all("stays queued" in line for one in ended for line in one.err.splitlines())
    count = str(TEXTS * len(names))
    received = texts(patient.run("listen", "--count", count, "--timeout", "30").rows)
    for name in names:
        own = [text for text in received if str(text).startswith(name)]
        assert own == [f"{name} {number}" for number in range(TEXTS)]


def test_of_two_listeners_the_second_waits_and_takes_over(clinic: Clinic) -> None:
    doctor, patient = clinic.doctor(), clinic.patient()
    with patient.listening() as first:
        patient.wait_for_listener()
        with patient.listening() as second:
            sent = ("send", patient.name, "for the first", "--wait", "delivered", "--timeout", "20")
            assert doctor.run(*sent).code == 0
            assert first.row()["text"] == "for the first"
            assert second.says_nothing(2)
            assert first.running
            assert first.end().err == ""
            assert doctor.run("send", patient.name, "for the second").code == 0
            assert second.row()["text"] == "for the second"
            assert second.end().err == ""
