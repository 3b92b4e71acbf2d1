"""The one part of the room that reads files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO, Final

from multirsh.errors import InventoryError, UsageError
from multirsh.inventory.draft import Draft
from multirsh.inventory.formats import reader_of
from multirsh.inventory.text import decode

MAX_BYTES: Final = 64 * 1024 * 1024
"""Size of a hosts file at the most: 100,000 hosts with settings of their own take about 6 MiB."""

STDIN: Final = "<stdin>"


def read_files(*paths: str | os.PathLike[str], stdin: BinaryIO | None = None) -> Draft:
    """Read hosts files into one draft.

    Args:
        paths: YAML files or plain lists, in order; ``-`` is ``stdin``.
        stdin: What ``-`` reads, to its end.

    Returns:
        What they say, not yet worked out.

    Raises:
        InventoryError: A file cannot be read, or what it says cannot be meant.
        UsageError: ``-`` is given twice, or without ``stdin``.
    """
    names = [os.fspath(path) for path in paths]
    if names.count("-") > 1:
        raise UsageError("standard input can be read only once", hint="give -f - once")
    draft = Draft()
    for name in names:
        data = _read_stdin(stdin) if name == "-" else _read_file(name)
        read_bytes(data, STDIN if name == "-" else name, draft)
    return draft


def read_bytes(data: bytes, source: str, draft: Draft) -> None:
    """Read what stands in one file.

    Args:
        data: The file's content.
        source: The file's name: says whether it is YAML, and where errors are.
        draft: Gets what it says.

    Raises:
        InventoryError: It cannot be read, or what it says cannot be meant.
    """
    if len(data) > MAX_BYTES:
        raise InventoryError(f"it is larger than {MAX_BYTES // 2**20} MiB", source=source)
    text = decode(data, source)
    if not text.strip():
        raise InventoryError("it is empty", source=source)
    draft.sources.append(source)
    reader_of(text, source)(text, source, draft)


def _read_stdin(stdin: BinaryIO | None) -> bytes:
    if stdin is None:
        raise UsageError("-f - needs a standard input to read")
    return stdin.read(MAX_BYTES + 1)


def _read_file(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(name, error) from error
    except ValueError as error:  # a NUL in the name
        raise InventoryError("no file can have this name", source=repr(name)) from error


def _unreadable(name: str, error: OSError) -> InventoryError:
    if error.errno == errno.ENOENT and name.isdecimal():
        return InventoryError(
            "there is no such file", source=name, hint=f"-f names a hosts file; for the fanout use -j {name}"
        )
    if error.errno == errno.ENOENT:
        return InventoryError("there is no such file", source=name)
    if error.errno == errno.EISDIR:
        return InventoryError("this is a directory, not a hosts file", source=name)
    return InventoryError(f"it cannot be read: {error.strerror}", source=name)
