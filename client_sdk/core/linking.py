"""Both ends of linking a device: keys proven by the code's secret, the answer sealed to them.

The new device's sealing key is authenticated by the code, so what is sealed to it can be opened
by nobody else, and the answer proves in turn that whoever made the code has sealed it.
"""

import hmac

from client_sdk.core import hpke
from client_sdk.core.errors import AuthenticationError
from client_sdk.core.hpke import HpkeKeyPair
from client_sdk.core.kdf import link_grant_mac, link_offer_mac
from client_sdk.core.keys import Ed25519KeyPair, parse_x25519, verify
from client_sdk.core.signatures import endorse, verify_device_list, verify_endorsements
from client_sdk.wire.bundle import DeviceEntry, DeviceList, device_entry, endorsement_bytes
from client_sdk.wire.codec import encode
from client_sdk.wire.encoded_keys import IdentityKey, SigningKey
from client_sdk.wire.linking import (
    OPENED_GRANT,
    DeviceOffer,
    Join,
    LinkCode,
    OpenedGrant,
    grant_bytes,
    grant_info,
    offer_bytes,
)

_NO_MAC = bytes(32)


def make_join(
    code: LinkCode, signing: Ed25519KeyPair, identity: bytes, asked: tuple[bytes, bytes, bytes]
) -> Join:
    """Return what a new device asks to be listed with.

    Args:
        code: The link code.
        signing: Its signing keys.
        identity: Its encoded identity key.
        asked: Its HPKE public key, the hash of its new password, and a nonce.
    """
    unproven = DeviceOffer(
        SigningKey(signing.public),
        IdentityKey(identity),
        endorse(signing, code.address, code.account_key),
        _NO_MAC,
    )
    join = Join(unproven, *asked)
    mac = link_offer_mac(code.secret, offer_bytes(code, join))
    return join._replace(offer=unproven._replace(mac=mac))


def check_join(code: LinkCode, join: Join, *, added_at: int, manager: bool) -> DeviceEntry:
    """Return the entry of a new device that has proven to hold the code.

    Args:
        code: The link code that this user made.
        join: What came through the directory.
        added_at: ms since 1970.
        manager: Whether it may change the list from now on.

    Raises:
        AuthenticationError: It was made or changed by somebody without the code.
        InvalidSignatureError: Its endorsement does not hold.
        InvalidKeyError: One of its keys is not a good key.
    """
    mac = link_offer_mac(code.secret, offer_bytes(code, join))
    offer = join.offer
    if not hmac.compare_digest(mac, offer.mac):
        raise AuthenticationError(
            "the request does not come from a device with this code; nothing was changed; "
            "make a new code"
        )
    verify(offer.signing_key, endorsement_bytes(code.address, code.account_key), offer.endorsement)
    parse_x25519(offer.identity_key)
    return DeviceEntry(
        number=code.number,
        signing_key=offer.signing_key,
        identity_key=offer.identity_key,
        added_at=added_at,
        manager=manager,
        endorsement=offer.endorsement,
    )


def seal_grant(
    code: LinkCode, join: Join, device_list: DeviceList, account: Ed25519KeyPair | None
) -> bytes:
    """Return the new list, and for a manager the account's key, for the new device alone."""
    private = None if account is None else account.private_bytes()
    unproven = OpenedGrant(device_list, private, _NO_MAC)
    mac = link_grant_mac(code.secret, grant_bytes(code, unproven))
    return hpke.seal(join.reply_key, encode(unproven._replace(mac=mac)), grant_info(code))


def open_grant(
    code: LinkCode, keys: HpkeKeyPair, signing: Ed25519KeyPair, sealed: bytes
) -> OpenedGrant:
    """Return what the manager sealed, once all of it holds.

    Raises:
        AuthenticationError: It was not sealed to this device by the maker of the code, or lists
            other keys or another account than the code says.
        ProtocolError: A signature or a key in the list is bad.
    """
    grant = OPENED_GRANT.decode(keys.open(sealed, grant_info(code)))
    mac = link_grant_mac(code.secret, grant_bytes(code, grant))
    entry = device_entry(grant.device_list, code.number)
    account = grant.account_private
    if (
        not hmac.compare_digest(mac, grant.mac)
        or grant.device_list.user != code.invitation.user
        or grant.device_list.account_key != code.account_key
        or entry is None
        or bytes(entry.signing_key) != bytes(signing.public)
        or entry.manager != (account is not None)
        or (account is not None and _public(account) != bytes(code.account_key))
    ):
        raise AuthenticationError(
            "the answer does not come from the device that made the code; nothing was stored"
        )
    verify_device_list(grant.device_list)
    verify_endorsements(grant.device_list)
    return grant


def _public(private: bytes) -> bytes:
    return Ed25519KeyPair.from_private_bytes(private).public
