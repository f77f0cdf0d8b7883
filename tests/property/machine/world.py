"""Two users with several devices each, a network that obeys the test, and a naive oracle.

The oracle knows texts, devices and order, nothing of keys. It says of each device which texts have
to reach it, and which may: what was sent before the device was added, and what a restored backup
has forgotten, here or at the sender.
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple, TypeVar

from client_sdk.core.device_lists import list_with
from client_sdk.core.signatures import endorse
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.own_devices import remove
from client_sdk.machine.device import load_device
from client_sdk.machine.manager_keys import lacks_account_key
from client_sdk.wire.bundle import DeviceEntry, DeviceList
from client_sdk.wire.encoded_keys import IdentityKey, SigningKey
from client_sdk.wire.ids import (
    DeviceAddress,
    DeviceNumber,
    MessageId,
    UserName,
    device_address,
    split_address,
    user_of,
)
from tests.property.machine.home import Home
from tests.property.machine.open_directory import OpenDirectory
from tests.unit.machine.machine_parties import make_record

USERS: Final = (UserName("alice"), UserName("bob"))

MAX_DEVICES: Final = 3
"""Of one user in this model: enough for managers that come and go."""

MAX_EXCHANGES: Final = 4
"""R9: after so many nothing is left to say, whatever happened before."""

MAX_TURNS: Final = 2 * MAX_EXCHANGES
"""In an exchange all devices say what they have to say and read what is there, then they answer."""

MAX_WAITS: Final = 3
"""Times that unanswered envelopes are published again."""

Result = TypeVar("Result")


class Mail(NamedTuple):
    """One envelope on its way."""

    recipient: DeviceAddress
    topic: str
    payload: bytes


class Backup(NamedTuple):
    """A backup of one device, and what the oracle knew when it was made."""

    store: Any
    sent: int
    """Texts sent by then, by anybody."""


class World:
    """Everything; ``close`` it at the end."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = OpenDirectory()
        self.homes: list[Home] = []
        self.removed: list[Home] = []
        self.mail: list[Mail] = []
        self.kept: dict[str, Mail] = {}
        """What the broker keeps: published and not cleared; it comes again with a subscription."""
        self.sent: list[tuple[str, Home]] = []
        self.must: dict[DeviceAddress, set[str]] = {}
        """Texts that have to be shown by this device, as messages or as copies."""
        self.may: dict[DeviceAddress, set[str]] = {}
        self.backups: dict[DeviceAddress, Backup] = {}
        self.forgetful = False
        """A backup was restored: gaps and repetitions of old mail are to be expected."""
        self.forced = False
        for user in USERS:
            self.run(self._first_device(user))
        for home in self.homes:
            self.run(home.context.peers.refresh(self.other(home.user)))

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        for home in [*self.homes, *self.removed]:
            self.run(home.store.close())
        for backup in self.backups.values():
            backup.store[0].close()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.run(_ended(left))
        self.loop.close()

    def other(self, user: UserName) -> UserName:
        return USERS[1 - USERS.index(user)]

    def homes_of(self, user: UserName) -> list[Home]:
        return [one for one in self.homes if one.user == user]

    async def _first_device(self, user: UserName) -> None:
        record = make_record(user)
        self.directory.take(record.device_list)
        await self._move_in(await Home.made(self.directory, record))

    async def _move_in(self, home: Home) -> None:
        self.homes.append(home)
        self.must[home.address] = set()
        self.may[home.address] = {text for text, _ in self.sent}

    # What users do.

    def send(self, home: Home, count: int) -> None:
        for _ in range(count):
            text = f"{home.address} {len(self.sent)}"
            self.sent.append((text, home))
            for one in self.homes:
                if one is not home:
                    self.must[one.address].add(text)
            self.run(home.send(self.other(home.user), text))
        self.publish(home)

    def add_device(self, manager: Home, *, as_manager: bool) -> Home | None:
        """Let a manager add a device, where it can; the link code is tested elsewhere."""
        self.run(manager.context.peers.refresh(manager.user))
        own = manager.context.own
        if own.account is None or len(self.homes_of(manager.user)) >= MAX_DEVICES:
            return None
        known = own.record.device_list
        address = device_address(manager.user, DeviceNumber(known.next_number))
        record = make_record(manager.user)._replace(
            address=address,
            account_private=own.account.private_bytes() if as_manager else None,
        )
        new = load_device(record)
        entry = DeviceEntry(
            number=DeviceNumber(known.next_number),
            signing_key=SigningKey(new.signing.public),
            identity_key=IdentityKey(new.local.identity.public),
            added_at=now_ms(),
            manager=as_manager,
            endorsement=endorse(new.signing, address, known.account_key),
        )
        newest = list_with(own.account, known, entry)
        self.directory.take(newest)
        home = self.run(Home.made(self.directory, record._replace(device_list=newest)))
        self.run(self._move_in(home))
        self.run(manager.context.peers.adopt_own(newest))
        return home

    def remove_device(self, manager: Home, gone: Home) -> bool:
        """Let a manager remove another device of its user, where it can."""
        self.run(manager.context.peers.refresh(manager.user))
        if manager.context.own.account is None or manager is gone:
            return False
        self.run(remove(manager.context, split_address(gone.address)[1]))
        self.homes.remove(gone)
        self.removed.append(gone)
        unsaid = {text for text, sender in self.sent if sender is gone}
        for address in self.must:  # what it had on its way is not opened any more
            self._may_be_lost(address, unsaid)
        self.backups.pop(gone.address, None)
        return True

    def take_backup(self, home: Home) -> None:
        self.backups[home.address] = Backup(home.snapshot(), len(self.sent))

    def restore(self, home: Home) -> None:
        """Restore a device's backup; what was forgotten by that may be lost, and nothing else."""
        backup = self.backups.get(home.address)
        if backup is None:
            return
        self.forgetful = True
        forgotten = {text for text, sender in self.sent[backup.sent :] if sender is home}
        for address in self.must:
            self._may_be_lost(address, forgotten)
        shown = {*home.shown, *self.run(home.copies())}
        self.run(home.restore(backup.store))
        self._may_be_lost(home.address, shown - {*home.shown, *self.run(home.copies())})

    def _may_be_lost(self, address: DeviceAddress, texts: set[str]) -> None:
        self.may[address] |= texts & self.must[address]
        self.must[address] -= texts

    def archive(self, home: Home, user: UserName) -> None:
        self.forced = True
        self.run(home.archive(user))

    def initiate(self, home: Home, other: Home) -> None:
        self.forced = True
        if home is not other:
            self.run(home.initiate(other.address, other.user))

    # What the network does.

    def publish(self, home: Home) -> None:
        """Let a device do what is due, and put what it publishes on its way."""
        self.run(home.work())
        for recipient, topic, payload in self.run(home.take_due()):
            known = self.run(home.context.peers.load(user_of(recipient)))
            assert recipient in known.devices, "mail for a device that is known to be removed"
            if self.directory.listed(recipient):  # of others the directory sweeps the mail
                mail = Mail(recipient, topic, payload)
                self.mail.append(mail)
                self.kept[topic] = mail
        self._forget_cleared(home)

    def deliver(self, mail: Mail) -> None:
        home = next((one for one in self.homes if one.address == mail.recipient), None)
        if home is None:
            self.kept.pop(mail.topic, None)
            return
        self.run(home.receive(mail.topic, mail.payload))
        self.run(home.read(self._show))
        self._forget_cleared(home)

    def _forget_cleared(self, home: Home) -> None:
        for topic in home.cleared():
            self.kept.pop(topic, None)

    def _show(self, home: Home, text: str, _: MessageId) -> None:
        expected = self.must[home.address] | self.may[home.address]
        assert text in expected, "a text that nobody sent to this device"
        assert text not in home.shown, "a text shown twice"
        home.shown.append(text)

    def shuffle(self, seed: int) -> None:
        random.Random(seed).shuffle(self.mail)

    # What has to come of it.

    def settle(self) -> int:
        """Let time pass and everything arrive; return how many turns it took.

        A lost receipt is only made again by the repeat that comes with time, so time may pass
        more than once.
        """
        all_turns = 0
        for _ in range(MAX_WAITS):
            for home in self.homes:
                self.run(home.time_passes())
            turns = 0
            while self._turn():
                turns += 1
                assert turns <= MAX_TURNS, "it does not come to rest"
            all_turns += turns
            if not any(self._unanswered(home) for home in self.homes):
                break
        return all_turns

    def _unanswered(self, home: Home) -> list[Any]:
        return self.run(home.store._rows("SELECT recipient, message_id FROM outbox"))

    def _turn(self) -> bool:
        """Let all say and read everything once; tell whether anything was said."""
        for home in self.homes:
            self.publish(home)
        waiting, self.mail = self.mail, []
        again = [one for one in self.kept.values() if one not in waiting]
        for mail in [*waiting, *again]:
            self.deliver(mail)
        held = [self.run(home.give_up_gaps()) for home in self.homes]
        for home in self.homes:
            self.run(home.read(self._show))
        return bool(waiting) or any(held)

    def check(self) -> None:
        """Nothing is lost, nothing twice, nothing out of order, and nobody waits for anything."""
        for home in self.homes:
            copies = self.run(home.copies())
            assert len(set(copies)) == len(copies), "a copy twice"
            seen = [*home.shown, *copies]
            assert set(copies) <= self.must[home.address] | self.may[home.address]
            missing = self.must[home.address] - set(seen)
            assert not missing, f"lost at {home.address}: {sorted(missing)}"
            if not home.gaps:
                self._check_order(home, home.shown)
            unanswered = self._unanswered(home)
            assert not unanswered, f"{home.address} still waits for receipts: {unanswered}"
            assert not self.run(home.store._rows("SELECT 1 FROM late")), "still to be sent"
            held = self.run(home.store._rows("SELECT text FROM messages WHERE state = 'held'"))
            assert not held, f"received and never shown at {home.address}: {held}"
            due = self.run(home.store._rows("SELECT user FROM receipts_due"))
            assert not due, f"{home.address} owes receipts for ever: {due}"
            assert not lacks_account_key(home.context.own) or not self._key_is_known(home)
        assert not self.kept, "mail that nobody settles"
        if not self.forgetful:  # what a removed device had on its way may well be missing
            here = {home.address for home in self.homes}
            gaps = [gap for home in self.homes for gap in home.gaps if gap.device in here]
            assert not gaps, f"a gap, and nothing was forgotten: {gaps}"

    def _key_is_known(self, home: Home) -> bool:
        """Tell whether any manager has the account's key: a backup may have lost the only one."""
        return any(one.context.own.account is not None for one in self.homes_of(home.user))

    def _check_order(self, home: Home, shown: list[str]) -> None:
        for sender in {one.rpartition(" ")[0] for one in shown}:
            numbers = [int(one.rpartition(" ")[2]) for one in shown if one.startswith(f"{sender} ")]
            assert numbers == sorted(numbers), f"out of order at {home.address}: {shown}"

    def talk(self) -> None:
        """Whatever happened before: all can write to each other, and end in one session each."""
        self.settle()
        self.check()
        for home in [*self.homes, *self.homes]:
            self.send(home, 1)
            self.settle()
        self.check()
        if not self.forced:
            for one in self.homes:
                for two in self.homes:
                    if one.user < two.user:
                        assert self.current(one, two) == self.current(two, one), "two sessions"

    def current(self, home: Home, other: Home) -> bytes | None:
        state = self.run(home.context.peers.load(other.user))
        record = state.sessions.get(other.address)
        return None if record is None or record.current is None else record.current.session_id

    def list_of(self, user: UserName) -> DeviceList:
        return self.directory.newest(user)


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
