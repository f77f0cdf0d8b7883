"""Tables of the directory's database; the migrations make them."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA: Final = MetaData()

_BY_BYTES: Final = String(32).with_variant(String(32, collation="C"), "postgresql")
"""Names sort by their bytes on every database, as devices expect of a page of contacts."""

SETTINGS: Final = Table(
    "settings",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

CREDENTIALS: Final = Table(
    "credentials",
    METADATA,
    Column("login", String(64), primary_key=True),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("expires_at", BigInteger),
    sqlite_with_rowid=False,
)

INVITATIONS: Final = Table(
    "invitations",
    METADATA,
    Column("invitation_id", String(26), primary_key=True),
    Column("user", String(32), nullable=False, index=True),
    Column("role", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("device_list_hash", LargeBinary(32)),
    Column("credential_hash", LargeBinary(32)),
    Column("purpose", String(16), nullable=False, server_default="new"),
    sqlite_with_rowid=False,
)

USERS: Final = Table(
    "users",
    METADATA,
    Column("user", _BY_BYTES, primary_key=True),
    Column("role", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("device_list", LargeBinary, nullable=False),
    Column("revoked_at", BigInteger),
    Index("users_by_role", "role", "user"),
    sqlite_with_rowid=False,
)

DEVICES: Final = Table(
    "devices",
    METADATA,
    Column("address", String(36), primary_key=True),
    Column("user", String(32), ForeignKey("users.user"), nullable=False, index=True),
    Column("signing_key", LargeBinary(33), nullable=False),
    Column("last_counter", BigInteger, nullable=False),
    Column("invitation_id", String(26)),
    Column("published_at", BigInteger),
    Column("low_event_at", BigInteger),
    Column("revoked_at", BigInteger, index=True),
    Column("swept_at", BigInteger),
    sqlite_with_rowid=False,
)

DEVICE_LISTS: Final = Table(
    "device_lists",
    METADATA,
    Column("user", String(32), ForeignKey("users.user"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("device_list", LargeBinary, nullable=False),
)
"""Every version of every list: whoever was away follows them one by one."""

LINKS: Final = Table(
    "links",
    METADATA,
    Column("invitation_id", String(26), primary_key=True),
    Column("user", String(32), ForeignKey("users.user"), nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("joined", LargeBinary),
    Column("address", String(36), nullable=False),
    Column("granted", LargeBinary, nullable=False),
)

STANDING_PREKEYS: Final = Table(
    "standing_prekeys",
    METADATA,
    Column("address", String(36), ForeignKey("devices.address"), primary_key=True),
    Column("kind", Integer, primary_key=True),
    Column("key_id", BigInteger, nullable=False),
    Column("signed_at", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

ONE_TIME_PREKEYS: Final = Table(
    "one_time_prekeys",
    METADATA,
    Column("address", String(36), ForeignKey("devices.address"), primary_key=True),
    Column("kind", Integer, primary_key=True),
    Column("key_id", BigInteger, primary_key=True),
    Column("signed_at", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

SPENT_PREKEYS: Final = Table(
    "spent_prekeys",
    METADATA,
    Column("address", String(36), ForeignKey("devices.address"), primary_key=True),
    Column("kind", Integer, primary_key=True),
    Column("key_id", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
"""Ids of one-time prekeys that were handed out: none of them is ever added again."""

ANSWERS: Final = Table(
    "answers",
    METADATA,
    Column("address", String(36), ForeignKey("devices.address"), primary_key=True),
    Column("request_id", String(26), primary_key=True),
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("reply", LargeBinary, nullable=False),
    Column("answered_at", BigInteger, nullable=False, index=True),
)

STORE_COUNTERS: Final = Table(
    "store_counters",
    METADATA,
    Column("address", String(36), ForeignKey("devices.address"), primary_key=True),
    Column("opens", BigInteger, nullable=False),
    Column("commits", BigInteger, nullable=False),
    Column("open_id", LargeBinary(16), nullable=False),
    sqlite_with_rowid=False,
)
"""How often each device's store was opened and written: a lower report is a restored copy."""

BUCKETS: Final = Table(
    "buckets",
    METADATA,
    Column("key", String(128), primary_key=True),
    Column("full_at", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("most", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Token buckets that are not full, shared by every replica; in ms since 1970.

``step`` and ``most`` are those of the newest token: one statement that takes several tokens finds
in them what holds for each row.
"""

REPLICAS: Final = Table(
    "replicas",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("beat", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Directories that answer on one broker; a number that no longer grows is of one that ended."""
