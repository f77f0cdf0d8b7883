"""Mosquitto 2: its configuration, access list and password file as text; pure."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from broker.generate.rights import (
    Rights,
    device_rights,
    directory_rights,
    enrolment_rights,
    invitation_of,
    is_directory,
)
from broker.settings import BrokerSettings
from client_sdk.wire.ids import DIRECTORY_LOGIN
from client_sdk.wire.verifier import ITERATIONS, Verifier, salt_of

CONFIG_FILE: Final = "mosquitto.conf"
ACL_FILE: Final = "acl"
PASSWORD_FILE: Final = "passwords"  # noqa: S105 - the name of a file
PID_FILE: Final = "mosquitto.pid"
STORE_FOLDER: Final = "store"

SERVICE_USER: Final = "ratchetmq"
"""The user of the services in ``configs/systemd``."""

MIN_QUEUED_MESSAGES: Final = 100_000
"""One subscription is handed everything that waits; beyond its queue Mosquitto drops silently."""

_CONFIG: Final = """\
# Mosquitto 2 for RatchetMQ, made by `ratchetmq config mosquitto`; made again, it is overwritten.
#
#     mosquitto -c {folder}/mosquitto.conf
#     ratchetmq accounts mosquitto --data {data} --out {folder}
#     ratchetmq keydir --data {data} --broker-url {url}
#
# Start all three as the user who owns these files; root becomes that user.
# On one machine `ratchetmq serve --broker mosquitto` does all of it in one command.
user {user}

# --- Who may log in, and to what. Nobody without a login.
per_listener_settings false
allow_anonymous false
allow_zero_length_clientid false
# Both files are written by `ratchetmq accounts`, which tells Mosquitto to read them again; devices
# that are connected stay connected.
password_file {folder}/passwords
acl_file {folder}/acl
pid_file {folder}/mosquitto.pid

# --- Waiting mail outlives a restart. Mosquitto acknowledges before it writes: a crash can lose
# the last {autosave} changes, which the senders' outboxes then publish again.
persistence true
persistence_location {store}/
autosave_on_changes true
autosave_interval {autosave}
persistent_client_expiration 1d

# --- Limits.
message_size_limit {payload}
max_inflight_messages {inflight}
# One subscription is handed all mail that waits. Beyond this Mosquitto drops without a word, with
# its default of 1,000 after the first 1,020; 0 would disconnect senders (mosquitto issue 3244).
max_queued_messages {queued}
retain_available true
set_tcp_nodelay true
sys_interval 0

# --- The log tells ids and errors, no payload.
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages {chatty}

# --- Where it listens.
listener {port} {host}
max_connections {connections}
# Nobody takes another's connection over by its client id. It counts only under a listener.
use_username_as_clientid true
"""

_TLS: Final = """\
certfile {cert}
keyfile {key}
tls_version tlsv1.2
"""

_ACL_HEAD: Final = """\
# The topic table of the protocol for Mosquitto, written by `ratchetmq`; changes are overwritten.
# Every login: what it writes to others it writes under its own name.
"""

AUTOSAVE_CHANGES: Final = 100
"""Changes between two writes of the whole store: fewer cost more than they save."""


def configuration(settings: BrokerSettings, folder: Path, user: str = SERVICE_USER) -> str:
    """Return ``mosquitto.conf``.

    Args:
        settings: Checked by ``require_deployable``.
        folder: The absolute folder of all generated files.
        user: Who owns them and the data.
    """
    limits = settings.limits
    text = _CONFIG.format(
        folder=folder,
        user=user,
        data=settings.data_dir,
        store=store_folder(settings),
        url=f"mqtt{'s' if settings.has_tls else ''}://…:{settings.port}",
        autosave=AUTOSAVE_CHANGES,
        payload=limits.max_packet_bytes,
        inflight=limits.max_inflight,
        queued=max(MIN_QUEUED_MESSAGES, limits.max_queue_messages),
        chatty=str(settings.log_level in {"debug", "info"}).lower(),
        port=settings.port,
        host=settings.host,
        connections=limits.max_connections,
    )
    if settings.has_tls:
        text += _TLS.format(cert=settings.tls_cert, key=settings.tls_key)
    return text


def store_folder(settings: BrokerSettings) -> Path:
    """Return where Mosquitto keeps waiting mail."""
    return settings.data_dir / "mosquitto" / STORE_FOLDER


def access_list(logins: Iterable[str] = ()) -> str:
    """Return the ACL file; one-time logins and replicas of the directory need lines of their own.

    Args:
        logins: All logins; devices are covered by patterns.
    """
    lines = [_ACL_HEAD.rstrip("\n")]
    lines += _lines("pattern", device_rights("%u"))
    named = sorted({DIRECTORY_LOGIN, *logins})
    for login in named:
        invitation = invitation_of(login)
        if is_directory(login):
            lines += [f"user {login}", *_lines("topic", directory_rights())]
        elif invitation is not None:
            lines += [f"user {login}", *_lines("topic", enrolment_rights(invitation))]
    return "\n".join(lines) + "\n"


def password_line(login: str, secret_hash: bytes, verifier: Verifier) -> str:
    """Return one line of the password file."""
    salt, digest = (base64.b64encode(one).decode() for one in (salt_of(secret_hash), verifier))
    return f"{login}:$7${ITERATIONS}${salt}${digest}\n"


def _lines(kind: str, rights: Rights) -> Iterator[str]:
    both = set(rights.writes) & set(rights.reads)
    for topic in rights.writes:
        yield f"{kind} {'readwrite' if topic in both else 'write'} {topic}"
    for topic in rights.reads:
        if topic not in both:
            yield f"{kind} read {topic}"
