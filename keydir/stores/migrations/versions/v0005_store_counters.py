"""What devices report of their stores."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of reports."""
    op.create_table(
        "store_counters",
        sa.Column("address", sa.String(36), sa.ForeignKey("devices.address"), primary_key=True),
        sa.Column("opens", sa.BigInteger, nullable=False),
        sa.Column("commits", sa.BigInteger, nullable=False),
        sa.Column("open_id", sa.LargeBinary(16), nullable=False),
        sqlite_with_rowid=False,
    )
