"""A whole system over TLS and WebSocket: made, invited, enrolled and used by its commands."""

from pathlib import Path

import pytest

from tests.e2e.programs import Program, ratchetmq, run


def enrolled(data: Path, store: Path, role: str, *flags: str) -> None:
    invited = run("invite", store.stem, "--role", role, "--data", str(data), *flags)
    assert invited.code == 0, invited.err
    ended = run("enroll", invited.out.strip(), "--store", str(store))
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "localhost"),
        pytest.param("::1", "::1", marks=pytest.mark.long),
        pytest.param("0.0.0.0", "localhost", marks=pytest.mark.long),
    ],
)
def test_a_system_works_over_tls_and_secure_websocket(tmp_path: Path, host: str, name: str) -> None:
    data = tmp_path / "server"
    made = run("certs", "--data", str(data), "--host", name, "--json").row
    tls = ("--tls-cert", str(made["tls_cert"]), "--tls-key", str(made["tls_key"]))
    if host == "0.0.0.0":  # the first invitation comes before the first public start
        with Program(ratchetmq("serve", "--data", str(data), "--port", "0")) as server:
            server.row()
            assert run("invite", "first", "--role", "doctor", "--data", str(data)).code == 0
            assert server.end().code == 0
    where = ("--data", str(data), "--host", host, "--port", "0", "--ws-port", "0")
    with Program(ratchetmq("serve", *where, *tls)) as server:
        ready = server.row()
        shown = f"[{name}]" if ":" in name else name
        assert str(ready["url"]).startswith(f"mqtts://{shown}:")
        assert str(ready["ws_url"]).startswith(f"wss://{shown}:")
        house, ada = tmp_path / "house.db", tmp_path / "ada.db"
        enrolled(data, house, "doctor")
        enrolled(data, ada, "patient", "--broker-url", str(ready["ws_url"]))
        sent = run("send", "--store", str(house), "ada", "over TLS")
        assert sent.code == 0, sent.err
        heard = run("listen", "--store", str(ada), "--count", "1", "--timeout", "20", "--json")
        assert heard.row["text"] == "over TLS"
        ended = server.end()
    assert (ended.code, ended.err) == (0, "")
