"""Accounts, devices, prekeys, invitations, logins and kept answers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table of the first version."""
    _make_logins()
    _make_accounts()
    _make_prekeys()


def _make_logins() -> None:
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credentials",
        sa.Column("login", sa.String(64), primary_key=True),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "invitations",
        sa.Column("invitation_id", sa.String(26), primary_key=True),
        sa.Column("user", sa.String(32), nullable=False, index=True),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("device_list_hash", sa.LargeBinary(32)),
        sa.Column("credential_hash", sa.LargeBinary(32)),
        sqlite_with_rowid=False,
    )


def _make_accounts() -> None:
    op.create_table(
        "users",
        sa.Column("user", sa.String(32), primary_key=True),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("device_list", sa.LargeBinary, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_index("users_by_role", "users", ["role", "user"])
    op.create_table(
        "devices",
        sa.Column("address", sa.String(36), primary_key=True),
        sa.Column("user", sa.String(32), sa.ForeignKey("users.user"), nullable=False, index=True),
        sa.Column("signing_key", sa.LargeBinary(33), nullable=False),
        sa.Column("last_counter", sa.BigInteger, nullable=False),
        sa.Column("invitation_id", sa.String(26)),
        sa.Column("published_at", sa.BigInteger),
        sa.Column("low_event_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger, index=True),
        sa.Column("swept_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )


def _make_prekeys() -> None:
    device = "devices.address"
    op.create_table(
        "standing_prekeys",
        sa.Column("address", sa.String(36), sa.ForeignKey(device), primary_key=True),
        sa.Column("kind", sa.Integer, primary_key=True),
        sa.Column("key_id", sa.BigInteger, nullable=False),
        sa.Column("signed_at", sa.BigInteger, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "one_time_prekeys",
        sa.Column("address", sa.String(36), sa.ForeignKey(device), primary_key=True),
        sa.Column("kind", sa.Integer, primary_key=True),
        sa.Column("key_id", sa.BigInteger, primary_key=True),
        sa.Column("signed_at", sa.BigInteger, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "spent_prekeys",
        sa.Column("address", sa.String(36), sa.ForeignKey(device), primary_key=True),
        sa.Column("kind", sa.Integer, primary_key=True),
        sa.Column("key_id", sa.BigInteger, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "answers",
        sa.Column("address", sa.String(36), sa.ForeignKey(device), primary_key=True),
        sa.Column("request_id", sa.String(26), primary_key=True),
        sa.Column("request_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("reply", sa.LargeBinary, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False, index=True),
    )
