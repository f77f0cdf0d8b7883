"""Stands in for systemctl where no systemd runs: starts what the unit files of a machine say.

Run as a file. ``GUIDE_ROOT`` is the machine's folder: units under ``etc/systemd/system``, pids
under ``run``, what services say under ``log``. A unit of ``Type=notify`` has started when it says
so; nothing is restarted by itself, so whatever dies is noticed.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["GUIDE_ROOT"])
UNITS = ROOT / "etc" / "systemd" / "system"
START_SECONDS, STOP_SECONDS = 120.0, 30.0


def main(arguments: list[str]) -> None:
    verb, *names = [word for word in arguments if word != "--now"]
    if verb == "daemon-reload":
        verify()
    if verb in {"stop", "disable", "restart"}:
        for name in reversed(names):
            stop(name)
    if verb in {"start", "enable", "restart"}:
        for name in names:
            start(name)


def unit(name: str) -> list[str]:
    """Return the lines of a unit, its paths those of this machine."""
    prefix, at, instance = name.partition("@")
    text = (UNITS / f"{prefix}{at}.service").read_text()
    for one, other in json.loads((ROOT / "replaced.json").read_text()):
        text = text.replace(one, other)
    return text.replace("%i", instance).splitlines()


def values(lines: list[str], key: str) -> list[str]:
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def start(name: str) -> None:
    if pid_of(name) is not None:
        return
    lines, log = unit(name), ROOT / "log" / f"{name}.log"
    with log.open("ab") as said, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        for line in values(lines, "ExecStartPre"):
            done = subprocess.run(shlex.split(line), check=False, stdout=said, stderr=said)
            if done.returncode:
                fail(name, log)
        address = f"ratchetmq-guide-{os.getpid()}-{name}"
        notified.bind(f"\0{address}")
        notified.settimeout(0.05)
        service = subprocess.Popen(
            shlex.split(values(lines, "ExecStart")[0]),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, "NOTIFY_SOCKET": f"@{address}"},
            start_new_session=True,
        )
        (ROOT / "run" / name).write_text(str(service.pid))
        if values(lines, "Type") == ["notify"] and not is_ready(service, notified):
            fail(name, log)


def is_ready(service: "subprocess.Popen[bytes]", notified: socket.socket) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while service.poll() is None and time.monotonic() < deadline:
        try:
            if b"READY=1" in notified.recv(4096):
                return True
        except TimeoutError:
            continue
    return False


def stop(name: str) -> None:
    """End a service as its unit would be; one that runs on after SIGTERM is a failure."""
    pid = pid_of(name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while pid_of(name) == pid:
            if time.monotonic() > deadline:
                sys.exit(f"{name} did not end within {STOP_SECONDS} s after SIGTERM")
            time.sleep(0.02)


def pid_of(name: str) -> int | None:
    """Return the process of a service that runs, of this machine only."""
    try:
        pid = int((ROOT / "run" / name).read_text())
        is_ours = f"GUIDE_ROOT={ROOT}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid if is_ours and state != "Z" else None


def verify() -> None:
    """Ask the real systemd about the units, where it is installed."""
    program = shutil.which("systemd-analyze", path="/usr/bin:/bin")
    if program is None:
        return
    copies = ROOT / "verified"
    shutil.rmtree(copies, ignore_errors=True)
    shutil.copytree(UNITS, copies)
    names = [
        file.stem + ("x" if file.stem.endswith("@") else "") for file in UNITS.glob("*.service")
    ]
    for name in names:
        (copies / f"{name}.service").write_text("\n".join(unit(name)))
    files = [str(copies / f"{name}.service") for name in names]
    done = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", *files],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode or done.stderr:
        sys.exit(done.stderr)


def fail(name: str, log: Path) -> None:
    sys.exit(f"{name} did not start:\n{log.read_text(errors='replace')[-3000:]}")


if __name__ == "__main__":
    main(sys.argv[1:])
