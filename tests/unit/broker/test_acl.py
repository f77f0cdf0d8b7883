"""The topic table, row by row, and the promise that nothing else is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import acl
from broker.acl import (
    MAX_LEVELS,
    MAX_LOGIN_CHARACTERS,
    Publication,
    is_login,
    may_publish,
    may_receive,
    may_subscribe,
)
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES, MAX_ENVELOPE_BYTES
from tests.unit.broker.matching import matches

ID = "a" * 26
OTHER_ID = "b" * 26
DEVICE, DIRECTORY, ENROLLING = "alice-1", "_kd", f"_enroll-{ID}"
LOGINS = [DEVICE, "bob-1", DIRECTORY, ENROLLING]
TO_BOB = f"v1/u/bob-1/in/alice-1/{ID}"
REQUEST = f"v1/kd/req/alice-1/{ID}"
REPLY = f"v1/u/alice-1/kd/{ID}"
EVENT = f"v1/u/alice-1/kd/event/{ID}"
ENROLL, ENROLLED = f"v1/kd/enroll/{ID}", f"v1/kd/enrolled/{ID}"

TABLE = [  # login, topic, qos, retain, payload
    (DEVICE, TO_BOB, 1, True, b"x"),
    (DEVICE, TO_BOB, 1, True, b""),
    (DEVICE, TO_BOB, 0, True, b""),
    (DEVICE, REQUEST, 1, False, b"x"),
    (DEVICE, f"v1/u/alice-1/in/bob-1/{ID}", 1, True, b""),
    (DEVICE, EVENT, 1, True, b""),
    (DEVICE, f"v1/u/alice-1/notice/{ID}", 0, True, b""),
    (DIRECTORY, REPLY, 1, False, b"x"),
    (DIRECTORY, EVENT, 1, True, b"x"),
    (DIRECTORY, ENROLLED, 1, False, b"x"),
    (DIRECTORY, TO_BOB, 1, True, b""),
    (DIRECTORY, EVENT, 1, True, b""),
    (ENROLLING, ENROLL, 1, False, b"x"),
]
TOPICS = sorted({row[1] for row in TABLE})


def allowed_by_table(login: str, publication: Publication) -> bool:
    """The table again, in the slowest and plainest form."""
    topic, _, qos, retain = (
        publication.topic,
        publication.payload,
        publication.qos,
        publication.retain,
    )
    size, clears = len(publication.payload), publication.retain and not publication.payload
    if qos == 2:
        return False
    if login == DEVICE and topic == TO_BOB:
        return clears or (qos == 1 and retain)
    if login == DEVICE and topic.startswith("v1/u/alice-1/"):
        return clears
    if login == "bob-1" and topic.startswith("v1/u/bob-1/"):
        return clears
    if login == "bob-1" and topic == f"v1/u/alice-1/in/bob-1/{ID}":
        return clears or (qos == 1 and retain)
    if login == DIRECTORY and topic.startswith("v1/u/") and clears:
        return True
    if login == DIRECTORY and topic == EVENT:
        return qos == 1 and retain and size > 0
    plain = {(DEVICE, REQUEST), (DIRECTORY, REPLY), (DIRECTORY, ENROLLED), (ENROLLING, ENROLL)}
    return (login, topic) in plain and qos == 1 and not retain and size > 0


@pytest.mark.parametrize(("login", "topic", "qos", "retain", "payload"), TABLE)
def test_each_row_of_the_table_is_allowed(
    login: str, topic: str, qos: int, retain: bool, payload: bytes
) -> None:
    assert may_publish(login, Publication(topic, payload, qos, retain))


@given(
    st.sampled_from(LOGINS),
    st.builds(
        Publication,
        topic=st.sampled_from(TOPICS),
        payload=st.sampled_from([b"", b"x"]),
        qos=st.integers(0, 2),
        retain=st.booleans(),
    ),
)
def test_nothing_outside_the_table_is_allowed(login: str, publication: Publication) -> None:
    assert may_publish(login, publication) is allowed_by_table(login, publication)


@pytest.mark.parametrize(
    "topic",
    [
        f"v1/u/bob-1/in/carol-1/{ID}",
        "v1/u/bob-1/in/alice-1/short",
        f"v1/u/bob-1/in/alice-1/{ID}/x",
        f"v1/u/bob-1/in/alice-1/{ID.upper()}",
        f"v1/u/bob/in/alice-1/{ID}",
        f"v1/u/bob-0/in/alice-1/{ID}",
        f"v2/u/bob-1/in/alice-1/{ID}",
        f"v1/u/bob-1/blob/alice-1/{ID}/0",
        "v1/u/bob-1/live/alice-1",
        f"v1/u/bob-1/kd/{ID}",
        f"v1/kd/req/bob-1/{ID}",
        "v1/kd/req/alice-1/x",
        f"v1/kd/enroll/{ID}",
        f"v1/kd/enrolled/{ID}",
        "v1/u/alice-1",
        "v1/u/alice-1/in/bo b-1/x",
        "v1/u/alice-1/é/x",
        "v1/u/alice-1//x",
        "v1/u/alice-1/in/\x00",
        f"/v1/u/bob-1/in/alice-1/{ID}",
        f"$SYS/v1/u/bob-1/in/alice-1/{ID}",
        "",
    ],
)
@pytest.mark.parametrize("payload", [b"", b"x"])
@pytest.mark.parametrize("retain", [True, False])
def test_a_device_publishes_nowhere_else(topic: str, payload: bytes, retain: bool) -> None:
    assert not may_publish(DEVICE, Publication(topic, payload, 1, retain))


@pytest.mark.parametrize(
    ("login", "topic", "retain", "limit"),
    [
        (DEVICE, TO_BOB, True, MAX_ENVELOPE_BYTES),
        (DEVICE, REQUEST, False, MAX_DIRECTORY_BYTES),
        (DIRECTORY, REPLY, False, MAX_DIRECTORY_BYTES),
        (DIRECTORY, EVENT, True, MAX_DIRECTORY_BYTES),
        (DIRECTORY, ENROLLED, False, MAX_DIRECTORY_BYTES),
        (ENROLLING, ENROLL, False, MAX_DIRECTORY_BYTES),
    ],
)
def test_every_payload_has_a_largest_size(login: str, topic: str, retain: bool, limit: int) -> None:
    assert may_publish(login, Publication(topic, bytes(limit), 1, retain))
    assert not may_publish(login, Publication(topic, bytes(limit + 1), 1, retain))


@pytest.mark.parametrize(
    ("login", "topic_filter"),
    [
        (DEVICE, "v1/u/alice-1/#"),
        (DEVICE, "v1/u/alice-1/in/+/+"),
        (DEVICE, "v1/u/alice-1/kd/+"),
        (DEVICE, "v1/u/alice-1/kd/event/+"),
        (DEVICE, f"v1/u/alice-1/in/bob-1/{ID}"),
        (DIRECTORY, "v1/kd/req/+/+"),
        (DIRECTORY, "v1/kd/enroll/+"),
        (DIRECTORY, "v1/u/alice-1/#"),
        (DIRECTORY, "v1/u/+/in/alice-1/+"),
        (DIRECTORY, f"v1/u/+/in/alice-1/{ID}"),
        (ENROLLING, ENROLLED),
    ],
)
def test_what_each_login_needs_to_read_is_granted(login: str, topic_filter: str) -> None:
    assert may_subscribe(login, topic_filter)


FOREIGN = [
    *("#", "+", "+/#", "/#", "v1/#", "v1/u/#", "v1/u/+/#", "v1/u/+/in/+/+", "v1/kd/#", "v1/+/+/+"),
    *("v1/u/alice-1", "v1/u/alice-1#", "v1/u/alice-1/#/x", "v1/u/alice-1/+x", "v1/u/alice-1/ä"),
    *("v1/u/alice-+/#", "$share/g/#", "$share/g/v1/u/alice-1/#", "$SYS/#", ""),
    *("v1/u/+/in/+/x", "v1/kd/req/#", "v1/kd/enrolled/+", f"v1/kd/enrolled/{OTHER_ID}"),
    *("v1/u/+/in/alice-0/+", "v1/u/+/in/alice-1/#", "v1/u/alice-1//#"),
]


@pytest.mark.parametrize("login", [*LOGINS, "nobody", ""])
@pytest.mark.parametrize("topic_filter", FOREIGN)
def test_no_filter_beyond_ones_own_is_granted(login: str, topic_filter: str) -> None:
    assert not may_subscribe(login, topic_filter)


def test_the_tree_of_a_device_whose_name_begins_alike_is_foreign() -> None:
    assert not may_subscribe(DEVICE, "v1/u/alice-12/#")
    assert not may_receive(DEVICE, f"v1/u/alice-12/in/bob-1/{ID}")


def test_a_filter_and_a_topic_have_a_largest_depth() -> None:
    deepest = "v1/u/alice-1" + "/x" * (MAX_LEVELS - 3)
    clear = Publication(deepest, b"", 1, retain=True)
    assert may_subscribe(DEVICE, deepest)
    assert may_publish(DEVICE, clear)
    assert not may_subscribe(DEVICE, f"{deepest}/x")
    assert not may_publish(DEVICE, clear._replace(topic=f"{deepest}/x"))


def test_a_level_has_a_largest_length() -> None:
    assert may_subscribe(DEVICE, "v1/u/alice-1/" + "x" * 64)
    assert not may_subscribe(DEVICE, "v1/u/alice-1/" + "x" * 65)


@pytest.mark.parametrize(
    ("login", "readable"),
    [
        (DEVICE, {REPLY, EVENT, f"v1/u/alice-1/in/bob-1/{ID}", f"v1/u/alice-1/notice/{ID}"}),
        ("bob-1", {TO_BOB}),
        (DIRECTORY, set(TOPICS) - {ENROLLED}),
        (ENROLLING, {ENROLLED}),
        ("nobody", set()),
        ("", set()),
    ],
)
def test_each_message_is_handed_to_its_readers_only(login: str, readable: set[str]) -> None:
    everything = {*TOPICS, "v1/u/alice-1", "v1/u/alice-1/a b", "v1/kd/x", "$SYS/x", ""}
    assert {topic for topic in everything if may_receive(login, topic)} == readable


levels = st.sampled_from(
    ["v1", "u", "kd", "in", "req", "+", "#", "alice-1", "bob-1", ID, "$share", ""]
)


@given(st.lists(levels, min_size=1, max_size=7).map("/".join), st.sampled_from(TOPICS))
def test_a_device_never_subscribes_to_what_it_may_not_receive(
    topic_filter: str, topic: str
) -> None:
    for login in (DEVICE, "bob-1", ENROLLING):
        if may_subscribe(login, topic_filter) and matches(topic_filter, topic):
            assert may_receive(login, topic)


@pytest.mark.parametrize("replica", ["_kd-a", "_kd-2", "_kd-abcdefghijklmnop"])
def test_a_replica_of_the_directory_has_its_rights_and_no_others(replica: str) -> None:
    assert is_login(replica)
    for topic in (*TOPICS, *(f"{tree}/#" for tree in ("v1", "v1/kd", "v1/u/alice-1"))):
        for payload in (b"", b"x"):
            for qos in (0, 1, 2):
                for retain in (False, True):
                    publication = Publication(topic, payload, qos, retain=retain)
                    assert may_publish(replica, publication) is may_publish(DIRECTORY, publication)
        assert may_subscribe(replica, topic) is may_subscribe(DIRECTORY, topic)
        assert may_receive(replica, topic) is may_receive(DIRECTORY, topic)


@pytest.mark.parametrize("login", LOGINS)
def test_logins_have_one_of_three_forms(login: str) -> None:
    assert is_login(login)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "alice-0",
        "alice-128",
        "Alice-1",
        "_kd2",
        "_kd-",
        "_kd-A",
        "_kd-a-b",
        "_kd-abcdefghijklmnopq",
        "_enroll-",
        "_enroll-x",
        "#",
        "+",
        "a/b-1",
        "alice-1\n",
        "%u",
        "alice-1 ",
    ],
)
def test_any_other_text_is_no_login_and_gets_nothing(text: str) -> None:
    assert not is_login(text)
    for topic in (*TOPICS, f"v1/u/{text}/x"):
        assert not may_publish(text, Publication(topic, b"", 1, retain=True))
        assert not may_subscribe(text, topic)
        assert not may_receive(text, topic)


def test_a_login_has_a_largest_length_and_longer_ones_are_not_remembered() -> None:
    longest = "a" * 32 + "-127"
    assert is_login(longest)
    assert not is_login("a" * 33 + "-1")
    before = acl._known_role.cache_info().currsize
    assert not is_login("x" * (MAX_LOGIN_CHARACTERS + 1))
    assert acl._known_role.cache_info().currsize == before
    assert not is_login("y" * MAX_LOGIN_CHARACTERS)
    assert acl._known_role.cache_info().currsize == before + 1
