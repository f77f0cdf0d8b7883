"""A third user's own login in the hands of mosquitto_sub and mosquitto_pub."""

import subprocess
from pathlib import Path

import pytest

from client_sdk import entropy
from tests.conftest import RequireProgram
from tests.e2e.clinic import Clinic, Login, User, mosquitto, texts
from tests.e2e.programs import Program

SECRET = "the diagnosis"


class Intruder:
    """Everything that a login can try with the two programs."""

    def __init__(self, login: Login, require_program: RequireProgram) -> None:
        self.login = login
        self._sub = require_program("mosquitto_sub")
        self._pub = require_program("mosquitto_pub")

    def hears(self, *topics: str) -> str:
        """Return the topics of all that one connection is sent within a second."""
        filters = [part for topic in topics for part in ("-t", topic)]
        own_id = ("-i", self.login.username)
        return mosquitto(self._sub, self.login, *own_id, *filters, "-F", "%t", "-W", "1").out

    def publishes(self, topic: str, payload: str | None, *, retain: bool = True) -> None:
        what = ("-n",) if payload is None else ("-m", payload)
        kept = ("-r",) if retain else ()
        own_id = ("-i", self.login.username)
        mosquitto(self._pub, self.login, *own_id, "-t", topic, *what, *kept, "-q", "1")

    def wills(self, topic: str, payload: str) -> None:
        """Connect with a last will and be killed, so that the broker sends it."""
        command = [self._sub, *self.login.options, "-i", self.login.username]
        will = [
            "--will-topic",
            topic,
            "--will-payload",
            payload,
            "--will-retain",
            "--will-qos",
            "1",
        ]
        own = f"v1/u/{self.login.username}/#"
        with Program([*command, *will, "-t", own, "-d"]) as client:
            answered = client.line(5)
            while answered is not None and b"SUBACK" not in answered and client.running:
                answered = client.line(5)

    def as_client(self, client_id: str) -> int:
        """Log in with one's own password under another's client id; return the exit code."""
        return mosquitto(
            self._pub, self.login, "-i", client_id, "-t", f"v1/u/{client_id}/x", "-n"
        ).code


def envelope_topic(recipient: User, sender: str) -> str:
    return f"v1/u/{recipient.address}/in/{sender}/{entropy.draw_id()}"


@pytest.mark.timeout(180)
def test_a_strange_login_sees_erases_forges_and_kicks_nothing(
    tmp_path: Path, require_program: RequireProgram
) -> None:
    with Clinic(tmp_path) as clinic:
        doctor, victim = clinic.doctor(), clinic.patient()
        intruder = Intruder(clinic.patient().login(), require_program)
        waiting = doctor.run("send", victim.name, SECRET).row["id"]
        (topic,) = retained_topics(victim, require_program)
        for again in (False, True):
            if again:
                clinic.restart()
            sees_nothing(intruder, victim, doctor)
            erases_and_forges(intruder, victim, doctor, topic)
            assert retained_topics(victim, require_program) == [topic]
        with victim.listening() as listener:
            assert listener.row()["id"] == waiting
            kicks_nobody(intruder, victim, doctor)
            sees_nothing(intruder, victim, doctor)
            sent = doctor.run(
                "send", victim.name, "still there?", "--wait", "delivered", "--timeout", "20"
            )
            assert (sent.code, sent.err) == (0, "")
            assert listener.row()["text"] == "still there?"
            assert listener.says_nothing(1)
            ended = listener.end()
        assert ended.err == ""
        assert texts(victim.run("history", doctor.name).rows) == [SECRET, "still there?"]
        assert clinic.stop().err == ""


def retained_topics(user: User, require_program: RequireProgram) -> list[str]:
    own = Intruder(user.login(), require_program)
    return own.hears(f"v1/u/{user.address}/in/#").splitlines()


