"""The configuration of Mosquitto: its defaults, the same logins and the topic table."""

import base64
import getpass
import hashlib
import os
from pathlib import Path
from typing import Final

_ITERATIONS: Final = 101
"""What mosquitto_passwd of 2.0 writes."""

_CONFIG: Final = """\
per_listener_settings false
allow_anonymous false
user {user}
password_file {folder}/passwords
acl_file {folder}/acl
persistence true
persistence_location {folder}/
set_tcp_nodelay true
max_queued_messages 1000000
max_inflight_messages 1000
listener {port} 127.0.0.1
use_username_as_clientid true
"""

_ACL: Final = """\
pattern write v1/u/+/in/%u/+
pattern write v1/kd/req/%u/+
pattern write v1/u/%u/#
pattern read v1/u/%u/#
user _kd
topic readwrite v1/#
"""


def configure(folder: Path, port: int, secrets: dict[str, str]) -> Path:
    """Write all files and return the main one; saved to disk every 30 minutes, as by default."""
    passwords = [f"{login}:{_hashed(secret)}\n" for login, secret in secrets.items()]
    (folder / "passwords").write_text("".join(passwords))
    (folder / "acl").write_text(_ACL)
    for name in ("passwords", "acl"):
        (folder / name).chmod(0o600)
    config = folder / "mosquitto.conf"
    config.write_text(_CONFIG.format(user=getpass.getuser(), folder=folder, port=port))
    return config


def _hashed(secret: str) -> str:
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, _ITERATIONS, 64)
    parts = (base64.b64encode(one).decode() for one in (salt, digest))
    return f"$7${_ITERATIONS}${'$'.join(parts)}"
