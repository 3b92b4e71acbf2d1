r"""A script of this machine's, to be run on others: its text, its interpreter, its arguments.

The interpreter is that of the ``#!`` line as the kernel reads it (``load_script`` in fs/binfmt_script.c): a
path, then one argument at the most, blanks within it included.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError

SH: Final = ("/bin/sh",)
"""What runs a script that says nothing of it, as every shell would have it."""

_HASHBANG: Final = re.compile(rb"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*)")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Script:
    """A script for many hosts. ``Script.read("fix.sh", "web", "a b")`` makes one of a file.

    Attributes:
        content: Its text.
        arguments: What it is given, each exactly as it is.
        interpreter: The words that its name and its arguments follow; empty for what its ``#!`` line says,
            and /bin/sh where there is none.
        name: What it is called in messages and events.

    Raises:
        UsageError: It is empty, no text, or has the line ends of Windows; an argument has a NUL byte.
    """

    content: bytes = field(repr=False)
    arguments: tuple[str, ...] = ()
    interpreter: tuple[str, ...] = ()
    name: str = "script"

    def __post_init__(self) -> None:
        check_fields(self)
        _check(self.content, self.name)
        if any("\0" in word for word in (*self.arguments, *self.interpreter)):
            raise UsageError(f"{self.name}: an argument cannot hold a NUL byte")

    @classmethod
    def read(cls, path: str | os.PathLike[str], *arguments: str, shell: str | None = None) -> Script:
        """Read a script.

        Args:
            path: Its file.
            arguments: What it is given.
            shell: What runs it, such as ``python3 -u``; quotes are read as sh reads them.

        Raises:
            UsageError: It cannot be read or used.
        """
        name = os.fspath(path)
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}", hint="give a script that can be read") from None
        return cls(content, arguments, words_of(shell), name)

    @property
    def told_as(self) -> str:
        """How it would be called."""
        return shlex.join((self.name, *self.arguments))

    def runner(self) -> tuple[str, ...]:
        """The words that the script's own name follows, such as ``("/usr/bin/env", "python3")``."""
        return self.interpreter or _said_by(self.content) or SH


def words_of(shell: str | None) -> tuple[str, ...]:
    """The words of ``--shell``; none if it is not given.

    Raises:
        UsageError: A quote without its other, or no word at all.
    """
    if shell is None:
        return ()
    try:
        words = tuple(shlex.split(shell))
    except ValueError as error:
        raise UsageError(f"--shell {shell!r}: {error}", hint="give words such as 'python3 -u'") from None
    if not words or not words[0]:
        raise UsageError("--shell has no program", hint="give one, such as 'python3 -u'")
    return words


def _said_by(content: bytes) -> tuple[str, ...] | None:
    """What the ``#!`` line says; ``None`` without one."""
    found = _HASHBANG.match(content)
    if found is None:
        return None
    program, argument = (os.fsdecode(part.strip(b" \t")) for part in found.groups())
    # The kernel looks nowhere but in the current folder.
    path = program if "/" in program else f"./{program}"
    return (path, argument) if argument else (path,)


def _check(content: bytes, name: str) -> None:
    """See to it that a shell could take ``content`` for a script.

    Raises:
        UsageError: As ``Script``.
    """
    if not content or content.isspace():
        raise UsageError(f"{name}: there is nothing in it", hint="give a script")
    if content.startswith(_BYTE_ORDER_MARK):
        raise UsageError(
            f"{name}, line 1: it begins with a byte order mark, which no interpreter expects",
            hint="save it as UTF-8 without one",
        )
    nul = content.find(b"\0")
    if nul >= 0:
        raise UsageError(
            f"{name}, line {_line_at(content, nul)}: a NUL byte, so it is no script",
            hint="programs and other files are copied with 'multirsh push'",
        )
    windows = content.find(b"\r\n")
    if windows < 0 and content.endswith(b"\r"):
        windows = len(content) - 1
    if windows >= 0:
        raise UsageError(
            f"{name}, line {_line_at(content, windows)}: the line ends as on Windows (CR LF)",
            hint=f"sed -i 's/\\r$//' {shlex.quote(name)}",
        )


def _line_at(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1
