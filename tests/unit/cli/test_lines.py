"""Lines of a pipe: what comes out is what went in, a carriage return included."""

import os
from pathlib import Path

import pytest

from client_sdk.lines import MAX_LINE_BYTES, lines_of
from client_sdk.wire.errors import MessageTooLongError


async def lines(*written: bytes) -> list[bytes]:
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as end:
            for piece in written:
                end.write(piece)
        return [line async for line in lines_of(reading)]
    finally:
        os.close(reading)


async def test_only_a_newline_ends_a_line_and_the_last_one_may_lack_it() -> None:
    assert await lines(b"unix\ndos\r\n\nin\rside\nlast") == [
        b"unix",
        b"dos\r",
        b"",
        b"in\rside",
        b"last",
    ]
    assert await lines(b"last\r") == [b"last\r"]
    assert await lines() == []


async def test_a_line_may_have_a_mebibyte_and_no_byte_more(tmp_path: Path) -> None:
    assert [len(line) for line in await of_file(tmp_path, MAX_LINE_BYTES)] == [5, MAX_LINE_BYTES]
    with pytest.raises(MessageTooLongError):
        await of_file(tmp_path, MAX_LINE_BYTES + 1)


async def of_file(folder: Path, length: int) -> list[bytes]:
    path = folder / "text"
    path.write_bytes(b"first\n" + bytes(length))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [line async for line in lines_of(descriptor)]
    finally:
        os.close(descriptor)
