"""Users as delivery sees them: parsed once, kept while their revision stands."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from client_sdk import entropy
from client_sdk.core.errors import StaleBundleError
from client_sdk.core.session import InitiatorKeys
from client_sdk.core.state_format import parse_record
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.directory import DirectoryClient
from client_sdk.delivery.errors import NotContactError
from client_sdk.machine.changes import Changes, combine
from client_sdk.machine.device import (
    DEVICE_RECORD,
    OwnDevice,
    encode_device,
    load_device,
    with_list,
)
from client_sdk.machine.devices import adopt_device_list, list_news, plan_equivocation
from client_sdk.machine.errors import DeviceListError, EquivocationError, NoSessionError
from client_sdk.machine.events import Equivocation, Event
from client_sdk.machine.sending import (
    FreshEnvelope,
    FreshEnvelopes,
    fresh_keys_wanted,
    start_session,
    without_session,
)
from client_sdk.machine.state import PeerState, expired, parse_device_list, session_rows, written
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.bundle import DeviceList, PrekeyBundle
from client_sdk.wire.directory import DeviceListReply, Relation
from client_sdk.wire.errors import MessagingError, OperationalError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName, user_of

MAX_CACHED_PEERS: Final = 1024

MAX_LIST_PAGES: Final = 32
"""Answers until the newest list is there: a user has under 500 versions in all."""


class Fetched(NamedTuple):
    """Bundles that the directory gave before a message is planned; not verified yet."""

    bundles: tuple[PrekeyBundle, ...]


NOTHING_FETCHED: Final = Fetched(())


class ListNews(NamedTuple):
    """What adopting a device list brings: for the app, and envelopes that nobody will read."""

    events: tuple[Event, ...]
    orphaned: tuple[tuple[DeviceAddress, list[EnvelopeId]], ...]


class Peers:
    """Loads and commits one user's state; one step at a time for each user."""

    def __init__(self, store: ClientStore, own: OwnDevice, directory: DirectoryClient) -> None:
        """Start with nothing loaded."""
        self._store = store
        self.own = own
        self.on_news: Callable[[ListNews], None] = lambda _: None
        self._directory = directory
        self._cache: OrderedDict[UserName, PeerState] = OrderedDict()
        self._locks: WeakValueDictionary[UserName, asyncio.Lock] = WeakValueDictionary()

    def lock(self, user: UserName) -> asyncio.Lock:
        """Return the lock that a step on ``user`` holds from load to commit."""
        return self._locks.setdefault(user, asyncio.Lock())

    async def load(self, user: UserName) -> PeerState:
        """Return a user's newest state; keys are parsed only when the revision moved."""
        snapshot = await self._store.snapshot(user)
        cached = self._cache.get(user)
        if cached is not None and cached.revision == snapshot.revision:
            streams = {(one.device, one.stream_id): one for one in snapshot.streams}
            return expired(replace(cached, streams=streams, late=snapshot.late), now_ms())
        state = PeerState(
            snapshot.revision,
            snapshot.peer,
            parse_device_list(snapshot.peer),
            {row.device: parse_record(row.record) for row in snapshot.sessions},
            {(one.device, one.stream_id): one for one in snapshot.streams},
            self.own.address,
            {row.device: row.start for row in snapshot.sessions if row.start},
            snapshot.late,
        )
        if state.is_own:  # the list in this device's record is the one that counts
            peer = state.peer._replace(relation=Relation.CONTACT)
            state = replace(state, peer=peer, device_list=self.own.record.device_list)
        self._remember(state)
        return expired(state, now_ms())

    async def commit(
        self, state: PeerState, changes: Changes, devices: tuple[DeviceAddress, ...]
    ) -> PeerState:
        """Commit a step with the sessions of ``devices`` as they stand in ``state``.

        Raises:
            StaleSnapshotError: Another process moved this user on; load and plan again.
        """
        rows = Changes(sessions=session_rows(state, devices))
        await self._store.commit(combine(changes, rows))
        committed = written(state, changes)
        self._remember(committed)
        return committed

    async def refresh(self, user: UserName) -> PeerState:
        """Fetch and adopt a user's newest device list; call without the user's lock.

        Raises:
            IdentityChangedError: The account key is another one; nothing was adopted.
            EquivocationError: Another list of the known version; sending to the user stops.
            NotContactError: The directory lets this user not be reached.
            DirectoryUnavailableError: No answer.
        """
        for _ in range(MAX_LIST_PAGES):
            reply = await self._fetch_list(user)
            async with self.lock(user):
                state = await self._adopt(await self.load(user), reply)
            if not reply.more:
                return state
        raise DeviceListError("the directory gives more device lists than a user can have")

    async def fetch_missing(self, user: UserName) -> Fetched:
        """Fetch what the next message to ``user`` needs; call without the user's lock.

        That is nothing where some device can be written to: the others get it later. A directory
        that is slow to answer must not hold up what ``user`` sends meanwhile.

        Raises:
            EquivocationError: Nothing is sent to that user until the app decides.
            StaleBundleError: All devices were away for too long.
        """
        state = await self.load(user)
        if state.peer.equivocation:
            raise EquivocationError("two device lists of one version were shown for the recipient")
        if state.device_list is not None and len(without_session(state)) < len(state.devices):
            return NOTHING_FETCHED
        if state.device_list is None:
            state = await self.refresh(user)
        bundles: list[PrekeyBundle] = []
        errors: list[MessagingError] = []
        for device in without_session(state):
            try:
                bundles.append(await self._directory.fetch_bundle(device))
            except (NotContactError, OperationalError) as error:
                errors.append(error)
        if errors and not bundles:
            await self.refresh(user)  # says so where the user is out of reach
            raise _of_a_device(errors[0])
        if any(bundle.device_list != state.device_list for bundle in bundles):
            await self.refresh(user)
        return Fetched(tuple(bundles))

    async def fetch_bundle(self, device: DeviceAddress) -> PrekeyBundle:
        """Fetch one device's bundle, and a newer list where it comes with one."""
        bundle = await self._directory.fetch_bundle(device)
        state = await self.load(user_of(device))
        if bundle.device_list != state.device_list:
            await self.refresh(state.user)
        return bundle

    def with_sessions(self, state: PeerState, fetched: Fetched) -> PeerState:
        """Return the state with a session for every device that was fetched; the lock is held.

        The new sessions are committed with the first message that uses them.

        Raises:
            StaleBundleError: None of the bundles is fresh enough.
        """
        missing, stale = without_session(state), None
        for bundle in fetched.bundles:
            if bundle.address not in missing:
                continue
            fresh = InitiatorKeys(
                entropy.draw_x25519(),
                entropy.encapsulate(bundle.kem_prekey.key),
                entropy.draw_x25519(),
            )
            try:
                state = start_session(self.own, state, bundle, fresh, now_ms())
            except StaleBundleError as error:
                stale = error
        if stale is not None and len(without_session(state)) == len(state.devices):
            raise stale
        return state

    async def stop_sending(self, user: UserName) -> None:
        """Send nothing more to a user of whom two lists of one version were seen."""
        async with self.lock(user):
            state = await self.load(user)
            if state.peer.equivocation or state.is_own:
                return
            stopped, changes = plan_equivocation(state)
            await self.commit(stopped, changes, ())
        self.on_news(ListNews((Equivocation(user),), ()))

    async def reload_own(self) -> None:
        """Take this device's record as another process may have left it."""
        stored = await self._store.device()
        if stored is not None:
            self.own = load_device(DEVICE_RECORD.decode(stored))

    async def _fetch_list(self, user: UserName) -> DeviceListReply:
        known = (await self.load(user)).device_list
        version = 0 if known is None else known.version
        return await self._directory.fetch_device_list(user, version)

    async def _adopt(self, state: PeerState, reply: DeviceListReply) -> PeerState:
        try:
            adopted, changes = adopt_device_list(state, reply)
        except EquivocationError:
            if not state.is_own and not state.peer.equivocation:
                stopped, changes = plan_equivocation(state)
                await self.commit(stopped, changes, ())
                self.on_news(ListNews((Equivocation(state.user),), ()))
            raise
        gone = [(one, await self._store.envelopes_for(one)) for one in changes.devices_gone]
        if state.is_own:
            record = with_list(self.own.record, reply.device_list)
            changes = replace(changes, device=encode_device(record))
        committed = await self.commit(adopted, changes, ())
        if state.is_own:
            self.own = load_device(record)
        self.on_news(ListNews(list_news(state.device_list, reply.device_list), tuple(gone)))
        return committed

    async def adopt_own(self, device_list: DeviceList) -> None:
        """Take a list that this device has signed and the directory has taken."""
        record = self.own.record
        reply = DeviceListReply(device_list, Relation.CONTACT, record.role, record.name)
        async with self.lock(self.own.user):
            state = await self.load(self.own.user)
            if state.device_list != device_list:
                await self._adopt(state, reply)

    def _remember(self, state: PeerState) -> None:
        self._cache[state.user] = state
        self._cache.move_to_end(state.user)
        if len(self._cache) > MAX_CACHED_PEERS:
            self._cache.popitem(last=False)


def _of_a_device(error: MessagingError) -> MessagingError:
    """Return what the sender is told where the user is in reach and no device of it is."""
    if isinstance(error, NotContactError):
        return NoSessionError("no device of the recipient can be written to now")
    return error


def fresh_envelopes(state: PeerState, devices: Iterable[DeviceAddress]) -> FreshEnvelopes:
    """Draw an envelope id for each of these devices, and the keys that its encryption wants."""
    return {
        device: FreshEnvelope(
            EnvelopeId(entropy.draw_id()),
            entropy.draw_keys(fresh_keys_wanted(state, device)),
        )
        for device in devices
    }
