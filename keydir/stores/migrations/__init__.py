"""Schema migrations of the directory's database, run by alembic at start."""
