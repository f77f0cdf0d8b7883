"""How large sessions are: in the store, and in a process that holds many of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import parse_record, serialize_record
from tests.bench.counts import Counts
from tests.bench.ratchet import ends
from tests.bench.rows import Label, Row, size_row

MB: Final = 1_000_000
TURNS: Final = 200
"""Messages of a conversation, in turns: some six epochs, so that every stage of one is met."""


def measure_sizes(counts: Counts) -> list[Row]:
    """Return the rows of sizes; memory is that of a new process."""
    records = stored_records()
    sizes = [len(one) for one in records]
    skipped = _bytes_a_skipped_key(counts)
    memory = memory_of(counts.sessions)
    many = f"{counts.sessions:,} open sessions, memory beyond the empty process"
    return [
        size_row(Label("size.session", "session serialised, in a conversation"), "B", sizes),
        size_row(
            Label("size.session_largest", "session serialised, the largest"), "B", [max(sizes)]
        ),
        size_row(Label("size.skipped_key", "session serialised, a skipped key"), "B", [skipped]),
        size_row(Label("memory.sessions", many), "MB", [memory / MB]),
    ]


def stored_records() -> list[bytes]:
    """Return a session as it is stored, after each message of a conversation, of both sides."""
    sides = list(ends(kept=False))
    records = []
    for _ in range(TURNS):
        sides[1].decrypt(sides[0].encrypt())
        records += [serialize_record(SessionRecord(one.session)) for one in sides]
        sides.reverse()
    return records


def _bytes_a_skipped_key(counts: Counts) -> float:
    sender, receiver = ends(kept=False)
    receiver.decrypt(sender.encrypt())
    before = len(serialize_record(SessionRecord(receiver.session)))
    for _ in range(counts.chain - 1):
        sender.encrypt()
    receiver.decrypt(sender.encrypt())
    after = len(serialize_record(SessionRecord(receiver.session)))
    return (after - before) / (counts.chain - 1)


def memory_of(sessions: int) -> int:
    """Return what so many open sessions take in a new process, in bytes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.sizes", str(sessions)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    memory: int = json.loads(done.stdout)
    return memory


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Open as many sessions as the first argument says; print what they take."""
    records = stored_records()
    opened = [parse_record(records[0])]
    empty = _resident_bytes()
    while len(opened) < int(sys.argv[1]):
        opened.append(parse_record(records[len(opened) % len(records)]))
    print(json.dumps(max(_resident_bytes() - empty, 1)))


if __name__ == "__main__":
    main()
