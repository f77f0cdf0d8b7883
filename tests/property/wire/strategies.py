"""Records of every kind, drawn field by field from the annotations of the records themselves."""

import types
from enum import StrEnum
from typing import Annotated, Any, Final, NewType, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import AfterValidator
from pydantic.fields import FieldInfo

from tests.unit.wire.samples import RECORDS

LONGEST: Final = 300
"""Long fields add nothing here: their limits have tests of their own."""

_TEXT: Final = st.characters(exclude_categories=["Cs"])


def _constraint(metadata: list[Any], kind: type) -> Any:
    return next((item for item in metadata if isinstance(item, kind)), None)


def _pattern(metadata: list[Any]) -> str | None:
    return next((item.pattern for item in metadata if getattr(item, "pattern", None)), None)


def values(annotation: Any, metadata: list[Any] | None = None) -> st.SearchStrategy[Any]:
    """Return a strategy for one annotation, constraints of pydantic included."""
    constraints = [] if metadata is None else metadata
    if get_origin(annotation) is Annotated:
        inner, *rest = get_args(annotation)
        for item in rest:
            constraints = [
                *constraints,
                *(item.metadata if isinstance(item, FieldInfo) else [item]),
            ]
        return values(inner, constraints)
    if isinstance(annotation, NewType):
        return values(annotation.__supertype__, constraints)
    if get_origin(annotation) in {Union, types.UnionType}:
        return st.one_of([values(option, constraints) for option in get_args(annotation)])
    if get_origin(annotation) is tuple:
        return st.lists(
            values(get_args(annotation)[0]),
            min_size=getattr(_constraint(constraints, MinLen), "min_length", 0),
            max_size=min(3, getattr(_constraint(constraints, MaxLen), "max_length", 3)),
        ).map(tuple)
    return _scalar(annotation, constraints)


def _scalar(kind: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    shortest = getattr(_constraint(metadata, MinLen), "min_length", 0)
    longest = getattr(_constraint(metadata, MaxLen), "max_length", LONGEST)
    longest = max(shortest, min(longest, LONGEST))
    if kind is type(None):
        return st.none()
    if hasattr(kind, "_fields"):
        return records(kind)
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(_constraint(metadata, Ge).ge, _constraint(metadata, Le).le)
    if kind is bytes and _constraint(metadata, AfterValidator) is not None:
        # A check of ours beside the bounds: such a field has one of two lengths, nothing between.
        return st.sampled_from([shortest, longest]).flatmap(
            lambda size: st.binary(min_size=size, max_size=size)
        )
    if kind is bytes:
        return st.binary(min_size=shortest, max_size=longest)
    if issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    pattern = _pattern(metadata)
    if pattern is not None:
        return st.from_regex(pattern.removesuffix("$") + r"\Z", fullmatch=True)
    return st.text(_TEXT, min_size=shortest, max_size=longest)


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for one NamedTuple class."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, *(values(hints[field]) for field in kind._fields))


def any_record() -> st.SearchStrategy[tuple[str, Any]]:
    """Return a strategy for (kind, record)."""
    return st.one_of(
        [st.tuples(st.just(name), records(type(sample))) for name, (_, sample) in RECORDS.items()]
    )
