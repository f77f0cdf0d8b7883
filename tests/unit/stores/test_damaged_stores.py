"""A store whose file a disk or a hand changed: the change is told, or nothing of it shows."""

# ruff: noqa: ASYNC240 - nothing else runs in these loops

from pathlib import Path

import pytest

from client_sdk.machine.changes import Changes
from client_sdk.stores.errors import StoreError, StoreLockedError
from client_sdk.stores.sqlite import SqliteStore
from tests.contract.client_stores import BOB, outgoing

PASSPHRASE = None  # a key file: no Argon2 for each opening
FLIPS = pytest.mark.parametrize("flips", [40, pytest.param(1000, marks=pytest.mark.long)])
CUTS = 20
TEXTS = [f"text {number} " * 40 for number in range(12)]
STATES = [TEXTS[:count] for count in range(len(TEXTS) + 1)]
"""What a store may show: each is what some commit left."""


async def filled(path: Path) -> None:
    store = SqliteStore.create(path, PASSPHRASE)
    await store.commit(Changes(device=b"the record"))
    for text in TEXTS:
        await store.commit(Changes(messages=(outgoing(text),)))
    await store.close()


async def shown(path: Path) -> tuple[bytes | None, list[str | None]] | None:
    """Return all that the store shows, or None where it says that it is damaged."""
    try:
        store = SqliteStore.open(path, PASSPHRASE)
    except (StoreError, StoreLockedError):
        return None
    try:
        found = await store.history(BOB, 99, None)
        return await store.device(), [one.message.text for one in found]
    except StoreError:
        return None
    finally:
        await store.close()


async def check(path: Path) -> bool:
    """Tell whether damage was told; what is shown otherwise has to be right."""
    found = await shown(path)
    if found is None:
        return True
    device, texts = found
    assert device in {b"the record", None}
    assert texts in STATES
    return False


def spread(size: int, count: int) -> list[int]:
    """Return offsets all over a file, on other places of each page."""
    return sorted({(number * size // count + number * 37) % size for number in range(count)})


@FLIPS
async def test_a_flipped_bit_is_told_or_changes_nothing_that_is_shown(
    path: Path, flips: int
) -> None:
    await filled(path)
    content = path.read_bytes()
    told = 0
    offsets = [0, 8, 15, 16, *spread(len(content), flips)]
    for number, offset in enumerate(offsets):
        changed = bytearray(content)
        changed[offset] ^= 1 << number % 8
        path.write_bytes(changed)
        found = await shown(path)
        assert found in (None, (b"the record", TEXTS)), f"offset {offset}"
        told += found is None
    assert told > len(offsets) // 8
    path.write_bytes(content)
    assert await shown(path) == (b"the record", TEXTS)


async def test_a_store_cut_anywhere_is_told(path: Path) -> None:
    await filled(path)
    content = path.read_bytes()
    for size in (*spread(len(content), CUTS), len(content) - 1):
        path.write_bytes(content[:size])
        assert await shown(path) is None, f"cut to {size} bytes"


@FLIPS
async def test_a_store_whose_log_was_deleted_cut_or_changed_shows_no_wrong_text(
    path: Path, tmp_path: Path, flips: int
) -> None:
    store = SqliteStore.create(path, PASSPHRASE)
    await store.commit(Changes(device=b"the record"))
    for text in TEXTS:
        await store.commit(Changes(messages=(outgoing(text),)))
    taken = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal", ".key")}
    await store.close()
    assert taken["-wal"]
    copy = tmp_path / "copy" / "device.db"
    copy.parent.mkdir()

    async def with_log(log: bytes | None) -> None:
        for one in copy.parent.iterdir():
            one.unlink()
        for suffix, data in {**taken, "-wal": log}.items():
            if data is not None:
                Path(f"{copy}{suffix}").write_bytes(data)
        await check(copy)

    await with_log(taken["-wal"])
    assert await shown(copy) == (b"the record", TEXTS)
    await with_log(None)
    await with_log(b"")
    for number, offset in enumerate(spread(len(taken["-wal"]), flips)):
        changed = bytearray(taken["-wal"])
        changed[offset] ^= 1 << number % 8
        await with_log(bytes(changed))
        await with_log(taken["-wal"][:offset])
