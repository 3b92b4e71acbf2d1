r"""What the user wants to run: a command or a script, with its environment, directory and terminal.

The interpreter of a script is that of its ``#!`` line, read as the kernel reads
it (``load_script`` in fs/binfmt_script.c): a path, then at most one argument,
which includes the blanks within it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError

NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})

RUN_VARIABLES: Final = ("MULTIRSH_HOST", "MULTIRSH_INDEX", "MULTIRSH_RUN")
"""Environment variables that tell a command its host, the host's position in the run, and the run's id."""

DEFAULT_INTERPRETER: Final = ("/bin/sh",)
"""What runs a script that has no ``#!`` line, as every shell does."""

_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""POSIX.1-2017, Base Definitions, 3.235."""

_HASHBANG: Final = re.compile(rb"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*)")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Script:
    """A local script to run on many hosts. ``Script.read("fix.sh", "web", "a b")`` reads one from a file.

    Attributes:
        content: The script's text.
        arguments: Its arguments, passed exactly as they are.
        interpreter: The program that runs it, and the program's own arguments. Empty for what the ``#!`` line
            says, or /bin/sh if there is none.
        name: What it is called in messages and events.

    Raises:
        UsageError: The script is empty, is not text, or has Windows line endings; or an argument contains a
            NUL byte.
    """

    content: bytes = field(repr=False)
    arguments: tuple[str, ...] = ()
    interpreter: tuple[str, ...] = ()
    name: str = "script"

    def __post_init__(self) -> None:
        check_fields(self)
        _check_content(self.content, self.name)
        if any("\0" in word for word in (*self.arguments, *self.interpreter)):
            raise UsageError(f"{self.name}: an argument cannot contain a NUL byte")

    @classmethod
    def read(cls, path: str | os.PathLike[str], *arguments: str, shell: str | None = None) -> Script:
        """Read a script from a file.

        Args:
            path: The file.
            arguments: The script's arguments.
            shell: The interpreter, such as ``python3 -u``; split into words as sh splits them.

        Raises:
            UsageError: The file cannot be read, or is not a script.
        """
        name = os.fspath(path)
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}", hint="give a script that can be read") from None
        return cls(content, arguments, parse_interpreter(shell), name)

    @property
    def title(self) -> str:
        """The script's name and arguments, as they would be typed."""
        return shlex.join((self.name, *self.arguments))

    def command(self) -> tuple[str, ...]:
        """The interpreter and its own arguments, such as ``("/usr/bin/env", "python3")``."""
        return self.interpreter or _hashbang(self.content) or DEFAULT_INTERPRETER


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run on many hosts.

    If only ``text`` is given, it is sent as it is, byte for byte.

    Attributes:
        text: The command for the login shell, as ssh would take it; empty for a script.
        environment: Environment variables to set, by name. They are not in the repr, as values may be secret.
        directory: The working directory; relative to where a login starts. ``None`` to stay there.
        tty: Whether the command gets a pseudo-terminal. Its stderr is then part of its stdout.
        is_template: Whether ``{host}`` and other placeholders are filled in for each host: in ``text``,
            quoted for the shell, and in a script's arguments.
        script: A local script to run in place of a text.

    Raises:
        UsageError: There is nothing to run, or the parts contradict each other.
    """

    text: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: NO_ENVIRONMENT, kw_only=True, repr=False)
    directory: str | None = field(default=None, kw_only=True)
    tty: bool = field(default=False, kw_only=True)
    is_template: bool = field(default=False, kw_only=True)
    script: Script | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.script is None and not self.text.strip():
            raise UsageError("there is no command to run", hint="give one, such as uptime")
        if self.script is not None and self.text:
            raise UsageError("a command is either a text or a script, not both", hint="give one of them")
        if "\0" in self.text:
            raise UsageError("a command cannot contain a NUL byte")
        if self.script is not None and self.tty:
            raise UsageError(
                "a script is sent by standard input, which a terminal would change",
                hint="leave out the terminal, or copy the script with 'multirsh push' and run it then",
            )
        if self.directory is not None and (not self.directory or "\0" in self.directory):
            raise UsageError(f"{self.directory!r} is not a directory name")
        for name, value in self.environment.items():
            _check_variable(name, value)

    @property
    def title(self) -> str:
        """How the command is shown to people, and recorded in events and in the journal."""
        return self.text if self.script is None else self.script.title


def parse_interpreter(text: str | None) -> tuple[str, ...]:
    """Split the value of ``--shell`` into words.

    Returns:
        The words; none if the option is not given.

    Raises:
        UsageError: A quote is not closed, or there is no word.
    """
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--shell {text!r}: {error}", hint="give words such as 'python3 -u'") from None
    if not words or not words[0]:
        raise UsageError("--shell names no program", hint="give one, such as 'python3 -u'")
    return words


def _hashbang(content: bytes) -> tuple[str, ...] | None:
    """The words of the ``#!`` line; ``None`` if there is none."""
    found = _HASHBANG.match(content)
    if found is None:
        return None
    program, argument = (os.fsdecode(part.strip(b" \t")) for part in found.groups())
    # The kernel does not search PATH: a bare name is a file in the current directory.
    path = program if "/" in program else f"./{program}"
    return (path, argument) if argument else (path,)


def _check_content(content: bytes, name: str) -> None:
    """Check that ``content`` is a script.

    Raises:
        UsageError: See ``Script``.
    """
    if not content or content.isspace():
        raise UsageError(f"{name}: the script is empty", hint="give a script")
    if content.startswith(_BYTE_ORDER_MARK):
        raise UsageError(
            f"{name}, line 1: the file begins with a byte order mark, which no interpreter expects",
            hint="save it as UTF-8 without one",
        )
    nul = content.find(b"\0")
    if nul >= 0:
        raise UsageError(
            f"{name}, line {_line_number(content, nul)}: a NUL byte, so this is not a script",
            hint="copy programs and other files with 'multirsh push'",
        )
    windows = content.find(b"\r\n")
    if windows < 0 and content.endswith(b"\r"):
        windows = len(content) - 1
    if windows >= 0:
        raise UsageError(
            f"{name}, line {_line_number(content, windows)}: the line ends as on Windows (CR LF)",
            hint=f"sed -i 's/\\r$//' {shlex.quote(name)}",
        )


def _line_number(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1


def _check_variable(name: str, value: str) -> None:
    if _VARIABLE_NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is not a variable name",
            hint="use letters, digits and _, and do not begin with a digit",
        )
    if name in RUN_VARIABLES:
        raise UsageError(f"{name} is set by multirsh", hint="choose another name")
    if "\0" in value:
        raise UsageError(f"the value of {name} cannot contain a NUL byte")
