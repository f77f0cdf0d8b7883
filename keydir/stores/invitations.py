"""Invitations, logins, kept answers and settings in SQL."""

from dataclasses import replace
from functools import cache
from typing import Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Text,
    bindparam,
    cast,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from client_sdk.wire.ids import (
    ENROLL_LOGIN_PREFIX,
    DeviceAddress,
    InvitationId,
    RequestId,
    UserName,
)
from keydir.records import Answer, InvitationRow, Purpose
from keydir.stores.credentials import REVISION
from keydir.stores.schema import ANSWERS, CREDENTIALS, INVITATIONS, SETTINGS
from keydir.stores.upsert import upsert

_FIND_ANSWER: Final = select(ANSWERS.c.request_hash, ANSWERS.c.reply).where(
    ANSWERS.c.address == bindparam("owner"),
    ANSWERS.c.request_id == bindparam("id"),
    ANSWERS.c.answered_at >= bindparam("since"),
)


@cache
def _keep_answer(dialect: str) -> sqlite.Insert | postgresql.Insert:
    new = upsert(dialect, ANSWERS)
    fresh = {name: new.excluded[name] for name in ("request_hash", "reply", "answered_at")}
    return new.on_conflict_do_update(index_elements=["address", "request_id"], set_=fresh)


class SqlSettings:
    """Named texts of one transaction, see ``Settings``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection

    def get(self, name: str) -> str | None:
        """Return a text."""
        value: str | None = self._connection.execute(
            select(SETTINGS.c.value).where(SETTINGS.c.name == name)
        ).scalar()
        return value

    def put(self, name: str, value: str) -> None:
        """Add or replace a text."""
        new = upsert(self._connection.dialect.name, SETTINGS).values(name=name, value=value)
        self._connection.execute(
            new.on_conflict_do_update(index_elements=["name"], set_={"value": value})
        )


class SqlLogins:
    """MQTT logins of one transaction, see ``Logins``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection

    def put(self, login: str, secret_hash: bytes, expires_at: int | None) -> None:
        """Add or replace a login; None never expires."""
        values = {"sha256": secret_hash, "expires_at": expires_at}
        new = upsert(self._connection.dialect.name, CREDENTIALS).values(login=login, **values)
        self._connection.execute(new.on_conflict_do_update(index_elements=["login"], set_=values))
        self._count_change()

    def secret_hash(self, login: str) -> bytes | None:
        """Return the SHA-256 of a login's password, also of one that has expired."""
        found: bytes | None = self._connection.execute(
            select(CREDENTIALS.c.sha256).where(CREDENTIALS.c.login == login)
        ).scalar()
        return found

    def remove(self, login: str) -> None:
        """Remove a login, where there is one."""
        self._connection.execute(delete(CREDENTIALS).where(CREDENTIALS.c.login == login))
        self._count_change()

    def _count_change(self) -> None:
        # Counted by the database: two replicas that read it first would both write the same.
        new = upsert(self._connection.dialect.name, SETTINGS).values(name=REVISION, value="1")
        following = cast(cast(SETTINGS.c.value, BigInteger) + 1, Text)
        self._connection.execute(
            new.on_conflict_do_update(index_elements=["name"], set_={"value": following})
        )


class SqlInvitations:
    """Invitations of one transaction, see ``Invitations``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection
        self._logins = SqlLogins(connection)

    def find(self, invitation_id: InvitationId) -> InvitationRow | None:
        """Return one invitation, and keep others from it until the end."""
        row = self._connection.execute(
            select(INVITATIONS)
            .where(INVITATIONS.c.invitation_id == invitation_id)
            .with_for_update(key_share=True)
        ).first()
        if row is None:
            return None
        return replace(InvitationRow(*row), purpose=Purpose(row.purpose))

    def replace(self, invitation: InvitationRow) -> None:
        """Add an invitation; every other one of the same user and its login are gone."""
        self.withdraw(invitation.user)
        self._connection.execute(
            insert(INVITATIONS).values(
                invitation_id=invitation.invitation_id,
                user=invitation.user,
                role=invitation.role,
                name=invitation.name,
                expires_at=invitation.expires_at,
                purpose=invitation.purpose,
            )
        )

    def redeem(
        self, invitation_id: InvitationId, device_list_hash: bytes, credential_hash: bytes
    ) -> None:
        """Record with which keys an invitation was redeemed."""
        self._connection.execute(
            update(INVITATIONS)
            .where(INVITATIONS.c.invitation_id == invitation_id)
            .values(device_list_hash=device_list_hash, credential_hash=credential_hash)
        )

    def end(self, invitation_id: InvitationId) -> None:
        """Remove an invitation and its one-time login."""
        self._connection.execute(
            delete(INVITATIONS).where(INVITATIONS.c.invitation_id == invitation_id)
        )
        self._logins.remove(ENROLL_LOGIN_PREFIX + invitation_id)

    def withdraw(self, user: UserName) -> bool:
        """Remove all invitations of a user and their logins; False where there is none."""
        ids = self._connection.scalars(
            select(INVITATIONS.c.invitation_id).where(INVITATIONS.c.user == user)
        ).all()
        for invitation_id in ids:
            self.end(InvitationId(invitation_id))
        return bool(ids)


class SqlAnswers:
    """Kept replies of one transaction, see ``Answers``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection

    def find(self, address: DeviceAddress, request_id: RequestId, since: int) -> Answer | None:
        """Return the reply that was given under a request id of a device, not before ``since``."""
        row = self._connection.execute(
            _FIND_ANSWER, {"owner": address, "id": request_id, "since": since}
        ).first()
        return None if row is None else Answer(*row)

    def keep(self, address: DeviceAddress, request_id: RequestId, answer: Answer, now: int) -> None:
        """Keep a reply given at ``now``, in place of an old one."""
        self._connection.execute(
            _keep_answer(self._connection.dialect.name),
            {
                "address": address,
                "request_id": request_id,
                "request_hash": answer.request_hash,
                "reply": answer.reply,
                "answered_at": now,
            },
        )

    def forget_before(self, time: int) -> None:
        """Forget every reply given before ``time``."""
        self._connection.execute(delete(ANSWERS).where(ANSWERS.c.answered_at < time))
