"""Linking a device: nobody without the code gets in between, neither way."""

from typing import Any

import pytest

from client_sdk import entropy
from client_sdk.core.device_lists import list_with
from client_sdk.core.errors import AuthenticationError, InvalidSignatureError
from client_sdk.core.linking import check_join, make_join, open_grant, seal_grant
from client_sdk.core.signatures import signed_by
from client_sdk.wire.bundle import DeviceList
from client_sdk.wire.encoded_keys import AccountKey, IdentityKey, SigningKey
from client_sdk.wire.errors import InvalidInvitationError, ProtocolError
from client_sdk.wire.ids import DeviceNumber
from client_sdk.wire.linking import (
    LinkCode,
    format_link_code,
    is_link_code,
    parse_link_code,
)
from tests.unit.core.test_core_device_lists import ACCOUNT, ALICE, FIRST
from tests.unit.wire import samples

CODE = LinkCode(
    samples.INVITATION._replace(user=ALICE),
    entropy.draw_bytes(32),
    AccountKey(ACCOUNT.public),
    DeviceNumber(2),
)
SIGNING, IDENTITY, SEALING = entropy.draw_ed25519(), entropy.draw_x25519(), entropy.draw_hpke()
JOIN = make_join(
    CODE, SIGNING, IDENTITY.public, (SEALING.public, entropy.draw_bytes(32), bytes(16))
)
OTHER_CODES = (
    CODE._replace(secret=entropy.draw_bytes(32)),
    CODE._replace(number=DeviceNumber(3)),
    CODE._replace(account_key=AccountKey(entropy.draw_ed25519().public)),
)


def granted(**fields: Any) -> DeviceList:
    entry = check_join(CODE, JOIN, added_at=5, manager=False)._replace(**fields)
    return list_with(ACCOUNT, FIRST, entry)


def test_a_device_with_the_code_is_listed_and_gets_the_list() -> None:
    entry = check_join(CODE, JOIN, added_at=5, manager=True)
    assert (entry.number, entry.manager, entry.added_at) == (2, True, 5)
    assert entry.signing_key == SIGNING.public
    manager = list_with(ACCOUNT, FIRST, entry)
    grant = open_grant(CODE, SEALING, SIGNING, seal_grant(CODE, JOIN, manager, ACCOUNT))
    assert grant.device_list == manager
    assert grant.account_private == ACCOUNT.private_bytes()
    grant = open_grant(CODE, SEALING, SIGNING, seal_grant(CODE, JOIN, granted(), None))
    assert grant.account_private is None
    assert repr(grant) == "OpenedGrant(...)"


def test_a26_the_directory_cannot_put_in_keys_of_its_own() -> None:
    offer = JOIN.offer
    changed = [
        JOIN._replace(offer=offer._replace(signing_key=SigningKey(entropy.draw_ed25519().public))),
        JOIN._replace(offer=offer._replace(identity_key=IdentityKey(entropy.draw_x25519().public))),
        JOIN._replace(reply_key=entropy.draw_hpke().public),
        JOIN._replace(credential_hash=bytes(32)),
        JOIN._replace(nonce=b"\x01" * 16),
        JOIN._replace(offer=offer._replace(mac=bytes(32))),
        *(
            make_join(code, SIGNING, IDENTITY.public, JOIN[1:])  # type: ignore[arg-type]
            for code in OTHER_CODES
        ),
    ]
    for join in changed:
        with pytest.raises(AuthenticationError):
            check_join(CODE, join, added_at=5, manager=False)


def test_a_device_with_the_code_still_has_to_endorse_the_account() -> None:
    foreign = CODE._replace(account_key=OTHER_CODES[2].account_key)
    lying = make_join(foreign, SIGNING, IDENTITY.public, JOIN[1:])  # type: ignore[arg-type]
    honest = make_join(CODE, SIGNING, IDENTITY.public, JOIN[1:])  # type: ignore[arg-type]
    assert lying.offer.endorsement != honest.offer.endorsement
    with pytest.raises(InvalidSignatureError):
        check_join(foreign, _endorsed(foreign, honest), added_at=5, manager=False)


def _endorsed(code: LinkCode, join: Any) -> Any:
    """Return ``join`` with its endorsement of another account, proven with ``code``."""
    from client_sdk.core.kdf import link_offer_mac
    from client_sdk.wire.linking import offer_bytes

    mac = link_offer_mac(code.secret, offer_bytes(code, join))
    return join._replace(offer=join.offer._replace(mac=mac))


def test_an_answer_that_the_maker_of_the_code_did_not_give_is_refused() -> None:
    good = granted()
    manager = granted(manager=True)
    strange = entropy.draw_ed25519()
    without = signed_by(ACCOUNT, FIRST)
    other_keys = granted(signing_key=SigningKey(strange.public))
    other_account = signed_by(strange, good._replace(account_key=AccountKey(strange.public)))
    answers = [
        *(seal_grant(code, JOIN, good, None) for code in OTHER_CODES[:1]),
        seal_grant(CODE, JOIN, without, None),
        seal_grant(CODE, JOIN, other_keys, None),
        seal_grant(CODE, JOIN, other_account, None),
        seal_grant(CODE, JOIN, good._replace(user=samples.UserName("mallory")), None),
        seal_grant(CODE, JOIN, good, ACCOUNT),
        seal_grant(CODE, JOIN, manager, None),
        seal_grant(CODE, JOIN, manager, strange),
        seal_grant(CODE, JOIN, good._replace(version=9), None),
        seal_grant(CODE, JOIN._replace(reply_key=entropy.draw_hpke().public), good, None),
    ]
    for sealed in answers:
        with pytest.raises(ProtocolError):
            open_grant(CODE, SEALING, SIGNING, sealed)


def test_a_link_code_is_one_line_that_is_found_damaged() -> None:
    line = format_link_code(CODE)
    assert is_link_code(f" {line}\n")
    assert parse_link_code(f" {line}\n") == CODE
    assert repr(CODE) == "LinkCode(address='alice-2')"
    for bad in ("", line[:-1], line[1:], line[:50] + "!" + line[51:], line + "=", "x" * 9000):
        with pytest.raises(InvalidInvitationError):
            parse_link_code(bad)
    other = line[:200] + ("A" if line[200] != "A" else "B") + line[201:]
    with pytest.raises(InvalidInvitationError):
        parse_link_code(other)
