"""What managers of one account say to each other after the account's key was replaced."""

from typing import Annotated, Final, NamedTuple

from client_sdk.wire.codec import Codec
from client_sdk.wire.encoded_keys import AccountKey, Ed25519Field
from client_sdk.wire.invitation import Secret
from client_sdk.wire.limits import MAX_PADDED_CONTENT_BYTES


class AccountKeyWanted(NamedTuple):
    """The body of a manager's request: the account key whose private half it does not have."""

    account_key: Annotated[AccountKey, Ed25519Field]


class AccountKeyGiven(NamedTuple):
    """The body of the answer: that private half."""

    account_private: Secret

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "AccountKeyGiven(...)"


ACCOUNT_KEY_WANTED: Final = Codec(AccountKeyWanted, MAX_PADDED_CONTENT_BYTES)
ACCOUNT_KEY_GIVEN: Final = Codec(AccountKeyGiven, MAX_PADDED_CONTENT_BYTES)
