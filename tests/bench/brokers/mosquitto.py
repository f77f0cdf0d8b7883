"""The configuration of Mosquitto: its defaults, with the logins and rights that we deploy."""

import getpass
from pathlib import Path
from typing import Final

from broker.accounts.mosquitto import write_accounts
from client_sdk.wire.verifier import split_credential, stored_credential
from keydir.stores.credentials import StoredLogin

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


def configure(folder: Path, port: int, secrets: dict[str, str]) -> Path:
    """Write all files and return the main one; saved to disk every 30 minutes, as by default."""
    credentials = {login: stored_credential(secret) for login, secret in secrets.items()}
    write_accounts(
        folder, {login: StoredLogin(*split_credential(one)) for login, one in credentials.items()}
    )
    config = folder / "mosquitto.conf"
    config.write_text(_CONFIG.format(user=getpass.getuser(), folder=folder, port=port))
    return config
