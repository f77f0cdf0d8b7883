"""The one statement that each database spells in its own dialect: add a row, or replace it."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that can say what becomes of a row that is there.

    Args:
        dialect: The name of the database's dialect.
        table: Where a row is added.
    """
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
