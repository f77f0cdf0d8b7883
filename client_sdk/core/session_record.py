"""All sessions with one device: the current one, and older ones that only decrypt.

Source: Signal, The Sesame Algorithm, section 3.1, with one bounded list of archived sessions.
"""

from dataclasses import dataclass, replace
from typing import Final

from client_sdk.core.errors import StateFormatError
from client_sdk.core.session import Session
from client_sdk.wire.bundle import DAY_MS
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import DeviceAddress

MAX_ARCHIVED_SESSIONS: Final = 5
"""Archived sessions with one device; the oldest gives way."""

ARCHIVE_LIFETIME_MS: Final = 30 * DAY_MS
"""How long an archived session still decrypts: as long as a sender repeats a message."""


@dataclass(frozen=True, slots=True)
class ArchivedSession:
    """A session that only decrypts, and when it was put away (ms since 1970)."""

    session: Session
    archived_at: int


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The sessions with one device; ``archived`` has the newest first."""

    current: Session | None = None
    archived: tuple[ArchivedSession, ...] = ()
    heard_at: int = 0
    """The latest time that a content of the device named (ms since 1970, by its clock)."""


def check_ends(record: SessionRecord, local: DeviceAddress, remote: DeviceAddress) -> None:
    """Accept a stored record whose sessions are all of these two devices.

    Raises:
        StateFormatError: One is of others: the row was put in another's place.
    """
    current = () if record.current is None else (record.current,)
    for session in (*current, *(old.session for old in record.archived)):
        if (session.local, session.remote) != (local, remote):
            raise StateFormatError("the stored sessions are of other devices; nothing was changed")


def find(record: SessionRecord, tag: bytes) -> Session | None:
    """Return the session with this 8-byte tag, current or archived, or None."""
    if record.current is not None and record.current.link.tag == tag:
        return record.current
    return next((old.session for old in record.archived if old.session.link.tag == tag), None)


def update(record: SessionRecord, session: Session) -> SessionRecord:
    """Return the record with the next state of a session it holds, in the same place.

    Raises:
        MisuseError: It holds no session of that id.
    """
    session_id = session.session_id
    if record.current is not None and record.current.session_id == session_id:
        return SessionRecord(session, record.archived, record.heard_at)
    if not _is_archived(record, session):
        raise MisuseError("the record does not hold this session; nothing was changed")
    return SessionRecord(
        record.current,
        tuple(
            ArchivedSession(session, old.archived_at)
            if old.session.session_id == session_id
            else old
            for old in record.archived
        ),
        record.heard_at,
    )


def promote(record: SessionRecord, session: Session, now_ms: int) -> SessionRecord:
    """Return the record with ``session`` as the current one; the one before is archived.

    Raises:
        MisuseError: ``session`` is archived: an archived session never sends again.
    """
    if record.current is not None and record.current.session_id == session.session_id:
        return SessionRecord(session, record.archived, record.heard_at)
    if _is_archived(record, session):
        raise MisuseError("an archived session never becomes current again; nothing was changed")
    return SessionRecord(session, archive_current(record, now_ms).archived, record.heard_at)


def add_archived(record: SessionRecord, session: Session, now_ms: int) -> SessionRecord:
    """Return the record with ``session`` archived; over the limit the oldest gives way.

    Raises:
        MisuseError: The record holds the session already.
    """
    current = record.current
    if _is_archived(record, session) or (
        current is not None and current.session_id == session.session_id
    ):
        raise MisuseError("the record holds this session already; nothing was changed")
    return SessionRecord(current, _pushed(record, session, now_ms), record.heard_at)


def archive_current(record: SessionRecord, now_ms: int) -> SessionRecord:
    """Return the record without a current session; what was current only decrypts from now on."""
    if record.current is None:
        return record
    return SessionRecord(None, _pushed(record, record.current, now_ms), record.heard_at)


def expire(record: SessionRecord, now_ms: int) -> SessionRecord:
    """Return the record less the sessions archived over ``ARCHIVE_LIFETIME_MS`` ago."""
    kept = tuple(old for old in record.archived if now_ms - old.archived_at <= ARCHIVE_LIFETIME_MS)
    return record if len(kept) == len(record.archived) else replace(record, archived=kept)


def heard(record: SessionRecord, sent_at: int) -> SessionRecord:
    """Return the record after a content of that time was opened."""
    if sent_at <= record.heard_at:
        return record
    return SessionRecord(record.current, record.archived, sent_at)


def crossing(current: Session, new: Session) -> bool:
    """Tell whether ``new`` is to be the current one of two sessions started towards each other.

    Both devices compare the same two ids, so both keep the session with the smaller one.
    """
    return new.session_id < current.session_id


def _is_archived(record: SessionRecord, session: Session) -> bool:
    return any(old.session.session_id == session.session_id for old in record.archived)


def _pushed(record: SessionRecord, session: Session, now_ms: int) -> tuple[ArchivedSession, ...]:
    return (ArchivedSession(session, now_ms), *record.archived)[:MAX_ARCHIVED_SESSIONS]
