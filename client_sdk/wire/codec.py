"""Bytes to records and back: size first, then strict canonical msgpack, then pydantic.

Records are NamedTuples; on the wire they are arrays of fixed length. There are no maps, no
extension types and no floats, and decoding accepts only the bytes that encoding would produce.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, Generic, NoReturn, TypeVar, get_type_hints

import msgpack
from pydantic import TypeAdapter, ValidationError

from client_sdk.wire.errors import MalformedError, TooLargeError

Record = TypeVar("Record", bound=tuple[object, ...])

Shortcut = Callable[[bytes], Record | None]
"""Returns what the strict way would return for some encodings, and None for all others."""

MAX_ARRAY_LENGTH: Final = 256
"""Items of one array, whatever its record says: bounds the objects built before validation."""


FIRST_BUFFER_BYTES: Final = 1024
"""What is set aside to encode one record; it grows. The library's own 256 KiB take longer."""


def encode(record: tuple[object, ...]) -> bytes:
    """Return the canonical msgpack encoding of a record or a plain tuple."""
    packed: bytes = msgpack.Packer(buf_size=FIRST_BUFFER_BYTES).pack(record)
    return packed


class Codec(Generic[Record]):
    """The one way from bytes to a record of one kind.

    Args:
        record: The NamedTuple class.
        max_bytes: The largest encoding that is parsed at all.
        shortcut: Knows the encodings that come most often; everything else goes the strict way,
            which alone decides what is refused and why.
    """

    def __init__(
        self, record: type[Record], max_bytes: int, shortcut: Shortcut[Record] | None = None
    ) -> None:
        """Prepare; the validator is built once, when something is first decoded."""
        self._name = record.__name__
        self._record = record
        self._max_bytes = max_bytes
        self._shortcut = shortcut

    @cached_property
    def _validate(self) -> Callable[..., tuple[object, ...]]:
        # Not in __init__: a command decodes few of the records that its imports define. The fields
        # are validated as a plain tuple: calling the record's class would take twice as long.
        fields = get_type_hints(self._record, include_extras=True).values()
        return TypeAdapter(tuple[tuple(fields)]).validator.validate_python  # type: ignore[misc, arg-type]

    def decode(self, data: bytes) -> Record:
        """Return the record that ``data`` is the canonical encoding of.

        Raises:
            TooLargeError: ``data`` is over ``max_bytes``; it was not parsed.
            MalformedError: ``data`` is anything but one canonical, valid record.
        """
        if self._shortcut is not None and (known := self._shortcut(data)) is not None:
            return known
        if len(data) > self._max_bytes:
            raise TooLargeError(f"{self._name}: {len(data)} bytes, at most {self._max_bytes}")
        try:
            value = msgpack.unpackb(
                data,
                use_list=False,
                strict_map_key=True,
                object_pairs_hook=_refuse_map,
                ext_hook=_refuse_extension,
                max_str_len=self._max_bytes,
                max_bin_len=self._max_bytes,
                max_array_len=MAX_ARRAY_LENGTH,
                max_map_len=0,
                max_ext_len=0,
            )
        except MalformedError:
            raise
        except (ValueError, msgpack.UnpackException) as error:
            message = f"{self._name}: not msgpack as the protocol uses it"
            raise MalformedError(message) from _without_input(error)
        try:
            fields = self._validate(value, strict=True)
        except ValidationError:
            raise MalformedError(f"{self._name}: not a valid record") from None
        if encode(fields) != data:
            raise MalformedError(f"{self._name}: not the canonical encoding")
        return tuple.__new__(self._record, fields)


def _refuse_map(_pairs: Any) -> NoReturn:  # noqa: ANN401 - msgpack hands over anything
    raise MalformedError("maps are not part of the protocol")


def _refuse_extension(_code: int, _data: bytes) -> NoReturn:
    raise MalformedError("extension types are not part of the protocol")


def _without_input(error: Exception) -> Exception | None:
    """Drop every cause that carries its input: only msgpack's limits are plain ValueErrors."""
    return error if type(error) is ValueError else None
