"""What replicas of one directory share: token buckets, and who answers."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make both tables; on PostgreSQL user names sort by their bytes from now on."""
    op.create_table(
        "buckets",
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("full_at", sa.BigInteger, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("most", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replicas",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("users", "user", type_=sa.String(32, collation="C"))
