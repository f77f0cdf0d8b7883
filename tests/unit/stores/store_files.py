"""Stores of one device in a folder of a test."""

from pathlib import Path

from client_sdk.machine.changes import Changes
from client_sdk.stores import sqlite
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.stores.worker import Database
from client_sdk.wire.ids import UserName

PASSPHRASE = "correct horse battery staple"
BOB = UserName("bob")


async def make(path: Path, passphrase: str | None = PASSPHRASE) -> None:
    store = SqliteStore.create(path, passphrase)
    await store.commit(Changes(device=b"the record"))
    await store.close()


def raw(path: Path, passphrase: str = PASSPHRASE) -> Database:
    salt = sqlite._salt(path)
    return sqlite._connect(path, sqlite._key(path, passphrase, salt, new=False), salt)
