"""Waiting mail in memory and on disk: what is written, what is dropped, what is refused."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker import retained
from broker.errors import DataDirectoryError
from broker.mail_file import FILE_NAME, SCHEMA_VERSION, MailFile, WaitingMessage
from broker.retained import MAX_AGE_SECONDS, WaitingMail
from tests.brokers.eventually import eventually

TOPIC = "v1/u/bob-1/in/alice-1/" + "a" * 26
OTHER = "v1/u/bob-1/in/alice-1/" + "b" * 26


@asynccontextmanager
async def opened(folder: Path, now: float = 1000.0) -> AsyncIterator[WaitingMail]:
    mail = WaitingMail(folder, clock=lambda: now)
    await mail.open()
    yield mail
    await mail.close()


async def test_mail_is_there_again_after_closing(tmp_path: Path) -> None:
    async with opened(tmp_path / "new" / "folder") as mail:
        mail.keep(TOPIC, b"one", 1)
        mail.keep(OTHER, b"two", 0)
        mail.keep(OTHER, b"three", 1)
    async with opened(tmp_path / "new" / "folder") as mail:
        assert mail.get(TOPIC) == WaitingMessage(TOPIC, b"one", 1, 1000)
        assert mail.get(OTHER) == WaitingMessage(OTHER, b"three", 1, 1000)
        assert mail.matching("v1/u/bob-1/#") == [TOPIC, OTHER]
        mail.clear(TOPIC)
    async with opened(tmp_path / "new" / "folder") as mail:
        assert len(mail) == 1


async def test_changes_are_written_behind_without_closing(tmp_path: Path) -> None:
    mail = WaitingMail(tmp_path)
    await mail.open()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(mail.write_behind())
        mail.keep(TOPIC, b"one", 1)
        await eventually(lambda: not mail._unwritten and not mail._writing)
        writing.cancel()
    await mail._in_thread(mail._close)  # as a crash would: nothing more is written
    mail._thread.shutdown()
    async with opened(tmp_path) as again:
        assert again.get(TOPIC) is not None


async def test_the_same_bytes_again_are_not_written_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as mail:
        mail.keep(TOPIC, b"one", 1)
        assert await mail._flush()
        mail.keep(TOPIC, b"one", 1)
        mail.clear(OTHER)
        assert mail._unwritten == {}


@pytest.mark.parametrize(("age", "kept"), [(MAX_AGE_SECONDS, 1), (MAX_AGE_SECONDS + 1, 0)])
async def test_mail_is_dropped_at_start_when_it_is_too_old(
    tmp_path: Path, age: int, kept: int
) -> None:
    async with opened(tmp_path, now=1000) as mail:
        mail.keep(TOPIC, b"one", 1)
    async with opened(tmp_path, now=1000 + age) as mail:
        assert len(mail) == kept
    async with opened(tmp_path, now=1000) as mail:
        assert len(mail) == kept


async def test_what_could_not_be_written_is_kept_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retained, "_RETRY_SECONDS", 0.01)
    async with opened(tmp_path) as mail, asyncio.TaskGroup() as group:
        await mail._in_thread(lambda: pages(mail, 1))
        writing = group.create_task(mail.write_behind())
        mail.keep(TOPIC, bytes(100_000), 1)
        await eventually(lambda: "not written" in caplog.text)
        await mail._in_thread(lambda: pages(mail, 100_000))
        await eventually(lambda: not mail._writing)
        writing.cancel()
    async with opened(tmp_path) as mail:
        assert len(mail) == 1


async def test_closing_with_a_full_disk_tells_what_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as mail:
        await mail._in_thread(lambda: pages(mail, 1))
        mail.keep(TOPIC, bytes(100_000), 1)
    assert "not written at close" in caplog.text


def pages(mail: WaitingMail, count: int) -> None:
    """Let the file grow to ``count`` pages, as a full disk would."""
    assert mail._file is not None
    mail._file._database.execute(f"PRAGMA max_page_count = {count}")


def test_the_file_is_private(tmp_path: Path) -> None:
    MailFile.open(tmp_path / "data").close()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    junk = b"not a database" * 100
    (tmp_path / FILE_NAME).write_bytes(junk)
    with pytest.raises(DataDirectoryError, match="left as it was"):
        await WaitingMail(tmp_path).open()
    assert (tmp_path / FILE_NAME).read_bytes() == junk


async def test_a_file_without_the_table_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.close()
    with pytest.raises(DataDirectoryError, match="left as it was"):
        await WaitingMail(tmp_path).open()


async def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(DataDirectoryError, match="newer version"):
        await WaitingMail(tmp_path).open()
    assert (tmp_path / FILE_NAME).read_bytes() == before


async def test_a_file_in_use_is_left_to_its_user(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(DataDirectoryError, match="other server"):
            await WaitingMail(tmp_path).open()


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="nothing was started"):
        await WaitingMail(tmp_path / "file" / "folder").open()
