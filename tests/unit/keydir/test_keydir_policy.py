"""Policy files: what they may say, and what is said about a wrong one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.directory import Relation
from keydir.errors import PolicyError, UnknownRoleError
from keydir.policy import (
    MAX_POLICY_BYTES,
    MAX_ROLES,
    PACKAGED_POLICIES,
    Policy,
    parse_policy,
    read_policy,
)

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("name", PACKAGED_POLICIES)
def test_the_file_in_configs_is_the_packaged_policy(name: str) -> None:
    assert (CONFIGS / f"{name}.toml").read_text("utf-8") == read_policy(name)
    parse_policy(read_policy(name), name)


def test_the_clinic_joins_doctors_and_patients_and_nobody_else() -> None:
    policy = parse_policy(read_policy("clinic"), "clinic")
    assert policy.relation("doctor", "patient") is Relation.CONTACT
    assert policy.relation("patient", "doctor") is Relation.CONTACT
    assert policy.relation("patient", "patient") is None
    assert policy.relation("doctor", "doctor") is None


def test_the_open_policy_makes_everybody_a_stranger() -> None:
    policy = parse_policy(read_policy("open"), "open")
    assert policy.relation("user", "user") is Relation.STRANGER
    assert policy.role_for(None) == "user"


roles = st.lists(st.from_regex(r"[a-z0-9][a-z0-9_]{0,31}", fullmatch=True), min_size=1, unique=True)


@given(roles, st.data(), st.booleans())
def test_relations_are_the_same_both_ways(
    names: list[str], data: st.DataObject, is_open: bool
) -> None:
    pair = st.tuples(st.sampled_from(names), st.sampled_from(names))
    contacts = tuple(data.draw(st.lists(pair)))
    policy = Policy(roles=tuple(names), contacts=contacts, open=is_open)
    one, other = data.draw(pair)
    assert policy.relation(one, other) == policy.relation(other, one)
    paired = (one, other) in contacts or (other, one) in contacts
    assert (policy.relation(one, other) is Relation.CONTACT) is paired


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("roles = [", "not TOML"),
        ('roles = ["a"]\ncontacts = []\nopen = true\nsecret = 1', "secret"),
        ("contacts = []\nopen = true", "roles"),
        ("roles = []\ncontacts = []\nopen = true", "roles"),
        ('roles = ["a", "a"]\ncontacts = []\nopen = true', "named twice"),
        ('roles = ["A"]\ncontacts = []\nopen = true', "roles.0"),
        ('roles = ["a"]\ncontacts = [["a", "b"]]\nopen = true', "'b'"),
        ('roles = ["a"]\ncontacts = [["a"]]\nopen = true', "contacts.0"),
        ('roles = ["a"]\ncontacts = []\nopen = "yes"', "open"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_place_of_the_mistake(text: str, named: str) -> None:
    with pytest.raises(PolicyError, match=named) as caught:
        parse_policy(text, "mine.toml")
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("count", "fits"), [(MAX_ROLES, True), (MAX_ROLES + 1, False)])
def test_a_policy_has_at_most_64_roles(count: int, fits: bool) -> None:
    names = [f"r{number}" for number in range(count)]
    text = f"roles = {names}\ncontacts = []\nopen = false".replace("'", '"')
    if fits:
        assert len(parse_policy(text, "big").roles) == MAX_ROLES
    else:
        with pytest.raises(PolicyError):
            parse_policy(text, "big")


@pytest.mark.parametrize(
    ("size", "fits"), [(MAX_POLICY_BYTES, True), (MAX_POLICY_BYTES + 1, False)]
)
def test_a_policy_file_has_at_most_64_kib(tmp_path: Path, size: int, fits: bool) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(read_policy("open").ljust(size, "\n"))
    if fits:
        assert read_policy(str(path)) == path.read_text()
    else:
        with pytest.raises(PolicyError, match="bytes"):
            read_policy(str(path))


def test_a_missing_or_binary_policy_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        read_policy(str(tmp_path / "none.toml"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="UTF-8"):
        read_policy(str(binary))


def test_a_role_must_be_known_and_named_where_there_are_several() -> None:
    policy = parse_policy(read_policy("clinic"), "clinic")
    assert policy.role_for("doctor") == "doctor"
    with pytest.raises(UnknownRoleError, match="doctor, patient"):
        policy.role_for(None)
    with pytest.raises(UnknownRoleError, match="nurse"):
        policy.role_for("nurse")
