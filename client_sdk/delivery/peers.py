"""Users as delivery sees them: parsed once, kept while their revision stands."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from client_sdk import entropy
from client_sdk.core.errors import StateFormatError
from client_sdk.core.session import InitiatorKeys
from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import parse_record
from client_sdk.delivery.adoption import Adoption, check_not_held, plan_adoption
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.directory import DirectoryClient
from client_sdk.delivery.errors import NotContactError
from client_sdk.machine.changes import Changes, Peer, SessionRow, combine
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.sending import (
    FreshEnvelope,
    FreshEnvelopes,
    fresh_keys_wanted,
    start_session,
    without_session,
)
from client_sdk.machine.state import PeerState, expired, parse_device_list, session_rows, written
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.bundle import DeviceList, PrekeyBundle, addresses
from client_sdk.wire.directory import DeviceListReply
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName, user_of

MAX_CACHED_PEERS: Final = 1024

_logger = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """What the directory answered before a message is planned; not verified yet."""

    reply: DeviceListReply | None
    bundles: tuple[PrekeyBundle, ...]


class Peers:
    """Loads and commits one user's state; one step at a time for each user."""

    def __init__(
        self,
        store: ClientStore,
        own: OwnDevice,
        directory: DirectoryClient,
        told: Callable[[Adoption], None],
        damaged: Callable[[DeviceAddress], None] = lambda _: None,
    ) -> None:
        """Start with nothing loaded.

        Args:
            store: Where all of it is committed.
            own: This device.
            directory: Answers lists and bundles.
            told: Hears of every adopted device list, committed.
            damaged: Hears of sessions that cannot be read.
        """
        self._damaged = damaged
        self._store = store
        self._own = own
        self._directory = directory
        self._told = told
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
            return expired(replace(cached, streams=streams), now_ms())
        state = PeerState(
            snapshot.revision,
            snapshot.peer,
            _device_list(snapshot.peer),
            {row.device: self._parsed(row) for row in snapshot.sessions},
            {(one.device, one.stream_id): one for one in snapshot.streams},
        )
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
        """Fetch and adopt a user's device list; call without the user's lock.

        Raises:
            IdentityChangedError: The user was verified and has another account key now.
            NotContactError: The directory lets this user not be reached.
            DirectoryUnavailableError: No answer.
        """
        reply = await self._directory.fetch_device_list(user)
        async with self.lock(user):
            return await self._adopt(await self.load(user), reply)

    async def fetch_missing(self, user: UserName) -> Fetched:
        """Fetch what the next message to ``user`` needs; call without the user's lock.

        A directory that is slow to answer must not hold up what ``user`` sends meanwhile.

        Raises:
            IdentityChangedError: The user was verified and has another account key now.
            NotContactError: The directory lets this user not be reached.
            DirectoryUnavailableError: No answer.
        """
        state = await self.load(user)
        check_not_held(state)
        known, wanted = state.device_list, without_session(state)
        if known is None:
            return await self._fetch_new(user, {})
        bundles: dict[DeviceAddress, PrekeyBundle] = {}
        try:
            for device in wanted:
                bundles[device] = await self._directory.fetch_bundle(device)
        except NotContactError:  # a device that is gone, or the whole user
            return await self._fetch_new(user, bundles, unlike=known)
        if any(bundle.device_list != known for bundle in bundles.values()):
            return await self._fetch_new(user, bundles)
        return Fetched(None, tuple(bundles.values()))

    async def _fetch_new(
        self,
        user: UserName,
        bundles: dict[DeviceAddress, PrekeyBundle],
        unlike: DeviceList | None = None,
    ) -> Fetched:
        """Fetch the newest list, and the bundles of its devices that are not known yet."""
        state = await self.load(user)
        reply = await self._directory.fetch_device_list(user)
        if reply.device_list == unlike:
            raise NotContactError("a listed device of the contact cannot be reached any more")
        known = set() if _is_other_account(state, reply) else set(state.devices)
        for device in addresses(reply.device_list):
            if device not in bundles and device not in known:
                bundles[device] = await self._directory.fetch_bundle(device)
        return Fetched(reply, tuple(bundles.values()))

    async def with_sessions(self, state: PeerState, fetched: Fetched) -> PeerState:
        """Return the state with a session for every active device; call with the lock held.

        The new sessions are committed with the first message that uses them.
        """
        if fetched.reply is not None:
            state = await self._adopt(state, fetched.reply)
        check_not_held(state)
        missing = without_session(state)
        for bundle in fetched.bundles:
            if bundle.address not in missing:
                continue
            state = start_session(self._own, state, bundle, _fresh_session(bundle), now_ms())
        return state

    async def fetch_bundle(self, device: DeviceAddress) -> Fetched:
        """Fetch what a new session with one device needs; call without its user's lock."""
        bundle = await self._directory.fetch_bundle(device)
        state = await self.load(user_of(device))
        reply = None
        if bundle.device_list != state.device_list:
            reply = await self._directory.fetch_device_list(state.user)
        return Fetched(reply, (bundle,))

    async def with_new_session(self, state: PeerState, fetched: Fetched) -> PeerState:
        """Return the state with a new session for each bundle; call with the lock held.

        The new sessions are committed with the first message that uses them.
        """
        if fetched.reply is not None:
            state = await self._adopt(state, fetched.reply)
        for bundle in fetched.bundles:
            state = start_session(self._own, state, bundle, _fresh_session(bundle), now_ms())
        return state

    def _parsed(self, row: SessionRow) -> SessionRecord:
        """Return the sessions of a row; a damaged one counts as none, and heals like a lost one.

        Raises:
            NewerStateError: A newer version wrote it; it is not damaged.
        """
        try:
            return parse_record(row.record)
        except StateFormatError:
            _logger.info("the stored sessions with %s cannot be read", row.device)
            self._damaged(row.device)
            return SessionRecord()

    async def _adopt(self, state: PeerState, reply: DeviceListReply) -> PeerState:
        adoption = await plan_adoption(self._store, self._own, state, reply)
        adopted, changes, _ = adoption.step
        if changes != Changes():
            devices = adoption.step.changed_sessions(state)
            adopted = await self.commit(adopted, changes, devices)
        self._told(adoption)
        check_not_held(adopted)
        return adopted

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


def _fresh_session(bundle: PrekeyBundle) -> InitiatorKeys:
    return InitiatorKeys(
        entropy.draw_x25519(),
        entropy.encapsulate(bundle.kem_prekey.key),
        entropy.draw_x25519(),
    )


def _is_other_account(state: PeerState, reply: DeviceListReply) -> bool:
    return state.peer.account_key != reply.device_list.account_key


def fresh_envelopes(state: PeerState) -> FreshEnvelopes:
    """Draw an envelope id for every active device, and the keys that each encryption wants."""
    return {
        device: FreshEnvelope(
            EnvelopeId(entropy.draw_id()),
            entropy.draw_keys(fresh_keys_wanted(state, device)),
        )
        for device in state.devices
    }
