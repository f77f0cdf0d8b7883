"""Settings from a TOML file, the environment and flags, the later over the earlier."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from broker.errors import Fault, SettingsError
from broker.limits import BrokerLimits
from broker.settings import BrokerSettings

ENV_PREFIX: Final = "RATCHETMQ_BROKER_"
NESTED: Final = "__"
MAX_FILE_BYTES: Final = 256 * 1024
"""A settings file has a few KiB; a larger one is something else."""

_FLAGS: Final = {"data_dir": "--data", "database_url": "--database"}
"""Those that are not called as their setting."""

_PYDANTIC_SAYS: Final = "Value error, "


class _Wrong(NamedTuple):
    """One error of validation: where in the settings, which kind, what is told."""

    path: list[str]
    kind: str
    text: str

    @property
    def is_unknown(self) -> bool:
        return self.kind == "extra_forbidden"


@dataclass(frozen=True, slots=True)
class _Given:
    """What each source says, before it is checked."""

    file: Path | None
    text: str
    table: dict[str, object]
    flags: Mapping[str, object]


class _Sources(BaseSettings, BrokerSettings):
    """Broker settings that read the environment; the file is added for each call."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=NESTED, frozen=True, extra="forbid"
    )


def load_settings(file: Path | None, flags: Mapping[str, object]) -> BrokerSettings:
    """Return the settings of one start.

    Args:
        file: A TOML file, the lowest of the sources; None where there is none.
        flags: Settings by name as the command line gives them, the highest; None is not given.

    Raises:
        SettingsError: A key is unknown, a value is wrong or the file cannot be read; all faults
            are in it, nothing was changed.
    """
    text, table = ("", {}) if file is None else _read(file)
    given = _Given(file, text, table, {k: v for k, v in flags.items() if v is not None})

    class Sources(_Sources):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, dict(table))

    faults = _unknown_variables()
    try:
        loaded = Sources(**given.flags)  # type: ignore[arg-type] # checked by the model
    except ValidationError as error:
        wrong = _wrong_in(error)
        faults += [_fault(one, given) for one in wrong if not _is_unknown_variable(one, given)]
    except SourceError as error:
        faults.append(Fault("environment", "", f"{error}; a list or table is written as JSON"))
    if faults:
        raise SettingsError(faults)
    return BrokerSettings(**{name: getattr(loaded, name) for name in BrokerSettings.model_fields})


def _read(file: Path) -> tuple[str, dict[str, object]]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise SettingsError([Fault(str(file), "", f"it has over {MAX_FILE_BYTES} bytes")])
        text = data.decode()
        return text, tomllib.loads(text)
    except OSError as error:
        raise SettingsError([Fault(str(file), "", f"cannot be read: {error.strerror}")]) from error
    except ValueError as error:  # a decoding error of either kind
        raise SettingsError([Fault(str(file), "", f"is no TOML: {error}")]) from error


def variables() -> frozenset[str]:
    """Return the names of all environment variables that set something."""
    nested = {f"LIMITS{NESTED}{name.upper()}" for name in BrokerLimits.model_fields}
    names = nested | {name.upper() for name in BrokerSettings.model_fields}
    return frozenset(ENV_PREFIX + name for name in names)


def _unknown_variables() -> list[Fault]:
    known = variables()
    unknown = sorted(
        name
        for name in os.environ
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known
    )
    return [Fault("environment", name, "is no setting" + _closest(name, known)) for name in unknown]


def _wrong_in(error: ValidationError) -> list[_Wrong]:
    return [
        _Wrong([str(part) for part in one["loc"] if isinstance(part, str)], one["type"], one["msg"])
        for one in error.errors(include_url=False)
    ]


def _is_unknown_variable(wrong: _Wrong, given: _Given) -> bool:
    """Tell whether ``_unknown_variables`` has it already: no other source has this key."""
    elsewhere = _in_file(wrong.path, given) or wrong.path[0] in given.flags
    return wrong.is_unknown and not elsewhere


def _in_file(path: list[str], given: _Given) -> bool:
    found: object = given.table
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def _fault(wrong: _Wrong, given: _Given) -> Fault:
    path = wrong.path
    nested = path[:1] == ["limits"]
    model: type[BaseModel] = BrokerLimits if nested else BrokerSettings
    name = path[1] if nested and len(path) > 1 else "".join(path[:1])
    if wrong.is_unknown:
        text = "is no setting" + _closest(name, model.model_fields)
        return Fault(_line_of(given, path), name, text)
    if wrong.kind == "missing":
        text = f"is missing; give {_flag(name)}, {ENV_PREFIX}{name.upper()} or write it to the file"
        return Fault("", name, text)
    text = wrong.text.removeprefix(_PYDANTIC_SAYS)
    return Fault(_where(path, given), name, text[:1].lower() + text[1:])


def _where(path: list[str], given: _Given) -> str:
    """Return which source a faulty value comes from: the highest that has it."""
    if not path:
        return ""
    if path[0] in given.flags:
        return f"flag {_flag(path[0])}"
    variable = ENV_PREFIX + NESTED.join(path[:2]).upper()
    if variable in {name.upper() for name in os.environ}:
        return f"environment {variable}"
    if given.file is None:
        return ""
    return _line_of(given, path)


def _line_of(given: _Given, path: list[str]) -> str:
    """Return file and line of a key; the section where the line is not found as written."""
    section, key = (path[0], path[1]) if len(path) > 1 else ("", path[0])
    current = ""
    for number, line in enumerate(given.text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]\s]+)\s*\]", line):
            current = header[1].strip("\"'")
            if not section and current == key:
                return f"{given.file} line {number}"
        elif current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return f"{given.file} line {number}" + (f" in [{section}]" if section else "")
    return f"{given.file}" + (f" in [{section}]" if section else "")


def _flag(name: str) -> str:
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def _closest(name: str, known: "frozenset[str] | Mapping[str, object]") -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""
