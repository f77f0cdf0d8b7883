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
from broker.limits import BrokerLimits
from broker.mail_file import FILE_NAME, SCHEMA_VERSION, MailFile
from broker.retained import Replayed, WaitingMail
from broker.statistics import Statistics
from tests.brokers.eventually import eventually

TOPIC = "v1/u/bob-1/in/alice-1/" + "a" * 26
OTHER = "v1/u/bob-1/in/alice-1/" + "b" * 26


MAX_AGE_SECONDS = BrokerLimits().max_age_seconds


def waiting_mail(folder: Path, now: float = 1000.0) -> WaitingMail:
    return WaitingMail(folder, BrokerLimits(), Statistics(), clock=lambda: now)


@asynccontextmanager
async def opened(folder: Path, now: float = 1000.0) -> AsyncIterator[WaitingMail]:
    mail = waiting_mail(folder, now)
    await mail.open()
    yield mail
    await mail.close()


async def all_of(mail: WaitingMail) -> list[Replayed]:
    return await mail.read(mail.index.matching("#"))


async def test_mail_is_there_again_after_closing(tmp_path: Path) -> None:
    async with opened(tmp_path / "new" / "folder") as mail:
        mail.keep(TOPIC, b"one", 1)
        mail.keep(OTHER, b"two", 0)
        mail.keep(OTHER, b"three", 1)
    async with opened(tmp_path / "new" / "folder") as mail:
        assert await all_of(mail) == [Replayed(TOPIC, b"one", 1), Replayed(OTHER, b"three", 1)]
        mail.clear(TOPIC)
    async with opened(tmp_path / "new" / "folder") as mail:
        assert await all_of(mail) == [Replayed(OTHER, b"three", 1)]


async def test_a_batch_is_on_disk_when_its_number_is_committed(tmp_path: Path) -> None:
    mail = waiting_mail(tmp_path)
    await mail.open()
    async with asyncio.TaskGroup() as group:
        told: list[int] = []
        writing = group.create_task(mail.write(lambda: told.append(mail.committed)))
        first = mail.keep(TOPIC, b"one", 1)
        second = mail.keep(OTHER, b"two", 1)
        assert first == second > mail.committed
        await eventually(lambda: first in told)
        mail.clear(TOPIC)
        assert mail.newest > first
        await eventually(lambda: mail.newest in told)
        writing.cancel()
    await mail._in_thread(mail._close)  # as a crash would: nothing more is written
    mail._thread.shutdown()
    async with opened(tmp_path) as again:
        assert await all_of(again) == [Replayed(OTHER, b"two", 1)]


async def test_what_was_cleared_before_it_was_written_is_never_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as mail:
        mail.keep(TOPIC, b"one", 1)
        mail.clear(TOPIC)
        assert await mail._flush()
        assert (mail.committed, mail.statistics.commits) == (1, 0)


async def test_clears_are_written_with_the_next_message(tmp_path: Path) -> None:
    async with opened(tmp_path) as mail:
        mail.keep(TOPIC, b"one", 1)
        assert await mail._flush()
        mail._changed.clear()
        mail.clear(TOPIC)
        assert not mail._changed.is_set()
        mail.keep(OTHER, b"two", 1)
        assert mail._changed.is_set()
        assert await mail._flush()
        assert mail.statistics.commits == 2
    async with opened(tmp_path) as mail:
        assert await all_of(mail) == [Replayed(OTHER, b"two", 1)]


async def test_what_is_read_is_what_waits_then(tmp_path: Path) -> None:
    async with opened(tmp_path) as mail:
        mail.keep(TOPIC, b"one", 1)
        mail.keep(OTHER, b"two", 1)
        assert await mail._flush()
        places = mail.index.matching("#")
        reading = asyncio.create_task(mail.read(places))
        await asyncio.sleep(0)
        mail.keep(TOPIC, b"newer", 1)
        assert await reading == [Replayed(OTHER, b"two", 1)]
        assert await all_of(mail) == [Replayed(OTHER, b"two", 1), Replayed(TOPIC, b"newer", 1)]


@pytest.mark.parametrize(("age", "kept"), [(MAX_AGE_SECONDS, 1), (MAX_AGE_SECONDS + 1, 0)])
async def test_mail_is_dropped_while_running_when_it_is_too_old(
    tmp_path: Path, age: int, kept: int
) -> None:
    now = 1000.0
    mail = WaitingMail(tmp_path, BrokerLimits(), Statistics(), clock=lambda: now)
    await mail.open()
    mail.keep(TOPIC, b"old", 1)
    now += age
    mail.keep(OTHER, b"new", 1)
    assert await mail._flush()
    await mail.expire()
    assert len(mail.index) == kept + 1
    assert mail.statistics.expired == 1 - kept
    await mail.close()


@pytest.mark.parametrize(("age", "kept"), [(MAX_AGE_SECONDS, 1), (MAX_AGE_SECONDS + 1, 0)])
async def test_mail_is_dropped_at_start_when_it_is_too_old(
    tmp_path: Path, age: int, kept: int
) -> None:
    async with opened(tmp_path, now=1000) as mail:
        mail.keep(TOPIC, b"one", 1)
    async with opened(tmp_path, now=1000 + age) as mail:
        assert len(mail.index) == kept
    async with opened(tmp_path, now=1000) as mail:
        assert len(mail.index) == kept


async def test_what_could_not_be_written_is_kept_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retained, "_RETRY_SECONDS", 0.01)
    async with opened(tmp_path) as mail, asyncio.TaskGroup() as group:
        await mail._in_thread(lambda: pages(mail, 1))
        writing = group.create_task(mail.write(lambda: None))
        mail.keep(TOPIC, bytes(100_000), 1)
        await eventually(lambda: "not written" in caplog.text)
        await mail._in_thread(lambda: pages(mail, 100_000))
        await eventually(lambda: not mail._writing)
        writing.cancel()
    async with opened(tmp_path) as mail:
        assert len(mail.index) == 1


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
        await waiting_mail(tmp_path).open()
    assert (tmp_path / FILE_NAME).read_bytes() == junk


async def test_a_file_without_the_table_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.close()
    with pytest.raises(DataDirectoryError, match="left as it was"):
        await waiting_mail(tmp_path).open()


async def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(DataDirectoryError, match="newer version"):
        await waiting_mail(tmp_path).open()
    assert (tmp_path / FILE_NAME).read_bytes() == before


async def test_a_file_in_use_is_left_to_its_user(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(DataDirectoryError, match="other server"):
            await waiting_mail(tmp_path).open()


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="nothing was started"):
        await waiting_mail(tmp_path / "file" / "folder").open()


async def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.executescript(
        "CREATE TABLE waiting_mail (topic TEXT PRIMARY KEY, payload BLOB NOT NULL,"
        " qos INTEGER NOT NULL, stored_at INTEGER NOT NULL); PRAGMA user_version = 1"
    )
    rows = [(OTHER, b"first", 1, 900), (TOPIC, b"second", 1, 901)]
    database.executemany("INSERT INTO waiting_mail VALUES (?, ?, ?, ?)", rows)
    database.commit()
    database.close()
    async with opened(tmp_path) as mail:
        assert await all_of(mail) == [Replayed(OTHER, b"first", 1), Replayed(TOPIC, b"second", 1)]
        mail.keep(TOPIC, b"third", 1)
    async with opened(tmp_path) as mail:
        assert await all_of(mail) == [Replayed(OTHER, b"first", 1), Replayed(TOPIC, b"third", 1)]
