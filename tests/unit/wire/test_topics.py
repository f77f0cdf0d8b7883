"""Topics come back as what they were made of, and no other string is taken for one."""

from collections.abc import Callable

import pytest

from client_sdk.wire import ids, topics
from client_sdk.wire.errors import InvalidNameError, MalformedError, MisuseError, ProtocolError
from client_sdk.wire.ids import EnvelopeId, EventId, InvitationId, RequestId
from tests.unit.wire.samples import ALICE_1, BOB_127, ID

MADE: dict[str, str] = {
    "inbox": topics.inbox(ALICE_1, BOB_127, EnvelopeId(ID)),
    "request": topics.request(ALICE_1, RequestId(ID)),
    "reply": topics.reply(ALICE_1, RequestId(ID)),
    "event": topics.event(ALICE_1, EventId(ID)),
    "enroll": topics.enroll(InvitationId(ID)),
    "enrolled": topics.enrolled(InvitationId(ID)),
}
FILTERS = (
    topics.inbox_filter(ALICE_1),
    topics.sent_filter(ALICE_1),
    topics.device_tree(ALICE_1),
    topics.reply_filter(ALICE_1),
    topics.event_filter(ALICE_1),
    topics.DIRECTORY_REQUESTS,
    topics.ENROLLMENT_REQUESTS,
)
PARSERS: dict[str, Callable[[str], object]] = {
    "inbox": topics.parse_inbox,
    "request": topics.parse_request,
    "reply": topics.parse_reply,
    "event": topics.parse_event,
    "enroll": topics.parse_enroll,
}

# Test A39: what a user name must never be, because it would mean something in a topic.
HOSTILE_NAMES = (
    "", "#", "+", "a/b", "a#", "+a", "$SYS", "$share", "%u", "%c", "..", ".", "a.b", "a-b", "-",
    "_", "_kd", "_enroll-x", "Alice", "ALICE", "alice\n", "\nalice", "alice\x00", " alice",
    "alice ", "аlice", "ａｌｉｃｅ", "alicé", "ß", "１", "٣", "a" * 33, "a\u200b", "a\u202e",
    "~group",
    "a@b", "a*", ">",
)  # fmt: skip
HOSTILE_ADDRESSES = (
    "alice", "alice-", "alice-0", "alice-00", "alice-01", "alice-128", "alice-999", "alice-1000",
    "alice--1", "alice-+1", "alice- 1", "alice-1 ", "alice-1\n", "alice-١", "alice-1-1", "-1",
    "_kd-1", "alice-1/in", "+-1", "#", "+", "alice-a", "alice_1",
)  # fmt: skip
HOSTILE_IDS = (
    "", "+", "#", ID[:-1], ID + "a", ID.upper(), ID[:-1] + "1", ID[:-1] + "/", ID + "\n",
    ID[:-1] + "=",
)  # fmt: skip


def test_the_topics_are_the_documented_ones() -> None:
    assert {
        "inbox": f"v1/u/alice-1/in/bob_2-127/{ID}",
        "request": f"v1/kd/req/alice-1/{ID}",
        "reply": f"v1/u/alice-1/kd/{ID}",
        "event": f"v1/u/alice-1/kd/event/{ID}",
        "enroll": f"v1/kd/enroll/{ID}",
        "enrolled": f"v1/kd/enrolled/{ID}",
    } == MADE
    assert FILTERS == (
        "v1/u/alice-1/in/+/+",
        "v1/u/+/in/alice-1/+",
        "v1/u/alice-1/#",
        "v1/u/alice-1/kd/+",
        "v1/u/alice-1/kd/event/+",
        "v1/kd/req/+/+",
        "v1/kd/enroll/+",
    )


def test_a_prefix_begins_every_topic_of_its_kind_and_no_other_devices() -> None:
    assert MADE["inbox"].startswith(topics.inbox_prefix(ALICE_1))
    assert MADE["reply"].startswith(topics.reply_prefix(ALICE_1))
    assert MADE["event"].startswith(topics.event_prefix(ALICE_1))
    other = ids.DeviceAddress("alice-12")
    for prefix in (topics.inbox_prefix, topics.reply_prefix, topics.event_prefix):
        assert not prefix(other).startswith(prefix(ALICE_1))


def test_parsing_a_topic_gives_what_it_was_made_of() -> None:
    assert topics.parse_inbox(MADE["inbox"]) == (ALICE_1, BOB_127, ID)
    assert topics.parse_request(MADE["request"]) == (ALICE_1, ID)
    assert topics.parse_reply(MADE["reply"]) == ID
    assert topics.parse_event(MADE["event"]) == ID
    assert topics.parse_enroll(MADE["enroll"]) == ID


@pytest.mark.parametrize("kind", PARSERS)
def test_a_parser_takes_topics_of_its_own_kind_only(kind: str) -> None:
    others = [topic for name, topic in MADE.items() if name != kind]
    for topic in (*others, *FILTERS, "", "/", "#", "v1", MADE[kind] + "/", "/" + MADE[kind]):
        with pytest.raises(MalformedError):
            PARSERS[kind](topic)


@pytest.mark.parametrize("kind", PARSERS)
def test_a_topic_with_one_hostile_segment_is_refused(kind: str) -> None:
    segments = MADE[kind].split("/")
    for position, original in enumerate(segments):
        hostile = HOSTILE_IDS if original == ID else HOSTILE_ADDRESSES
        for text in (*hostile, "v2", "$share", ""):
            changed = "/".join([*segments[:position], text, *segments[position + 1 :]])
            with pytest.raises(MalformedError):
                PARSERS[kind](changed)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a39_a_hostile_name_is_no_user(name: str) -> None:
    with pytest.raises(InvalidNameError):
        ids.parse_user(name)
    with pytest.raises(InvalidNameError):
        ids.parse_address(f"{name}-1")


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_a39_a_hostile_address_is_no_device(address: str) -> None:
    with pytest.raises(InvalidNameError):
        ids.parse_address(address)


def test_good_names_are_users_and_addresses_come_apart_again() -> None:
    for name in ("a", "0", "a_", "alice", "a" * 32, "dr_who_2"):
        user = ids.parse_user(name)
        address = ids.device_address(user, ids.DeviceNumber(127))
        assert ids.parse_address(address) == address
        assert ids.split_address(address) == (user, 127)
        assert ids.user_of(address) == user


def test_an_id_is_26_characters_of_16_bytes() -> None:
    assert ids.random_id(bytes(16)) == "a" * 26
    assert ids.random_id(b"\xff" * 16) == "7" * 25 + "4"
    assert ids.is_random_id(ids.random_id(bytes(range(16))))
    assert not any(map(ids.is_random_id, HOSTILE_IDS))
    for size in (15, 17):
        with pytest.raises(InvalidNameError):
            ids.random_id(bytes(size))


def test_a_segment_has_1_to_64_safe_characters() -> None:
    for good in ("a", "A-Z_9", "x" * 64, ID, "_kd"):
        assert topics.is_segment(good)
    for bad in ("", "x" * 65, "a/b", "+", "#", "a b", "é", "a\n", "$x"):
        assert not topics.is_segment(bad)


def test_bad_names_are_the_callers_fault_and_bad_topics_the_peers() -> None:
    assert issubclass(InvalidNameError, MisuseError)
    assert issubclass(MalformedError, ProtocolError)
