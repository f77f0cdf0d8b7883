"""The part of the public API that is about who a contact is."""

from client_sdk.core import fingerprint
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.identity import show_identity, trust_user, verify_user
from client_sdk.handles import SafetyNumber
from client_sdk.machine.identity import Identity, identity_of, key_to_compare
from client_sdk.wire.directory import Contact
from client_sdk.wire.errors import MisuseError, OperationalError
from client_sdk.wire.ids import UserName, parse_user


class IdentityCalls:
    """Contacts, their safety numbers, and what is believed of their keys; see ``Messenger``."""

    _context: Context

    async def contacts(self) -> list[Contact]:
        """Return whom the directory's policy lets this user reach; the last known when offline."""
        if self._context.directory.attached:
            try:
                found = await self._context.directory.fetch_contacts()
                await self._context.store.replace_contacts(found)
            except OperationalError:
                return await self._context.store.contacts()
            return found
        return await self._context.store.contacts()

    async def safety_number(self, user: str) -> SafetyNumber:
        """Return the number to compare with ``user`` over another channel.

        After an identity change it is that of the new key, which is not trusted yet.

        Raises:
            NotContactError: No such contact.
            OperationalError: The user is not known yet and the directory cannot be asked.
        """
        state = await show_identity(self._context, self._other(user))
        key = key_to_compare(state.peer)
        if key is None:
            raise NotContactError(f"no keys of {user} are known")
        own = self._context.own
        mine = (own.user.encode(), own.record.device_list.account_key)
        theirs = (state.user.encode(), key)
        shown, expected = fingerprint.scannable(*mine, *theirs)
        digits = fingerprint.numeric(*mine, *theirs)
        return SafetyNumber(state.user, digits, shown, expected, identity_of(state.peer))

    async def identity(self, user: str) -> Identity:
        """Return what this device knows of a user's account key; asks nobody."""
        return identity_of((await self._context.peers.load(self._other(user))).peer)

    async def identities(self) -> dict[UserName, Identity]:
        """Return the users who are verified, or were and have another key now."""
        return await self._context.store.identities()

    async def verify(self, user: str) -> None:
        """Say that the safety number of ``user`` was compared and is right.

        From then on another account key stops all sending to them, see ``trust``. Where the key
        has changed, its new safety number is the one that has to be compared; it is taken.

        Raises:
            NotComparedError: The key has changed, and ``safety_number`` was not called since;
                nothing was changed.
            NotContactError: No such contact.
            OperationalError: The user is not known yet and the directory cannot be asked.
        """
        await verify_user(self._context, self._other(user))

    async def trust(self, user: str) -> None:
        """Go on with the new account key of a verified user without comparing it.

        The user is not verified any more; what waited is sent, and what came from the new key is
        shown. Without an identity change nothing happens.

        Raises:
            NotContactError: No such contact.
            OperationalError: The user is not known yet and the directory cannot be asked.
        """
        await trust_user(self._context, self._other(user))

    def _other(self, user: str) -> UserName:
        name = parse_user(user)
        if name == self._context.own.user:
            raise MisuseError("this is about two users; name the other one")
        return name
