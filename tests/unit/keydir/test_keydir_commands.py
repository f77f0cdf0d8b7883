"""The operator's commands and the files of the data directory, and what goes wrong with them."""

import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_sdk.transport.errors import InvalidBrokerUrlError
from client_sdk.wire.errors import InvalidNameError, MisuseError
from client_sdk.wire.invitation import MAX_BROKER_URLS, parse_invitation
from client_sdk.wire.limits import MAX_DISPLAY_NAME_CHARACTERS
from keydir.cli import app
from keydir.commands import MAX_URL_CHARACTERS, Invite, invite, revoke
from keydir.config import DirectorySettings
from keydir.data import (
    MAX_FILE_BYTES,
    make_keys,
    make_login,
    read_broker_urls,
    read_ca_fingerprint,
    running_lock,
    write_broker_urls,
)
from keydir.errors import (
    DataDirectoryError,
    NoBrokerUrlError,
    PolicyError,
    UnknownRoleError,
    UnknownUserError,
)
from keydir.prepare import prepare_directory
from keydir.stores.database import DatabaseUrlError, sqlite_file
from keydir.stores.opening import open_store
from tests.unit.keydir.keydir_parties import BROKER_URL, DirectoryParty

AS_ROOT = os.geteuid() == 0
FINGERPRINT = bytes(range(32))


def test_keys_and_login_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    keys, login = make_keys(data), make_login(data)
    assert make_keys(data).directory_id == keys.directory_id
    assert make_keys(data).signing.public == keys.signing.public
    assert make_keys(data).sealing.public == keys.sealing.public
    assert make_login(data) == login
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    assert modes == {"directory.keys": 0o600, "directory.login": 0o600}
    assert login.password not in repr(login)
    assert "signing" not in repr(keys)


def test_what_a_killed_first_start_left_behind_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".directory.keys.new").write_text("half")
    assert make_keys(tmp_path).directory_id == make_keys(tmp_path).directory_id
    assert not (tmp_path / ".directory.keys.new").exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"{}", b"\xff" * (MAX_FILE_BYTES + 1)])
@pytest.mark.parametrize("name", ["directory.keys", "directory.login", "server.json"])
def test_a_damaged_file_is_named_and_not_replaced(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    read = {"directory.keys": make_keys, "directory.login": make_login}.get(name, read_broker_urls)
    with pytest.raises(DataDirectoryError, match=f"{name} is damaged"):
        read(tmp_path)
    assert (tmp_path / name).read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError, match="nothing was changed"):
        make_keys(tmp_path / "file" / "data")


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirectoryError, match="Permission denied"):
        make_keys(tmp_path)


def test_only_one_process_holds_the_running_lock(tmp_path: Path) -> None:
    with running_lock(tmp_path), pytest.raises(DataDirectoryError), running_lock(tmp_path):
        pass
    with running_lock(tmp_path):
        pass
    with pytest.raises(DataDirectoryError), running_lock(tmp_path / "none"):
        pass


def test_the_policy_of_a_start_holds_until_another_one_is_given(tmp_path: Path) -> None:
    first = prepare_directory(DirectorySettings(data_dir=tmp_path))
    assert first.policy.roles == ("doctor", "patient")
    chosen = prepare_directory(DirectorySettings(data_dir=tmp_path, policy="open"))
    assert chosen.policy.open
    kept = prepare_directory(DirectorySettings(data_dir=tmp_path))
    assert kept.policy == chosen.policy
    assert kept.keys.directory_id == first.keys.directory_id


def test_a_policy_without_the_role_of_a_user_is_refused(directory: DirectoryParty) -> None:
    directory.invited("pat", "patient")
    with pytest.raises(PolicyError, match="patient"):
        prepare_directory(directory.settings.model_copy(update={"policy": "open"}))
    assert prepare_directory(directory.settings).policy.roles == ("doctor", "patient")


