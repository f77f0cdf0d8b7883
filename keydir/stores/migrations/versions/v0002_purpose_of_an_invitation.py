"""What an invitation is for: a new account, or a new device of one that exists."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; every earlier invitation is for a new account."""
    op.add_column(
        "invitations",
        sa.Column("purpose", sa.String(16), nullable=False, server_default="new"),
    )
