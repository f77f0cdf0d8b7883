"""Every version of a device list, and links of further devices."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make both tables; the newest list of each user stays where it was, too."""
    op.create_table(
        "device_lists",
        sa.Column("user", sa.String(32), sa.ForeignKey("users.user"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("device_list", sa.LargeBinary, nullable=False),
    )
    op.execute("INSERT INTO device_lists SELECT user, 1, device_list FROM users")
    op.create_table(
        "links",
        sa.Column("invitation_id", sa.String(26), primary_key=True),
        sa.Column("user", sa.String(32), sa.ForeignKey("users.user"), nullable=False, index=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("joined", sa.LargeBinary),
        sa.Column("address", sa.String(36), nullable=False),
        sa.Column("granted", sa.LargeBinary, nullable=False),
    )
