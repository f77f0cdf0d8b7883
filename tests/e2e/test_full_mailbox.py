"""A mailbox that is full on a real broker: the rest waits at its sender and comes in order."""

from pathlib import Path

import pytest

from tests.e2e.clinic import Clinic, texts, until

QUOTA, TEXTS = 5, 12


class SmallClinic(Clinic):
    """A server that lets a sender have a few messages waiting for a recipient."""

    @property
    def options(self) -> list[str]:
        config = self.folder / "broker.toml"
        config.write_text(f"[limits]\nmax_pair_messages = {QUOTA}\n")
        return ["--config", str(config)]


@pytest.mark.long
def test_what_is_over_the_quota_comes_when_the_recipient_has_read_the_rest(
    tmp_path: Path,
) -> None:
    with SmallClinic(tmp_path) as clinic:
        doctor, away, other = clinic.doctor(), clinic.patient(), clinic.patient()
        assert doctor.run("send", away.name, "first").row["state"] == "published"
        assert away.run("listen", "--count", "1").row["text"] == "first"
        sent = [f"number {number}" for number in range(TEXTS)]
        with doctor.listening() as sender:
            doctor.wait_for_listener()
            doctor.run("send", away.name, "--stdin", stdin="\n".join(sent).encode())
            assert doctor.run("send", other.name, "to another").row["state"] == "published"
            assert other.run("listen", "--count", "1").row["text"] == "to another"
            until(lambda: doctor.state()["under_way"] == TEXTS, "all are under way")
            received = away.run("listen", "--count", str(TEXTS), "--timeout", "25")
            assert texts(received.rows) == sent
            assert "takes no more mail" in sender.end().err
