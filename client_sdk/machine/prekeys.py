"""Prekeys: which to make, how they are uploaded in batches, which a handshake used."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from client_sdk.core.keys import Ed25519KeyPair, MlKem1024KeyPair, X25519KeyPair
from client_sdk.core.pqxdh import ResponderPrekeys
from client_sdk.core.signatures import PrekeyFacts, sign_kem_prekey, sign_signed_prekey
from client_sdk.machine.errors import PrekeyGoneError
from client_sdk.machine.received import HandshakeInput
from client_sdk.machine.rows import PrekeyKind, PrekeyRow
from client_sdk.wire.bundle import DAY_MS, KemPrekeyRecord, OneTimePrekeyRecord
from client_sdk.wire.directory import PublishPrekeys
from client_sdk.wire.encoded_keys import OneTimePrekey, SignedPrekey
from client_sdk.wire.envelope import PrekeyHeader
from client_sdk.wire.ids import DeviceAddress

POOL_SIZE: Final = 100
"""One-time prekeys of each kind that a full pool has."""

REFILL_BELOW: Final = 20
"""The directory says "low" below this many."""

ROTATE_AFTER_MS: Final = 5 * DAY_MS
"""Age at which signed and last-resort prekeys are replaced."""

KEPT_AFTER_REPLACEMENT_MS: Final = 35 * DAY_MS
"""How long the private half of a replaced prekey still opens first messages."""

X25519_KINDS: Final = (PrekeyKind.SIGNED, PrekeyKind.ONE_TIME)


def rotation_due(medium_term: Sequence[PrekeyRow], now: int) -> bool:
    """Tell whether the newest signed prekey is old enough to be replaced.

    Args:
        medium_term: All signed and last-resort prekeys; the two kinds are made together.
        now: ms since 1970.
    """
    return max(row.created_at for row in medium_term) + ROTATE_AFTER_MS <= now


def outlived(medium_term: Sequence[PrekeyRow], now: int) -> tuple[tuple[PrekeyKind, int], ...]:
    """Return the prekeys that were replaced so long ago that no first message may still use them.

    Args:
        medium_term: All signed and last-resort prekeys.
        now: ms since 1970.
    """
    gone: list[tuple[PrekeyKind, int]] = []
    for kind in (PrekeyKind.SIGNED, PrekeyKind.KEM_LAST_RESORT):
        rows = sorted((row for row in medium_term if row.kind is kind), key=_age)
        gone += [
            (old.kind, old.id)
            for old, successor in pairwise(rows)
            if successor.created_at + KEPT_AFTER_REPLACEMENT_MS < now
        ]
    return tuple(gone)


def _age(row: PrekeyRow) -> tuple[int, int]:
    return row.created_at, row.id


def x25519_row(kind: PrekeyKind, number: int, pair: X25519KeyPair, now: int) -> PrekeyRow:
    """Return the row of a new X25519 prekey; ``now`` in ms since 1970."""
    return PrekeyRow(kind, number, pair.private_bytes(), now)


def kem_row(kind: PrekeyKind, number: int, pair: MlKem1024KeyPair, now: int) -> PrekeyRow:
    """Return the row of a new ML-KEM-1024 prekey; ``now`` in ms since 1970."""
    return PrekeyRow(kind, number, pair.seed(), now)


def upload(
    signing: Ed25519KeyPair, address: DeviceAddress, rows: Iterable[PrekeyRow]
) -> PublishPrekeys:
    """Return the batch that publishes ``rows``; the same rows give the same batch.

    Args:
        signing: The device's signing key.
        address: The device.
        rows: At most one signed, one last-resort, and 40 of each one-time kind.
    """
    signed = None
    last_resort = None
    one_time: list[OneTimePrekeyRecord] = []
    kem: list[KemPrekeyRecord] = []
    for row in rows:
        facts = PrekeyFacts(row.id, row.created_at)
        if row.kind in X25519_KINDS:
            public = X25519KeyPair.from_private_bytes(row.private).public
            if row.kind is PrekeyKind.SIGNED:
                signed = sign_signed_prekey(signing, address, facts, SignedPrekey(public))
            else:
                one_time.append(OneTimePrekeyRecord(row.id, OneTimePrekey(public)))
        else:
            is_last = row.kind is PrekeyKind.KEM_LAST_RESORT
            record = sign_kem_prekey(
                signing,
                address,
                facts,
                MlKem1024KeyPair.from_seed(row.private).public,
                last_resort=is_last,
            )
            if is_last:
                last_resort = record
            else:
                kem.append(record)
    return PublishPrekeys(signed, last_resort, tuple(one_time), tuple(kem))


def responder_prekeys(
    header: PrekeyHeader, rows: Mapping[tuple[PrekeyKind, int], PrekeyRow]
) -> HandshakeInput:
    """Return the private halves that a handshake names, and which of them it spends.

    Raises:
        PrekeyGoneError: One of them is not there: spent before, or never this device's.
    """
    handshake = header.handshake
    signed = rows.get((PrekeyKind.SIGNED, handshake.signed_prekey_id))
    one_time_kem = rows.get((PrekeyKind.KEM_ONE_TIME, handshake.kem_prekey_id))
    kem = one_time_kem or rows.get((PrekeyKind.KEM_LAST_RESORT, handshake.kem_prekey_id))
    number = handshake.one_time_prekey_id
    one_time = None if number is None else rows.get((PrekeyKind.ONE_TIME, number))
    if signed is None or kem is None or (number is not None and one_time is None):
        raise PrekeyGoneError("the handshake names a prekey that is not here; it was dropped")
    spent = tuple((row.kind, row.id) for row in (one_time, one_time_kem) if row is not None)
    return HandshakeInput(
        header,
        ResponderPrekeys(
            X25519KeyPair.from_private_bytes(signed.private),
            None if one_time is None else X25519KeyPair.from_private_bytes(one_time.private),
            MlKem1024KeyPair.from_seed(kem.private),
        ),
        spent,
    )
