"""Bytes of a hosts file into text, or an error that names the line.

A byte order mark is dropped and every way to end a line becomes LF, so
that line numbers are those an editor shows.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from multirsh.inventory.place import Place

# YAML 1.1 section 5.1 forbids most of these; NEL and the line and paragraph separators end a line
# in YAML but not in an editor, and a byte order mark inside a text is a leftover of joining files.
_UNPRINTABLE: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ufeff\\ufffe\\uffff]")


def decode(data: bytes, source: str) -> str:
    """Read bytes as UTF-8.

    Args:
        data: The file's content.
        source: The file's name, for errors.

    Returns:
        The text, with LF after each line.

    Raises:
        InventoryError: The bytes are not UTF-8, or hold NUL or another control character.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Place(source, 1).error("this is UTF-16, not UTF-8", hint="save it as UTF-8")
    data = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = _place(data[: error.start].decode(), source)
        raise place.error(
            f"byte 0x{data[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
        ) from error
    if found := _UNPRINTABLE.search(text):
        name = "NUL" if found.group() == "\0" else f"the character U+{ord(found.group()):04X}"
        raise _place(text[: found.start()], source).error(f"{name} cannot be in a hosts file")
    return text


def _place(before: str, source: str) -> Place:
    """The place that comes right after the text ``before``."""
    return Place(source, before.count("\n") + 1, len(before) - before.rfind("\n"))