def test_a_database_of_another_directory_is_refused(
    directory: DirectoryParty, tmp_path: Path
) -> None:
    other = DirectorySettings(
        data_dir=tmp_path / "other",
        database_url=f"sqlite:///{directory.settings.database_path}",
    )
    with pytest.raises(DataDirectoryError, match=r"directory.keys is missing.*restore it"):
        prepare_directory(other)
    assert not other.data_dir.exists()
    make_keys(other.data_dir)
    with pytest.raises(DataDirectoryError, match="other keys"):
        prepare_directory(other)


def test_keys_whose_database_is_gone_begin_no_new_directory(tmp_path: Path) -> None:
    settings = DirectorySettings(data_dir=tmp_path)
    prepare_directory(settings)
    for file in tmp_path.glob("directory.db*"):
        file.unlink()
    left = sorted(tmp_path.iterdir())
    with pytest.raises(DataDirectoryError, match=r"directory.db is not: restore it.*nothing was"):
        prepare_directory(settings)
    assert sorted(tmp_path.iterdir()) == left


def test_a_first_start_that_was_cut_off_before_or_after_its_keys_is_begun_again(
    tmp_path: Path,
) -> None:
    settings = DirectorySettings(data_dir=tmp_path)
    open_store(settings.database).close()
    assert not (tmp_path / "directory.keys").exists()
    keys = make_keys(tmp_path)
    assert prepare_directory(settings).keys.directory_id == keys.directory_id


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://x/y", "postgresql://x", "postgresql+psycopg://x/y", "postgresql://x:port/y"),
        *("sqlite://", "sqlite:///:memory:", "nonsense", ""),
    ],
)
def test_only_sqlite_files_and_postgresql_are_databases(url: str) -> None:
    with pytest.raises(DatabaseUrlError, match="nothing was opened"):
        sqlite_file(url)


def test_an_invitation_names_the_recorded_or_given_broker(directory: DirectoryParty) -> None:
    bare = directory.settings.model_copy(update={"broker_urls": ()})
    with pytest.raises(NoBrokerUrlError):
        invite(bare, Invite("pat", "patient"))
    write_broker_urls(bare.data_dir, ("mqtt://recorded:1",))
    recorded = parse_invitation(invite(bare, Invite("pat", "patient")).invitation)
    assert recorded.broker_urls == ("mqtt://recorded:1",)
    wanted = Invite("pat", "patient", broker_urls=(BROKER_URL,))
    assert parse_invitation(invite(bare, wanted).invitation).broker_urls == (BROKER_URL,)


@pytest.mark.parametrize("more", [0, 1])
def test_an_invitation_has_room_for_eight_addresses_of_256_characters(
    directory: DirectoryParty, more: int
) -> None:
    longest = "mqtt://" + "h" * (MAX_URL_CHARACTERS - 7)
    many = Invite("pat", "patient", broker_urls=(longest,) * (MAX_BROKER_URLS + more))
    long = Invite("pat", "patient", broker_urls=(longest + "h" * more,))
    for wanted in (many, long):
        if more:
            with pytest.raises(InvalidBrokerUrlError):
                invite(directory.settings, wanted)
        else:
            assert parse_invitation(invite(directory.settings, wanted).invitation)


@pytest.mark.parametrize("more", [0, 1])
def test_a_shown_name_has_at_most_64_printable_characters(
    directory: DirectoryParty, more: int
) -> None:
    name = "ä" * (MAX_DISPLAY_NAME_CHARACTERS + more)
    if more:
        with pytest.raises(MisuseError):
            invite(directory.settings, Invite("pat", "patient", name))
        with pytest.raises(MisuseError):
            invite(directory.settings, Invite("pat", "patient", "a\x1b[2J"))
    else:
        assert invite(directory.settings, Invite("pat", "patient", name)).user == "pat"


def test_wrong_names_roles_and_unknown_users_are_refused(directory: DirectoryParty) -> None:
    with pytest.raises(InvalidNameError):
        invite(directory.settings, Invite("_kd", "patient"))
    with pytest.raises(UnknownRoleError):
        invite(directory.settings, Invite("pat", "nurse"))
    for target in ("pat", "pat-1"):
        with pytest.raises(UnknownUserError):
            revoke(directory.settings, target)


