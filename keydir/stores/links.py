"""Links of further devices in SQL."""

from sqlalchemy import Connection, delete, insert, select, update

from client_sdk.wire.ids import ENROLL_LOGIN_PREFIX, DeviceAddress, InvitationId, UserName
from keydir.records import LinkRow
from keydir.stores.invitations import SqlLogins
from keydir.stores.schema import LINKS


class SqlLinks:
    """Links of one transaction, see ``Links``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection
        self._logins = SqlLogins(connection)

    def find(self, invitation_id: InvitationId) -> LinkRow | None:
        """Return one link, and keep others from it until the end."""
        row = self._connection.execute(
            select(LINKS)
            .where(LINKS.c.invitation_id == invitation_id)
            .with_for_update(key_share=True)
        ).first()
        return None if row is None else LinkRow(*row)

    def replace(self, link: LinkRow) -> None:
        """Add a link; every other one of the same user and its login are gone."""
        self.withdraw(link.user)
        self._connection.execute(
            insert(LINKS).values(
                invitation_id=link.invitation_id,
                user=link.user,
                expires_at=link.expires_at,
                address=link.address,
                granted=link.grant,
            )
        )

    def join(self, invitation_id: InvitationId, join: bytes) -> None:
        """Record what the new device asked for."""
        self._set(invitation_id, joined=join)

    def approve(self, invitation_id: InvitationId, address: DeviceAddress, grant: bytes) -> None:
        """Record what the new device became."""
        self._set(invitation_id, address=address, granted=grant)

    def withdraw(self, user: UserName) -> None:
        """Remove all links of a user and their logins."""
        ids = self._connection.scalars(
            select(LINKS.c.invitation_id).where(LINKS.c.user == user)
        ).all()
        for invitation_id in ids:
            self._logins.remove(ENROLL_LOGIN_PREFIX + invitation_id)
        self._connection.execute(delete(LINKS).where(LINKS.c.user == user))

    def _set(self, invitation_id: InvitationId, **values: bytes | str) -> None:
        self._connection.execute(
            update(LINKS).where(LINKS.c.invitation_id == invitation_id).values(**values)
        )
