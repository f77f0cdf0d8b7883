"""The policy file: which roles there are and whose users may reach whose."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from client_sdk.wire.directory import Relation
from keydir.errors import PolicyError, UnknownRoleError

MAX_ROLES: Final = 64
"""Roles of one policy: far more than a deployment names, few enough to check at each request."""

MAX_POLICY_BYTES: Final = 64 * 1024
"""A policy file; 64 roles and every pair of them fit."""

PACKAGED_POLICIES: Final = ("clinic", "open")
DEFAULT_POLICY: Final = "clinic"

Role = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")]


class Policy(BaseModel):
    """Roles, the pairs of roles that are contacts, and whether strangers may write.

    Attributes:
        roles: Every role a user can have.
        contacts: Pairs of roles whose users are contacts of each other, both ways.
        open: Whether unpaired users may write to each other as strangers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=MAX_ROLES)]
    contacts: tuple[tuple[Role, Role], ...]
    open: Annotated[bool, Field(strict=True)]

    @model_validator(mode="after")
    def _roles_are_named_once_and_known(self) -> Self:
        if len(set(self.roles)) != len(self.roles):
            raise ValueError("a role is named twice in roles")
        for role in (role for pair in self.contacts for role in pair):
            if role not in self.roles:
                raise ValueError(f"contacts names the role {role!r}, which roles does not")
        return self

    def partners(self, role: str) -> frozenset[str]:
        """Return the roles whose users are contacts of a user with ``role``."""
        pairs = (*self.contacts, *((second, first) for first, second in self.contacts))
        return frozenset(second for first, second in pairs if first == role)

    def relation(self, role: str, other: str) -> Relation | None:
        """Return what two users of these roles are to each other; None: out of reach."""
        if other in self.partners(role):
            return Relation.CONTACT
        return Relation.STRANGER if self.open else None

    def role_for(self, wanted: str | None) -> str:
        """Return the role of a new user.

        Args:
            wanted: A role, or None for the policy's only one.

        Raises:
            UnknownRoleError: ``wanted`` is not in the policy, or is None and there are several.
        """
        known = ", ".join(self.roles)
        if wanted is None:
            if len(self.roles) > 1:
                raise UnknownRoleError(
                    f"which role? nobody was invited; name one with --role: {known}"
                )
            return self.roles[0]
        if wanted not in self.roles:
            raise UnknownRoleError(
                f"the policy has no role {wanted!r}; nobody was invited; its roles are: {known}"
            )
        return wanted


def parse_policy(text: str, name: str) -> Policy:
    """Return the policy that a TOML text is.

    Args:
        text: The whole file.
        name: How messages call it.

    Raises:
        PolicyError: It is not TOML, or a key is unknown, missing or wrong.
    """
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"policy {name}: not TOML: {error}; nothing was changed") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        shown = f"{where}: {what}" if where else what
        raise PolicyError(f"policy {name}: {shown}; nothing was changed") from error


def read_policy(choice: str) -> str:
    """Return the text of a valid policy.

    Args:
        choice: ``clinic``, ``open`` or the path of a file.

    Raises:
        PolicyError: There is no such file, or it holds no valid policy.
    """
    if choice in PACKAGED_POLICIES:
        return resources.files("keydir").joinpath(f"policies/{choice}.toml").read_text("utf-8")
    try:
        with Path(choice).open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        if len(data) > MAX_POLICY_BYTES:
            raise PolicyError(
                f"policy {choice}: over {MAX_POLICY_BYTES} bytes; nothing was changed"
            )
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise PolicyError(
            f"policy {choice}: {reason}; nothing was changed; "
            f"give {' or '.join(PACKAGED_POLICIES)}, or a file"
        ) from error
    parse_policy(text, choice)
    return text