def test_revoking_twice_does_no_harm_and_one_device_is_enough(directory: DirectoryParty) -> None:
    directory.enrolled("pat", "patient")
    assert revoke(directory.settings, "pat-1").devices == ("pat-1",)
    assert revoke(directory.settings, "pat").devices == ("pat-1",)
    assert revoke(directory.settings, "pat").invitation_withdrawn is False


def test_an_invitation_is_not_shown_by_repr(directory: DirectoryParty) -> None:
    invited = invite(directory.settings, Invite("pat", "patient"))
    assert invited.invitation not in repr(invited)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("revoke", "nobody"), 2),
        (("revoke", "Not-A-Name"), 2),
        (("invite", "x", "--role", "nurse", "--broker-url", BROKER_URL), 2),
        (("invite", "x", "--role", "patient"), 2),
        (("keydir", "--broker-url", "nonsense"), 2),
        (("keydir", "--broker-url", BROKER_URL, "--policy", "none.toml"), 2),
        (("keydir", "--broker-url", BROKER_URL, "--database", "mysql://x/y"), 2),
    ],
)
def test_a_failing_command_says_one_line_and_exits_with_1_or_2(
    directory: DirectoryParty, arguments: tuple[str, ...], expected: int
) -> None:
    data = str(directory.settings.data_dir)
    result = CliRunner().invoke(app, [*arguments, "--data", data])
    assert (result.exit_code, result.stdout) == (expected, "")
    assert result.stderr.startswith("ratchetmq: ")
    assert result.stderr.count("\n") == 1


def test_a_folder_without_a_directory_is_named(tmp_path: Path) -> None:
    for arguments in (["invite", "x", "--broker-url", BROKER_URL], ["revoke", "x"]):
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "no key directory" in result.stderr
    assert list(tmp_path.iterdir()) == []
    without = CliRunner().invoke(app, ["keydir", "--broker-url", BROKER_URL])
    assert (without.exit_code, without.stdout) == (2, "")


@pytest.mark.parametrize(
    ("urls", "pinned"),
    [
        (("mqtts://chat.example",), True),
        (("mqtt://127.0.0.1", "wss://chat.example/mqtt"), True),
        (("mqtt://vpn.example",), False),
    ],
)
def test_an_invitation_to_a_server_with_a_private_ca_carries_its_fingerprint(
    directory: DirectoryParty, urls: tuple[str, ...], pinned: bool
) -> None:
    bare = directory.settings.model_copy(update={"broker_urls": ()})
    write_broker_urls(bare.data_dir, ("mqtts://chat.example",), FINGERPRINT)
    assert read_ca_fingerprint(bare.data_dir) == FINGERPRINT
    wanted = Invite("pat", "patient", broker_urls=urls)
    invitation = parse_invitation(invite(bare, wanted).invitation)
    assert invitation.ca_fingerprint == (FINGERPRINT if pinned else None)


def test_a_server_file_of_an_earlier_version_has_no_fingerprint(directory: DirectoryParty) -> None:
    bare = directory.settings.model_copy(update={"broker_urls": ()})
    assert read_ca_fingerprint(bare.data_dir) is None
    (bare.data_dir / "server.json").write_text('{"broker_urls":["mqtts://chat.example"]}')
    assert read_ca_fingerprint(bare.data_dir) is None
    invitation = parse_invitation(invite(bare, Invite("pat", "patient")).invitation)
    assert invitation.ca_fingerprint is None


def test_a_server_without_tls_again_takes_the_fingerprint_back(directory: DirectoryParty) -> None:
    write_broker_urls(directory.settings.data_dir, ("mqtts://chat.example",), FINGERPRINT)
    write_broker_urls(directory.settings.data_dir, ("mqtts://chat.example",))
    assert read_ca_fingerprint(directory.settings.data_dir) is None
