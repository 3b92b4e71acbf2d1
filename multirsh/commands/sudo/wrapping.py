"""POSIX text that runs a job by sudo, doas or su, and the marks that show its progress. Pure."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple, assert_never

from multirsh.commands.remote_shell import (
    LOGIN_SHELL,
    NOT_BEGUN,
    SCRIPT_END,
    Job,
    escaped_line,
    portable_line,
)
from multirsh.commands.sudo.options import Become, Sudo
from multirsh.sh_text import escaped, quoted, to_bytes
from multirsh.transports.base import Stdin

ECHO_SIGNS: Final = (b"printf multirsh-", b'eval "set --;$(printf')
"""Parts of our texts that identify a line which merely repeats them."""

LOGGED_CHARACTERS: Final = 1000
"""Characters of the user's command that are passed for logs, if the command is not part of the text
anyway."""

_RS_PREFIX: Final = b"[sudo: "
"""What sudo-rs writes before the prompt that it was given (src/pam in sudo-rs); PAM's own prompt follows."""

_PIECE_BYTES: Final = 512
"""Bytes of input in one line of a terminal: escaped, they fit into its 4,095 bytes (termios(3))."""


class Marks(NamedTuple):
    """Random words that distinguish the conversation from all other output.

    They cannot be written by anything that has not seen them. None of them stands in the text that is run, so
    a shell that traces, or a sudo that repeats what it does not allow, writes no mark.

    Attributes:
        prompt: sudo's prompt.
        ready: Written on both streams when sudo has let us in, just before the command begins.
        started: Written on both streams just before sudo is started.
    """

    prompt: bytes
    ready: bytes
    started: bytes

    @property
    def prompts(self) -> tuple[bytes, bytes]:
        """The prompt as sudo writes it, and as sudo-rs does."""
        return self.prompt, _RS_PREFIX + self.prompt


def new_marks() -> Marks:
    """Make the marks for one attempt at one host."""
    names = ("asks", "ready", "here")
    return Marks(*(f"multirsh-{word}%{secrets.token_hex(16)}:".encode("ascii") for word in names))


def wrapped(job: Job, sudo: Sudo, marks: Marks, *, may_ask: bool, has_input: bool, tty: bool) -> str:
    """Return POSIX text that runs ``job`` as another user, by /bin/sh, with the standard streams unchanged.

    sudo asks on stderr and reads stdin (``-S``) byte by byte, no further than the end of the line. doas and
    su ask and read on the terminal. Each of them replaces the shell that reads this text, so its parent is
    the server, as a command's is.

    The first mark shows that the login shell has run this text, the second one that the command is about to
    begin. Both are written on both streams, since a start-up file may have merged or discarded one.

    Args:
        job: What to run.
        sudo: The user, and the program that switches to it.
        marks: The marks to write.
        may_ask: Whether sudo may ask for a password; if not, it fails when it would have to (``-n``).
        has_input: For programs that need a terminal: whether input for the command arrives as
            ``TerminalStdin`` encodes it.
        tty: Whether the user wants the command itself to have the terminal.
    """
    prompt, ready, started = (mark.decode("ascii").replace("%", "%%") for mark in marks)
    words = [quoted(job.title)]
    if job.script is None:
        run = LOGIN_SHELL.replace("%s", "")
    else:
        # On one line, since sudo logs and prints it; the comment protects trailing line feeds.
        words = [
            quoted(job.title[:LOGGED_CHARACTERS]),
            quoted(escaped(to_bytes(f"{job.script}\n#")).decode("ascii")),
        ]
        run = 'eval "set --;$(printf %b "$2")"'
    if sudo.needs_tty and not tty:
        run = _decoding(run) if has_input else f"exec </dev/null;{run}"
    # With noexec in sudoers the shell can start no program. Our own status says so better than the shell
    # would.
    inner = f"case $LD_PRELOAD in *sudo_noexec*)exit {NOT_BEGUN};;esac;{_print(ready)};{run}"
    shell = " ".join(["/bin/sh -c", f"'{inner}'", "sh", *words])
    user = quoted(sudo.user)
    match sudo.by:
        case Become.SUDO:
            # In a prompt as in a format, "%%" is one "%" (sudo(8), -p; printf(1)). "%p" is the user whose
            # password sudo wants, which rootpw and targetpw in sudoers change.
            how = f"-S -p '{prompt}%p;'" if may_ask else "-n"
            program = f"exec sudo {how} -u {user} -- {shell}"
        case Become.DOAS:
            program = f"exec doas {'' if may_ask else '-n '}-u {user} -- {shell}"
        case Become.SU:
            # su passes this to the other user's own login shell.
            program = f"exec su {user} -c {quoted(portable_line(f'exec {shell}'))}"
        case _:
            assert_never(sudo.by)
    return f"{_print(started)}\n{program}"


def announced(job: Job, marks: Marks) -> str:
    """Return POSIX text that runs ``job`` as it is, after writing the mark that it begins."""
    return f"{_print(marks.ready.decode('ascii').replace('%', '%%'))}\n{job.text}"


def _print(mark: str) -> str:
    return f"printf {mark};printf {mark}>&2"


_INPUT_START: Final = b"\\:\n"
"""The line before the input. Anything that the terminal holds before it is not the command's: the start-up
file of the other user's login shell, which su starts, may write what looks like a prompt and read no
answer."""


def _decoding(run: str) -> str:
    """``run`` with its input decoded from what ``TerminalStdin`` writes. It must contain no quotes."""
    skip = r"while IFS= read -r l;do case $l in \\:)break;;esac;done;"
    return (
        skip + r'while IFS= read -r l;do case $l in \\.)exit;;esac;printf %b "$l"||exit;done|{ ' + run + ";}"
    )


class TerminalStdin:
    """A ``Stdin`` (``transports.base``) that passes through a terminal, as lines of printable characters.

    It is read once, from beginning to end.
    """

    def __init__(self, stdin: Stdin) -> None:
        """Encode ``stdin``, from its beginning."""
        self._stdin = stdin
        self._offset = 0
        self._has_ended = False

    async def read(self, offset: int) -> bytes:  # noqa: ARG002 - always in order
        """Return some more lines; nothing after the end was sent.

        Raises:
            OSError: The input cannot be read.
        """
        if self._has_ended:
            return b""
        data = await self._stdin.read(self._offset)
        start = b"" if self._offset else _INPUT_START
        self._offset += len(data)
        self._has_ended = not data
        pieces = (data[begin : begin + _PIECE_BYTES] for begin in range(0, len(data), _PIECE_BYTES))
        return start + (b"".join(map(escaped_line, pieces)) or SCRIPT_END)

    async def size(self) -> int:
        """Not known before everything is read.

        Raises:
            OSError: Always.
        """
        raise OSError("its size is not known")

    def at(self, offset: int) -> bytes:
        """Not possible, like ``size``.

        Raises:
            OSError: Always.
        """
        raise OSError(f"its content at {offset} is not known")
