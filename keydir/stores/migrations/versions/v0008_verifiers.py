"""Logins for brokers that cannot use SHA-256."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the verifier; logins made before have none, and only the device could make one."""
    op.add_column("credentials", sa.Column("verifier", sa.LargeBinary(64)))