def sees_nothing(intruder: Intruder, victim: User, doctor: User) -> None:
    own = intruder.login.username
    one_connection_each = (
        ("#",),
        ("+/#",),
        ("v1/u/#", "v1/u/+/in/+/+", "+/+/+/+/+/+"),
        (f"v1/u/{victim.address}/#", f"v1/u/{doctor.address}/#", f"v1/u/+/in/{own}/+"),
        ("$share/group/#", "$share/group/v1/u/+/#", f"$share/{own}/v1/u/{victim.address}/#"),
        ("$SYS/#", "v1/kd/#", "v1/kd/req/+/+", "v1/kd/enrolled/+", "_kd"),
        (f"v1/u/{own}/../{victim.address}/#", f"v1/u/{own}", "v1/u", ""),
        (f"v1/u/{own}/#", "#"),
    )
    for filters in one_connection_each:
        assert intruder.hears(*filters) == "", filters


def erases_and_forges(intruder: Intruder, victim: User, doctor: User, topic: str) -> None:
    own = intruder.login.username
    event = f"v1/u/{victim.address}/kd/event/{entropy.draw_id()}"
    intruder.publishes(topic, None)
    intruder.publishes(topic, "overwritten")
    intruder.publishes(topic.replace(doctor.address, own), None)
    intruder.publishes(envelope_topic(victim, doctor.address), "forged")
    intruder.publishes(envelope_topic(victim, f"{own}/x"), "forged")
    intruder.publishes(event, "forged")
    intruder.publishes(f"v1/u/{victim.address}/notice/full", "forged")
    intruder.publishes(f"v1/kd/req/{victim.address}/{entropy.draw_id()}", "forged", retain=False)
    intruder.publishes(f"v1/u/{victim.address}/kd/{entropy.draw_id()}", "forged", retain=False)
    intruder.publishes(f"v1/u/{victim.address}/kd/{entropy.draw_id()}", "forged")
    intruder.publishes("$SYS/broker/version", "forged")
    intruder.publishes("anything", "forged")
    intruder.wills(topic, "overwritten")
    intruder.wills(envelope_topic(victim, doctor.address), "forged")
    intruder.wills(event, "forged")


def kicks_nobody(intruder: Intruder, victim: User, doctor: User) -> None:
    """A refused login may not end, or take over, a connection of the same name."""
    for name in (victim.address, doctor.address, "_kd", "", "#", "a" * 200):
        intruder.as_client(name)
    stolen = Login(intruder.login.host, intruder.login.port, victim.address, "wrong")
    thief = Intruder(stolen, lambda name: str(intruder._pub if "pub" in name else intruder._sub))
    assert thief.hears(f"v1/u/{victim.address}/#", "#") == ""
    thief.publishes(envelope_topic(victim, doctor.address), "forged")
    thief.wills(envelope_topic(victim, doctor.address), "forged")
    empty = Login(intruder.login.host, intruder.login.port, victim.address, "")
    assert mosquitto(intruder._pub, empty, "-t", "x", "-n", "-i", victim.address).code != 0


def test_a_login_that_floods_does_not_stop_others(
    tmp_path: Path, require_program: RequireProgram
) -> None:
    with Clinic(tmp_path) as clinic:
        doctor, victim = clinic.doctor(), clinic.patient()
        login = clinic.patient().login()
        publish = [require_program("mosquitto_pub"), *login.options, "-i", login.username]
        flood = [*publish, "-t", envelope_topic(victim, login.username), "-l", "-q", "1", "-r"]
        with subprocess.Popen(flood, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as flooder:
            try:
                assert flooder.stdin is not None
                flooder.stdin.write(b"flood\n" * 2000)
                flooder.stdin.flush()
                with victim.listening() as listener:
                    sent = doctor.run(
                        "send", victim.name, "heard?", "--wait", "delivered", "--timeout", "20"
                    )
                    assert (sent.code, listener.row()["text"]) == (0, "heard?")
            finally:
                flooder.kill()
