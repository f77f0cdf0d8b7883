"""Two devices, a network that obeys the test, and a naive oracle of what may be shown.

The oracle knows texts and order only, nothing of keys: what was sent from whom to whom, and what
each app was handed.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from client_sdk import entropy
from client_sdk.core.session_record import MAX_ARCHIVED_SESSIONS, archive_current
from client_sdk.machine.changes import OutboxEnvelope, PrekeyKind, PrekeyRow
from client_sdk.machine.prekeys import kem_row, upload, x25519_row
from client_sdk.machine.sending import without_session
from client_sdk.wire.bundle import PrekeyBundle
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.limits import MAX_RECEIPT_IDS
from tests.unit.machine.machine_parties import NOW, Party, make_pair

REMEMBERED: Final = MAX_ARCHIVED_SESSIONS + 1
"""Sessions with one device that still decrypt: up to so many, nothing may be lost."""


class Mail(NamedTuple):
    """One envelope on its way; receipts have no text."""

    sender: "Device"
    receiver: "Device"
    envelope: OutboxEnvelope
    text: str | None


class Snapshot(NamedTuple):
    """A copy of all that a device keeps: a backup of its store."""

    kept: dict[str, object]


@dataclass(eq=False)
class Device:
    """One device, and what it has published at the directory, which no restore takes back."""

    party: Party
    signed: PrekeyRow = field(init=False)
    last_resort: PrekeyRow = field(init=False)
    pool: list[tuple[PrekeyRow, PrekeyRow]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    """What the app was handed since its store last began."""

    def __post_init__(self) -> None:
        self.rotate()
        self.refill()

    def _number(self) -> int:
        self.party.next_key += 1
        return self.party.next_key

    def _keep(self, *rows: PrekeyRow) -> None:
        self.party.prekeys.update({(row.kind, row.id): row for row in rows})

    def rotate(self) -> None:
        """Publish new signed and last-resort prekeys; the old private halves stay."""
        signed, last = PrekeyKind.SIGNED, PrekeyKind.KEM_LAST_RESORT
        self.signed = x25519_row(signed, self._number(), entropy.draw_x25519(), NOW)
        self.last_resort = kem_row(last, self._number(), entropy.draw_ml_kem_1024(), NOW)
        self._keep(self.signed, self.last_resort)

    def refill(self, count: int = 2) -> None:
        for _ in range(count):
            one, kem = PrekeyKind.ONE_TIME, PrekeyKind.KEM_ONE_TIME
            pair = (
                x25519_row(one, self._number(), entropy.draw_x25519(), NOW),
                kem_row(kem, self._number(), entropy.draw_ml_kem_1024(), NOW),
            )
            self._keep(*pair)
            self.pool.append(pair)

    def exhaust(self) -> None:
        self.pool.clear()

    def bundle(self) -> PrekeyBundle:
        """Return what the directory hands out: one-time keys once, then the last resort."""
        rows = [self.signed, self.last_resort, *(self.pool.pop() if self.pool else ())]
        batch = upload(self.party.own.signing, self.party.address, rows)
        assert batch.signed_prekey is not None
        assert batch.last_resort is not None
        return PrekeyBundle(
            self.party.address,
            self.party.own.record.device_list,
            batch.signed_prekey,
            batch.one_time_prekeys[0] if batch.one_time_prekeys else None,
            batch.kem_prekeys[0] if batch.kem_prekeys else batch.last_resort,
        )

    def snapshot(self) -> Snapshot:
        party = self.party
        kept = {
            "states": dict(party.states),
            "prekeys": dict(party.prekeys),
            "handshakes": set(party.handshakes),
            "opened": dict(party.opened),
            "messages": dict(party.messages),
            "handed_over": list(party.handed_over),
            "receipts_due": list(party.receipts_due),
            "next_key": party.next_key,
        }
        return Snapshot(kept)

    def restore(self, snapshot: Snapshot) -> None:
        for name, value in snapshot.kept.items():
            fresh = value if isinstance(value, int) else type(value)(value)  # type: ignore[call-arg]
            setattr(self.party, name, fresh)
        self.shown = list(self.party.handed_over)  # type: ignore[arg-type]


class Conversation:
    """Two devices that are contacts, the mail between them, and the oracle."""

    def __init__(self) -> None:
        self.devices = [Device(party) for party in make_pair()]
        self.mail: list[Mail] = []
        self.lost: list[Mail] = []
        self.sent: dict[str, list[str]] = {"alice": [], "bob": []}
        """Texts to each user, in the order of sending."""
        self.begun = 0
        self.restored = False
        self.forced = False
        """A session was put away or begun for no reason: each may send in its own from then on."""

    def peer(self, device: Device) -> Device:
        return self.devices[1 - self.devices.index(device)]

    @property
    def whole(self) -> bool:
        """Whether everything has to arrive, in order: nobody forgot anything.

        A store that was restored has forgotten; so has a device that keeps no more of many
        sessions than the newest.
        """
        return not self.restored and self.begun <= REMEMBERED

    @property
    def room(self) -> bool:
        """Whether one session more, and one for each side without any, are still remembered."""
        return self.begun + 1 + len(self.devices) <= REMEMBERED

    def begin(self, device: Device) -> None:
        self.begun += 1
        device.party.begin(self.peer(device).party, self.peer(device).bundle())

    def send(self, device: Device, count: int) -> None:
        sender, receiver = device.party, self.peer(device).party
        for _ in range(count):
            if without_session(sender.states[receiver.user]):
                self.begin(device)
            texts = self.sent[receiver.user]
            texts.append(f"{sender.user} {len(texts)}")
            envelope = sender.send(receiver, texts[-1])
            self.mail.append(Mail(device, self.peer(device), envelope, texts[-1]))

    def answer(self, device: Device) -> None:
        """Send one receipt for what is owed, where there is a session to send it in."""
        sender, receiver = device.party, self.peer(device).party
        due = sender.receipts_due[:MAX_RECEIPT_IDS]
        if due and not without_session(sender.states[receiver.user]):
            envelope = sender.receipt(receiver, due)
            del sender.receipts_due[: len(due)]
            self.mail.append(Mail(device, self.peer(device), envelope, None))

    def archive(self, device: Device) -> None:
        party, user = device.party, self.peer(device).party.user
        state = party.states[user]
        sessions = {name: archive_current(one, NOW) for name, one in state.sessions.items()}
        party.states[user] = replace(state, sessions=sessions)

    def receive(self, mail: Mail) -> bool:
        """Give one envelope to its receiver, check what the app sees; tell whether it opened."""
        party = mail.receiver.party
        before = len(party.handed_over)
        try:
            changes, _ = party.receive(mail.sender.party.address, mail.envelope)
        except ProtocolError:
            return False
        assert [one.text for one in changes.messages] in ([], [mail.text])
        for text in party.handed_over[before:]:
            assert text is not None
            self.show(mail.receiver, text)
        return True

    def show(self, device: Device, text: str) -> None:
        sent = self.sent[device.party.user]
        assert text in sent, "a text that nobody sent"
        assert text not in device.shown, "a text shown twice"
        device.shown.append(text)
        if self.whole:
            assert device.shown == sent[: len(device.shown)], "out of order"

    def settle(self) -> None:
        """Deliver all that ever was sent until nothing more opens: outboxes publish again."""
        waiting, self.mail, self.lost = [*self.mail, *self.lost], [], []
        progress = True
        while progress and waiting:
            left = [one for one in waiting if not self.receive(one)]
            progress, waiting = len(left) < len(waiting), left
        if self.whole:
            for device in self.devices:
                assert device.shown == self.sent[device.party.user], "lost"

    def talk(self) -> None:
        """Whatever happened before: nobody forgot, so both can still write to each other."""
        self.settle()
        if self.whole:
            for device in [*self.devices, *self.devices]:
                self.send(device, 1)
                self.settle()
            alice, bob = (device.party for device in self.devices)
            if not self.forced:
                assert alice.current_id(bob) == bob.current_id(alice), "two sessions for ever"

    def shuffle(self, seed: int) -> None:
        random.Random(seed).shuffle(self.mail)
