"""The one part of the room that reads files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO, Final

from multirsh.errors import InventoryError, UsageError
from multirsh.inventory.draft import Draft
from multirsh.inventory.formats import reader_of
from multirsh.inventory.place import Fragment
from multirsh.inventory.plain import read_plain
from multirsh.inventory.text import decode

MAX_BYTES: Final = 64 * 1024 * 1024
"""Size of a hosts file at the most: 100,000 hosts with settings of their own take about 6 MiB."""

MAX_INCLUDES: Final = 20
"""Lists that are included in each other."""

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
    draft.sources.append(source)
    _read(data, source, draft, {} if source == STDIN else {os.path.realpath(source): True})


def _read(data: bytes, source: str, draft: Draft, lists: dict[str, bool]) -> None:
    """Read one file, and what it includes.

    Args:
        data: As of ``read_bytes``.
        source: The same.
        draft: The same.
        lists: By their real paths, the files that have been begun: whether they are still being read.
    """
    if len(data) > MAX_BYTES:
        raise InventoryError(f"it is larger than {MAX_BYTES // 2**20} MiB", source=source)
    text = decode(data, source)
    if not text.strip():
        raise InventoryError("it is empty", source=source)
    reader = reader_of(text, source)
    if reader is read_plain:
        read_plain(text, source, draft, lambda name: _include(name, source, draft, lists))
    else:
        reader(text, source, draft)


def _include(name: Fragment, source: str, draft: Draft, lists: dict[str, bool]) -> None:
    """Read a list that another names, once; a relative path is from the folder of that other one.

    Raises:
        InventoryError: It cannot be read, or includes the list that names it.
    """
    path = os.path.join(os.path.dirname(source), name.text)  # noqa: PTH118, PTH120 - "./a" stays as it is written
    real = os.path.realpath(path)
    if lists.get(real):
        raise name.error(f"{path} includes itself", hint="leave one of the #include lines out")
    if sum(lists.values()) > MAX_INCLUDES:
        raise name.error(f"lists are included more than {MAX_INCLUDES} deep")
    if real in lists:
        return
    try:
        data = _read_file(path)
    except InventoryError as error:
        raise name.error(
            f"{path} cannot be included: {error.message}", hint="a blank after the # makes it a comment"
        ) from error
    lists[real] = True
    _read(data, path, draft, lists)
    lists[real] = False


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
