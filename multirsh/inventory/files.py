"""Hosts files: reading them, and recognising their format. The only part of the package that reads files.

``FORMATS`` lists the formats. To add one, write its reader, a function of the text,
its source and the draft (see ``plain.py``), and give it a row.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from multirsh.errors import InventoryError, UsageError
from multirsh.inventory.document import read_document
from multirsh.inventory.draft import Draft
from multirsh.inventory.plain import read_plain
from multirsh.inventory.text import Fragment, Location

MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest hosts file that is read, in bytes: 100,000 hosts with settings of their own take about 6 MiB."""

MAX_INCLUDES: Final = 20
"""How deep lists may include each other."""

STDIN: Final = "<stdin>"

# YAML 1.1 section 5.1 forbids most of these; NEL and the line and paragraph separators end a line
# in YAML but not in an editor, and a byte order mark inside a text is left over from joining files.
_UNPRINTABLE: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ufeff\\ufffe\\uffff]")

_YAML_NAME: Final = re.compile(r".*\.ya?ml", re.IGNORECASE | re.DOTALL)
_FIRST_LINE: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*([^\n]*)")
_YAML_LINE: Final = re.compile(r"""---|%YAML|\{|["']?[A-Za-z_]+["']?[ \t]*:(?:[ \t]|$)""")


class Format(NamedTuple):
    """A format of hosts files.

    Attributes:
        name: What the format is called.
        matches: Whether a text, with its source, is in this format.
        read: Reads the text and its source into the draft; the last argument reads a file that it includes.
    """

    name: str
    matches: Callable[[str, str], bool]
    read: Callable[[str, str, Draft, Callable[[Fragment], None]], None]


def _is_yaml(text: str, source: str) -> bool:
    """Whether the file is called ``*.yaml`` or ``*.yml``, or starts with a line that names no host.

    Such lines are ``hosts:``, ``---`` and ``{``; blank lines and comments before them are skipped.
    """
    first = _FIRST_LINE.match(text)
    return bool(_YAML_NAME.fullmatch(source) or (first is not None and _YAML_LINE.match(first.group(1))))


FORMATS: Final = (
    Format("yaml", _is_yaml, lambda text, source, draft, _: read_document(text, source, draft)),
    Format("list", lambda _text, _source: True, read_plain),
)
"""Every format, the most particular first; the last one matches any text."""


def format_of(text: str, source: str) -> Format:
    """Recognise the format of a hosts file by its name and its first line.

    Args:
        text: The file's text, with LF after each line.
        source: The file's name.
    """
    return next(form for form in FORMATS if form.matches(text, source))


def decode(data: bytes, source: str) -> str:
    """Decode a hosts file as UTF-8.

    A byte order mark is dropped, and every line ending becomes LF, so that line numbers are those that an
    editor shows.

    Args:
        data: The file's content.
        source: The file's name, for errors.

    Raises:
        InventoryError: The bytes are not UTF-8, or hold NUL or another control character.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Location(source, 1).error("this is UTF-16, not UTF-8", hint="save it as UTF-8")
    data = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = _end_of(data[: error.start].decode(), source)
        raise place.error(
            f"byte 0x{data[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
        ) from error
    if found := _UNPRINTABLE.search(text):
        name = "NUL" if found.group() == "\0" else f"the character U+{ord(found.group()):04X}"
        raise _end_of(text[: found.start()], source).error(f"{name} cannot be in a hosts file")
    return text


def _end_of(before: str, source: str) -> Location:
    """Return the location right after the text ``before``."""
    return Location(source, before.count("\n") + 1, len(before) - before.rfind("\n"))


def read_files(*paths: str | os.PathLike[str], stdin: BinaryIO | None = None) -> Draft:
    """Read hosts files into one draft.

    Args:
        paths: The files, in order; ``-`` is ``stdin``.
        stdin: The stream that ``-`` reads, to its end.

    Raises:
        InventoryError: A file cannot be read, or its content is wrong.
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
    """Read the content of one hosts file into a draft.

    Args:
        data: The file's content.
        source: The file's name, for its format and for errors.
        draft: Receives the declarations.

    Raises:
        InventoryError: The content is wrong, or a file that it includes cannot be read.
    """
    draft.sources.append(source)
    _read(data, source, draft, {} if source == STDIN else {os.path.realpath(source): True})


def _read(data: bytes, source: str, draft: Draft, lists: dict[str, bool]) -> None:
    """Read one file, and the files that it includes.

    Args:
        data: See ``read_bytes``.
        source: See ``read_bytes``.
        draft: See ``read_bytes``.
        lists: The files read so far, by real path: whether each is still being read.
    """
    if len(data) > MAX_BYTES:
        raise InventoryError(f"it is larger than {MAX_BYTES // 2**20} MiB", source=source)
    text = decode(data, source)
    if not text.strip():
        raise InventoryError("it is empty", source=source)
    format_of(text, source).read(text, source, draft, lambda name: _include(name, source, draft, lists))


def _include(name: Fragment, source: str, draft: Draft, lists: dict[str, bool]) -> None:
    """Read an included list, once; a relative path starts at the folder of the list that includes it.

    Raises:
        InventoryError: The list cannot be read, or includes the list that includes it.
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
