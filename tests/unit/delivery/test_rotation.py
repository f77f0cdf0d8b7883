"""Signed and last-resort prekeys are replaced in time; what they opened still opens for a while."""

from client_sdk.delivery.rotation import rotate
from client_sdk.delivery.upkeep import make_medium_term_prekeys
from client_sdk.machine.prekeys import KEPT_AFTER_REPLACEMENT_MS, ROTATE_AFTER_MS
from client_sdk.machine.rows import PrekeyKind
from client_sdk.stores.sqlite import SqliteStore

NOW = 1_800_000_000_000


async def ids(store: SqliteStore) -> list[int]:
    return sorted(row.id for row in await store.medium_term_prekeys())


async def test_prekeys_are_replaced_when_they_are_due_and_not_before() -> None:
    store = SqliteStore.in_memory()
    await make_medium_term_prekeys(store, NOW)
    assert not await rotate(store, NOW + ROTATE_AFTER_MS - 1, NOW + ROTATE_AFTER_MS - 1)
    assert await rotate(store, NOW + ROTATE_AFTER_MS, NOW + ROTATE_AFTER_MS)
    assert not await rotate(store, NOW + ROTATE_AFTER_MS + 1, NOW + ROTATE_AFTER_MS + 1)
    assert await ids(store) == [1, 2, 3, 4]
    waiting = await store.waiting_prekeys(PrekeyKind.SIGNED, 9)
    assert [row.id for row in waiting] == [1, 3]
    await store.close()


async def test_replaced_prekeys_are_kept_for_late_first_messages_and_then_deleted() -> None:
    store = SqliteStore.in_memory()
    await make_medium_term_prekeys(store, NOW)
    replaced = NOW + ROTATE_AFTER_MS
    await make_medium_term_prekeys(store, replaced)
    latest = replaced + KEPT_AFTER_REPLACEMENT_MS
    await make_medium_term_prekeys(store, latest - 1)
    await rotate(store, latest, latest)
    assert await ids(store) == [1, 2, 3, 4, 5, 6]
    await rotate(store, latest + 1, latest + 1)
    assert await ids(store) == [3, 4, 5, 6]
    await store.close()
