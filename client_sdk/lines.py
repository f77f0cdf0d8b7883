"""Lines, read without a thread so that a waiting read ends with its task, and written at once."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

from client_sdk.printing import OutputFailedError
from client_sdk.wire.errors import MessageTooLongError

MAX_LINE_BYTES: Final = 1024 * 1024
"""Far more than any message takes; one that goes on for ever does not fill the memory."""

CHUNK_BYTES: Final = 64 * 1024


async def lines_of(descriptor: int) -> AsyncIterator[bytes]:
    """Yield each line without its newline; the last one may lack it.

    Args:
        descriptor: An open pipe, terminal, socket or file.

    Raises:
        MessageTooLongError: A line has over ``MAX_LINE_BYTES``; earlier ones were yielded.
    """
    rest = b""
    while data := await _read(descriptor):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > MAX_LINE_BYTES:
            raise MessageTooLongError(
                f"a line has over {MAX_LINE_BYTES} bytes; it was not queued, the lines before it "
                "were"
            )
    if rest:
        yield rest


def write_line(line: str, state: str) -> None:
    """Write a line to stdout; it is out when this returns.

    Args:
        line: What another program reads, as it stands.
        state: What is so now where nobody can read it, and what to do then.

    Raises:
        OutputFailedError: The disk is full, the reader is gone, or there is no stdout.
    """
    if sys.stdout is None:
        raise OutputFailedError(f"stdout is closed; {state}")
    left = memoryview(line.encode() + b"\n")
    try:
        while left:
            left = left[os.write(sys.stdout.fileno(), left) :]
    except OSError as error:
        raise OutputFailedError(f"cannot write to stdout: {error.strerror}; {state}") from error


async def _read(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(descriptor, readable.set)
    except PermissionError:  # a regular file never keeps its reader waiting
        return os.read(descriptor, CHUNK_BYTES)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, CHUNK_BYTES)
