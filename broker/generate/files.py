"""Files that their owner alone reads, replaced whole or not at all."""

import os
from pathlib import Path
from typing import Final

from broker.errors import DataDirectoryError

_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, open to its owner alone.

    Raises:
        DataDirectoryError: It cannot be made.
    """
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_private(path: Path, text: str) -> bool:
    """Write a file of mode 0600 durably in place of an earlier one; False where it has this text.

    Raises:
        DataDirectoryError: It cannot be written; the earlier file is left as it was.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        if path.exists() and path.read_text() == text:
            return False
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, _PRIVATE_FILE)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return True


def _unwritable(path: Path, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(
        f"{path}: {error.strerror}; it was left as it was: check its owner, mode and free space"
    )
