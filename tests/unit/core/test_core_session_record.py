"""The session record: one session sends, a few older ones still decrypt."""

from dataclasses import replace

import pytest

from client_sdk.core.session import Session
from client_sdk.core.session_record import (
    ARCHIVE_LIFETIME_MS,
    MAX_ARCHIVED_SESSIONS,
    SessionRecord,
    add_archived,
    archive_current,
    crossing,
    expire,
    find,
    promote,
    update,
)
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import SessionId
from tests.vectors.core_parties import NOW, established

BASE = established()[0]


def session(number: int) -> Session:
    link = replace(BASE.link, session_id=SessionId(bytes([number]) * 32))
    return BASE._replace(link=link)


def test_a_session_is_found_by_its_tag_wherever_it_is() -> None:
    record = add_archived(SessionRecord(session(1)), session(2), NOW)
    assert find(record, session(1).tag) == session(1)
    assert find(record, session(2).tag) == session(2)
    assert find(record, session(3).tag) is None
    assert find(SessionRecord(), session(1).tag) is None


def test_an_update_stays_in_its_place() -> None:
    record = SessionRecord(session(1))
    for number in (2, 3):
        record = add_archived(record, session(number), NOW + number)
    for number in (1, 2, 3):
        changed = session(number)._replace(acknowledged=not BASE.acknowledged)
        updated = update(record, changed)
        assert find(updated, changed.tag) == changed
        assert [old.archived_at for old in updated.archived] == [NOW + 3, NOW + 2]
    with pytest.raises(MisuseError):
        update(record, session(4))


def test_a_promoted_session_archives_the_one_before() -> None:
    record = promote(SessionRecord(), session(1), NOW)
    assert record == SessionRecord(session(1))
    changed = session(1)._replace(acknowledged=not BASE.acknowledged)
    assert promote(record, changed, NOW) == SessionRecord(changed)
    record = promote(record, session(2), NOW)
    assert record.current == session(2)
    assert [old.session for old in record.archived] == [session(1)]


def test_a16_an_archived_session_never_sends_again() -> None:
    record = promote(SessionRecord(session(1)), session(2), NOW)
    with pytest.raises(MisuseError):
        promote(record, session(1), NOW)


def test_a_session_is_archived_once() -> None:
    record = add_archived(SessionRecord(session(1)), session(2), NOW)
    for held in (session(1), session(2)):
        with pytest.raises(MisuseError):
            add_archived(record, held, NOW)


def test_archiving_the_current_session_leaves_none_to_send_with() -> None:
    record = archive_current(SessionRecord(session(1)), NOW)
    assert record.current is None
    assert find(record, session(1).tag) == session(1)
    assert archive_current(record, NOW) is record


def test_the_oldest_archived_session_gives_way_over_the_limit() -> None:
    record = SessionRecord()
    for number in range(MAX_ARCHIVED_SESSIONS):
        record = add_archived(record, session(number), NOW)
    assert find(record, session(0).tag) is not None
    record = add_archived(record, session(99), NOW)
    assert len(record.archived) == MAX_ARCHIVED_SESSIONS
    assert find(record, session(0).tag) is None
    assert find(record, session(1).tag) is not None


def test_a16_an_archived_session_expires_a_millisecond_after_its_lifetime() -> None:
    record = add_archived(SessionRecord(session(1)), session(2), NOW)
    assert expire(record, NOW + ARCHIVE_LIFETIME_MS) is record
    assert expire(record, NOW + ARCHIVE_LIFETIME_MS + 1) == SessionRecord(session(1))


def test_a17_both_sides_of_a_crossing_choose_the_same_session() -> None:
    assert crossing(session(2), session(1))
    assert not crossing(session(1), session(2))
    assert not crossing(session(1), session(1))
