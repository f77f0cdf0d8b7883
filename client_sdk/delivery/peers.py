"""Users as delivery sees them: parsed once, kept while their revision stands."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from client_sdk.core.errors import StaleBundleError, StateFormatError
from client_sdk.core.session_record import SessionRecord, check_ends
from client_sdk.core.state_format import parse_record
from client_sdk.delivery.adoption import Adoption, check_not_held, plan_adoption
from client_sdk.delivery.clock import certain_ms, now_ms
from client_sdk.delivery.directory import DirectoryClient
from client_sdk.delivery.errors import NotContactError, of_a_device
from client_sdk.delivery.fresh import fresh_session
from client_sdk.machine.changes import Changes, combine
from client_sdk.machine.device import DEVICE_RECORD, OwnDevice, load_device
from client_sdk.machine.devices import plan_equivocation
from client_sdk.machine.errors import DeviceListError, EquivocationError
from client_sdk.machine.events import Equivocation, Event, SessionDamaged
from client_sdk.machine.rows import Peer, SessionRow
from client_sdk.machine.sending import start_session, without_session
from client_sdk.machine.state import PeerState, expired, parse_device_list, session_rows, written
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.bundle import DeviceList, PrekeyBundle
from client_sdk.wire.directory import DeviceListReply, Relation
from client_sdk.wire.errors import MessagingError, OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, UserName, user_of

MAX_CACHED_PEERS: Final = 1024

MAX_LIST_PAGES: Final = 32
"""Answers until the newest list is there: a user has under 500 versions in all."""

_logger = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """Bundles that the directory gave before a message is planned; not verified yet."""

    bundles: tuple[PrekeyBundle, ...]


NOTHING_FETCHED: Final = Fetched(())


class Told(NamedTuple):
    """Who hears of what becomes of users."""

    adopted: Callable[[Adoption], None]
    """A device list was adopted and committed."""
    events: Callable[[Iterable[Event]], None]


class Peers:
    """Loads and commits one user's state; one step at a time for each user."""

    def __init__(
        self, store: ClientStore, own: OwnDevice, directory: DirectoryClient, told: Told
    ) -> None:
        """Start with nothing loaded."""
        self._store = store
        self.own = own
        self._directory = directory
        self._told = told
        self._forked: DeviceList | None = None  # one's own, where another of its version was told
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
            return expired(replace(cached, streams=streams, late=snapshot.late), certain_ms())
        state = PeerState(
            snapshot.revision,
            snapshot.peer,
            _device_list(snapshot.peer),
            {row.device: self._parsed(row) for row in snapshot.sessions},
            {(one.device, one.stream_id): one for one in snapshot.streams},
            self.own.address,
            {row.device: row.start for row in snapshot.sessions if row.start},
            snapshot.late,
        )
        if state.is_own:  # the list in this device's record is the one that counts
            peer = state.peer._replace(relation=Relation.CONTACT)
            state = replace(state, peer=peer, device_list=self.own.record.device_list)
        self._remember(state)
        return expired(state, certain_ms())

    async def commit(
        self, state: PeerState, changes: Changes, devices: tuple[DeviceAddress, ...]
    ) -> PeerState:
        """Commit a step with the sessions of ``devices``, and take a changed record of this device.

        Raises:
            StaleSnapshotError: Another process moved this user on; load and plan again.
        """
        rows = Changes(sessions=session_rows(state, devices))
        await self._store.commit(combine(changes, rows))
        if changes.device is not None:
            self.own = load_device(DEVICE_RECORD.decode(changes.device))
        committed = written(state, changes)
        self._remember(committed)
        return committed

    async def refresh(self, user: UserName) -> PeerState:
        """Fetch and adopt a user's newest device list; call without the user's lock.

        Raises:
            IdentityChangedError: The user was verified and has another account key now; or one's
                own account has one that the known key has not signed, which is refused.
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
            IdentityChangedError: The user was verified and has another account key now.
            EquivocationError: Nothing is sent to that user until the app decides.
            NotContactError: The directory lets this user not be reached.
            DirectoryUnavailableError: No answer.
            StaleBundleError: All devices were away for too long.
        """
        state = await self.load(user)
        check_not_held(state)
        if state.peer.equivocation:
            raise EquivocationError("two device lists of one version were shown for the recipient")
        if state.device_list is not None and len(without_session(state)) < len(state.devices):
            return NOTHING_FETCHED
        if state.device_list is None:
            state = await self.refresh(user)
        bundles, errors = await self._fetch_bundles(without_session(state))
        if errors and not bundles:
            newest = await self.refresh(user)  # says so where the user is out of reach
            if newest.device_list == state.device_list:
                raise of_a_device(errors[0])
            bundles, errors = await self._fetch_bundles(without_session(newest))
            if errors and not bundles:
                raise of_a_device(errors[0])
            state = newest
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
            IdentityChangedError: The user was verified and has another account key now.
            StaleBundleError: None of the bundles is fresh enough.
        """
        check_not_held(state)
        missing, stale = without_session(state), None
        for bundle in fetched.bundles:
            if bundle.address not in missing:
                continue
            try:
                state = self.with_new_session(state, bundle)
            except StaleBundleError as error:
                stale = error
        if stale is not None and len(without_session(state)) == len(state.devices):
            raise stale
        return state

    def with_new_session(self, state: PeerState, bundle: PrekeyBundle) -> PeerState:
        """Return the state with a new session for a bundle's device; the lock is held.

        It is committed with the first message that uses it.

        Raises:
            IdentityChangedError: The user was verified and has another account key now.
            StaleBundleError: The device has not renewed its prekeys for too long.
        """
        check_not_held(state)
        return start_session(self.own, state, bundle, fresh_session(bundle), now_ms())

    async def stop_sending(self, user: UserName) -> None:
        """Tell of two lists of one version, and send nothing more to whose they are but oneself."""
        async with self.lock(user):
            await self._stop(await self.load(user))

    async def reload_own(self) -> None:
        """Take this device's record as another process may have left it."""
        stored = await self._store.device()
        if stored is not None:
            self.own = load_device(DEVICE_RECORD.decode(stored))

    async def adopt_own(self, device_list: DeviceList) -> None:
        """Take a list that this device has signed and the directory has taken."""
        record = self.own.record
        reply = DeviceListReply(device_list, Relation.CONTACT, record.role, record.name)
        async with self.lock(self.own.user):
            state = await self.load(self.own.user)
            if state.device_list != device_list:
                await self._adopt(state, reply)

    async def _fetch_list(self, user: UserName) -> DeviceListReply:
        known = (await self.load(user)).device_list
        version = 0 if known is None else known.version
        return await self._directory.fetch_device_list(user, version)

    async def _fetch_bundles(
        self, devices: Sequence[DeviceAddress]
    ) -> tuple[list[PrekeyBundle], list[MessagingError]]:
        bundles: list[PrekeyBundle] = []
        errors: list[MessagingError] = []
        for device in devices:
            try:
                bundles.append(await self._directory.fetch_bundle(device))
            except (NotContactError, OperationalError) as error:
                errors.append(error)
        return bundles, errors

    def _parsed(self, row: SessionRow) -> SessionRecord:
        """Return the sessions of a row; a damaged one counts as none, and heals like a lost one.

        Raises:
            NewerStateError: A newer version wrote it; it is not damaged.
        """
        try:
            record = parse_record(row.record)
            check_ends(record, self.own.address, row.device)
        except StateFormatError:
            _logger.info("the stored sessions with %s cannot be read", row.device)
            self._told.events([SessionDamaged(row.device)])
            return SessionRecord()
        return record

    async def _adopt(self, state: PeerState, reply: DeviceListReply) -> PeerState:
        try:
            adoption = await plan_adoption(self._store, self.own, state, reply)
        except EquivocationError:
            await self._stop(state)
            raise
        adopted, changes, _ = adoption.step
        if changes != Changes():
            devices = adoption.step.changed_sessions(state)
            adopted = await self.commit(adopted, changes, devices)
        self._told.adopted(adoption)
        check_not_held(adopted)
        return adopted

    async def _stop(self, state: PeerState) -> None:
        if state.peer.equivocation or (state.is_own and self._forked == state.device_list):
            return
        if state.is_own:  # the list in this device's record is the one that counts
            self._forked = state.device_list
        else:
            stopped, changes = plan_equivocation(state)
            await self.commit(stopped, changes, ())
        self._told.events([Equivocation(state.user)])

    def _remember(self, state: PeerState) -> None:
        self._cache[state.user] = state
        self._cache.move_to_end(state.user)
        if len(self._cache) > MAX_CACHED_PEERS:
            self._cache.popitem(last=False)


def _device_list(peer: Peer) -> DeviceList | None:
    """Return a peer's list; a damaged one counts as unknown, the account key stays pinned."""
    try:
        return parse_device_list(peer)
    except ProtocolError:
        _logger.warning("the stored device list of %s cannot be read; fetched anew", peer.user)
        return None
