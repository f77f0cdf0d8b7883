"""The table of all implementations side by side, as Markdown, and what its figures hang on."""

from statistics import median
from typing import Any, Final

OURS: Final = "RatchetMQ"
TIMES: Final = {
    "setup_sender": "set-up, sender, first message included",
    "setup_receiver": "set-up, receiver, first message included",
    "encrypt": "in one chain, 64 B: encrypt",
    "decrypt": "in one chain, 64 B: decrypt",
    "pair": "ping-pong: encrypt + decrypt",
    "jump": "message 1,000 first",
    "late": "each of the 999 late",
}
SIZES: Final = {
    "wire_bytes": "bytes on the wire, 64 B, in chain",
    "session_bytes": "bytes of a session, in chain",
}
REASONS: Final = """\
Times are medians in microseconds of rounds taken in turns, and in brackets how many times as long
as ours. Every text has 64 bytes. What differs, and is in the figures:
- RatchetMQ: ML-KEM-1024 in the handshake and an ML-KEM-768 ratchet after it; the session is turned
  into its stored bytes after every message. The sender's set-up checks two fresh signatures; the
  device list with its two was checked when it came. On the wire: the text padded to 256 bytes, so
  that its length tells nothing, a tag of 16, the session's tag, ratchet key, numbers, epochs.
- libsignal: Kyber-1024 in the handshake and a post-quantum ratchet; the Node binding calls a store
  in memory for every message, which keeps sessions as bytes. Padding is left to the app.
- doubleratchet + x3dh: classical, no storage in the times; the size is its JSON. No encoding of the
  header is laid down: key and two numbers of 4 bytes are counted.
- vodozemac: classical, Rust behind Python, no storage in the times and no signature checked; it
  keeps 40 skipped keys, so of the late messages it refuses the rest; the size is its pickle."""


def summed_up(results: dict[str, list[dict[str, Any]]], missing: dict[str, str]) -> str:
    """Return everything that is printed at the end."""
    columns = {name: _medians([run["rows"] for run in runs]) for name, runs in results.items()}
    names = list(columns)
    lines = ["", f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for key, title in {**TIMES, **SIZES}.items():
        cells = [_cell(columns, name, key) for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines.append("")
    own = columns.get(OURS, {})
    if own.get("exchange"):
        lines.append(f"One X25519 exchange took {own['exchange']:.1f} us in the same run.")
    for name, runs in results.items():
        versions = ", ".join(f"{one} {number}" for one, number in runs[0]["versions"].items())
        lines.append(f"{name}: {versions}")
    for name, column in columns.items():
        if column.get("late_refused"):
            lines.append(f"{name} refused {column['late_refused']:.0f} of the late messages.")
    lines += [f"Not measured: {name}: {reason}" for name, reason in missing.items()]
    lines += [REASONS, *_verdict(columns)]
    return "\n".join(lines)


def _medians(rows: list[dict[str, float | None]]) -> dict[str, float | None]:
    merged: dict[str, float | None] = {}
    for key in rows[0]:
        values = [value for row in rows if (value := row[key]) is not None]
        merged[key] = median(values) if values else None
    return merged


def _cell(columns: dict[str, dict[str, float | None]], name: str, key: str) -> str:
    value, own = columns[name].get(key), columns.get(OURS, {}).get(key)
    if value is None:
        return "refused"
    shown = f"{value:,.0f}" if value >= 100 or key in SIZES else f"{value:.1f}"
    if name == OURS or own is None or key in SIZES:
        return shown
    return f"{shown} ({value / own:.2f})"


def _verdict(columns: dict[str, dict[str, float | None]]) -> list[str]:
    own = columns.get(OURS, {})
    lines = []
    for name, column in columns.items():
        if name == OURS:
            continue
        behind = [
            title
            for key, title in TIMES.items()
            if (theirs := column.get(key)) is not None and (ours := own.get(key)) is not None
            if ours > theirs
        ]
        told = "faster in every time row" if not behind else f"slower in: {'; '.join(behind)}"
        lines.append(f"RatchetMQ beside {name}: {told}.")
    return lines
