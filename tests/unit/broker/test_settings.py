"""Settings: the order of their sources, and what each of them is refused for."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from broker.errors import SettingsError
from broker.settings import BrokerSettings, is_loopback
from broker.settings_sources import ENV_PREFIX, MAX_FILE_BYTES, load_settings
from client_sdk.wire.invitation import MAX_BROKER_URLS


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    file = folder / "broker.toml"
    file.write_text(text)
    return file


def told(file: Path | None, **flags: object) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load_settings(file, flags)
    return [str(fault) for fault in refused.value.faults]


def test_flags_count_for_more_than_the_environment_and_that_for_more_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = "[limits]\nmax_filters = 9\nmax_inflight = 8\n"
    file = written(tmp_path, f'data_dir = "of file"\nport = 1\nhost = "::1"\n{limits}')
    monkeypatch.setenv("RATCHETMQ_BROKER_PORT", "2")
    monkeypatch.setenv("RATCHETMQ_BROKER_DATA_DIR", "of environment")
    monkeypatch.setenv("RATCHETMQ_BROKER_LIMITS__MAX_FILTERS", "10")
    found = load_settings(file, {"port": 3, "ws_port": None})
    assert (found.port, str(found.data_dir), found.host) == (3, "of environment", "::1")
    assert (found.limits.max_filters, found.limits.max_inflight) == (10, 8)
    assert found.ws_port is None


def test_a_file_with_nothing_else_is_enough(tmp_path: Path) -> None:
    found = load_settings(written(tmp_path, 'data_dir = "d"'), {})
    assert found == BrokerSettings(data_dir=Path("d"))
    assert type(found) is BrokerSettings


def test_an_unknown_key_is_named_with_its_line_and_what_was_meant(tmp_path: Path) -> None:
    file = written(tmp_path, 'data_dir = "d"\n\nprot = 1\n[limits]\nmax_conections = 1\n')
    meant = "max_connections"
    assert sorted(told(file)) == sorted(
        [
            f"{file} line 3: prot is no setting; did you mean port?",
            f"{file} line 5 in [limits]: max_conections is no setting; did you mean {meant}?",
        ]
    )


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, 'data_dir = "d"\n[limit]\nmax_filters = 5\n')
    assert told(file) == [f"{file} line 2: limit is no setting; did you mean limits?"]


@pytest.mark.parametrize("name", ["PROT", "LIMITS__MAX_FILTER", "LIMITS__", "ALLOW_ANONYMOUS"])
def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(ENV_PREFIX + name, "1")
    (fault,) = told(None, data_dir=Path("d"))
    assert fault.startswith(f"environment: {ENV_PREFIX}{name} is no setting")


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHETMQ_PASSPHRASE", "x")
    monkeypatch.setenv("RATCHETMQ_KEYDIR_POLICY", "x")
    assert load_settings(None, {"data_dir": Path("d")}).port == 1883


def test_a_wrong_value_is_told_with_the_source_that_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(
        tmp_path, 'data_dir = "d"\nport = 65536\nws_port = 1\n[limits]\nmax_filters = 3\n'
    )
    monkeypatch.setenv("RATCHETMQ_BROKER_WS_PORT", "-1")
    found = told(file, metrics_port=70_000)
    assert [fault.partition(": ")[0] for fault in sorted(found)] == [
        f"{file} line 2",
        f"{file} line 5 in [limits]",
        "environment RATCHETMQ_BROKER_WS_PORT",
        "flag --metrics-port",
    ]


def test_a_missing_data_folder_is_told_with_every_way_to_give_it() -> None:
    (fault,) = told(None)
    assert all(way in fault for way in ("--data", "RATCHETMQ_BROKER_DATA_DIR", "file"))


@pytest.mark.parametrize("content", [b"port = ", b"\xff", b"port = 1\nport = 2", None])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "broker.toml"
    if content is not None:
        file.write_bytes(content)
    (fault,) = told(file, data_dir=Path("d"))
    assert fault.startswith(f"{file}: ")


def test_a_file_may_have_its_largest_size_and_no_byte_more(tmp_path: Path) -> None:
    start = 'data_dir = "d"\n#'
    file = written(tmp_path, start + "x" * (MAX_FILE_BYTES - len(start)))
    assert load_settings(file, {}).port == 1883
    file.write_text(file.read_text() + "x")
    assert "bytes" in told(file)[0]


def test_the_message_is_one_line_that_says_how_many_more_there_are(tmp_path: Path) -> None:
    file = written(tmp_path, "a = 1\nb = 2\n")
    with pytest.raises(SettingsError, match=r"^[^\n]*2 more[^\n]*nothing was started$"):
        load_settings(file, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"tls_cert": "c"},
        {"tls_key": "k"},
        {"metrics_host": "0.0.0.0"},
        {"metrics_host": "192.0.2.1"},
        {"metrics_host": "server.example"},
        {"port": 5, "ws_port": 5},
        {"ws_port": 5, "metrics_port": 5},
        {"host": " "},
        {"log_level": "loud"},
        {"log_format": "xml"},
        {"public_urls": ["mqtt://x"] * (MAX_BROKER_URLS + 1)},
        {"anonymous": True},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BrokerSettings.model_validate({"data_dir": "d", **wrong})


@pytest.mark.parametrize(
    "right",
    [
        {"tls_cert": "c", "tls_key": "k"},
        {"metrics_host": "::1"},
        {"metrics_host": "localhost"},
        {"metrics_host": "127.3.2.1"},
        {"port": 0, "ws_port": 0, "metrics_port": 0},
        {"port": 65535},
        {"public_urls": ["mqtt://x"] * MAX_BROKER_URLS},
    ],
)
def test_settings_that_fit_together_are_taken(right: dict[str, object]) -> None:
    assert BrokerSettings.model_validate({"data_dir": "d", **right})


def test_settings_do_not_change() -> None:
    settings = BrokerSettings(data_dir=Path("d"))
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
