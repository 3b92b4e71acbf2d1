"""Which of the two kinds of hosts file a text is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from multirsh.inventory.document import read_document
from multirsh.inventory.draft import Draft
from multirsh.inventory.plain import read_plain

_YAML_NAME: Final = re.compile(r".*\.ya?ml", re.IGNORECASE | re.DOTALL)
_FIRST_WORDS: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*([^\n]*)")
_YAML_LINE: Final = re.compile(r"""---|%YAML|\{|["']?[A-Za-z_]+["']?[ \t]*:(?:[ \t]|$)""")


def reader_of(text: str, source: str) -> Callable[[str, str, Draft], None]:
    """Tell YAML from a plain list.

    YAML is what has a name ending in ``.yaml`` or ``.yml``, or a first line, after blank ones and
    comments, that no host on a line could be: ``hosts:``, ``---``, ``{``.

    Args:
        text: The file's text.
        source: The file's name.

    Returns:
        The function that reads it into a draft.
    """
    first = _FIRST_WORDS.match(text)
    is_yaml = _YAML_NAME.fullmatch(source) or (first is not None and _YAML_LINE.match(first.group(1)))
    return read_document if is_yaml else read_plain
