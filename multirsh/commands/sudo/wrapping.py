"""The text that runs another by sudo, doas or su, and tells when it asks and when that begins. Pure."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple, assert_never

from multirsh.commands import portable
from multirsh.commands.context import LOGIN_SHELL, NOT_BEGUN, Job
from multirsh.commands.delivery import END, escaped_line
from multirsh.commands.sudo.options import Become, Sudo
from multirsh.sh_text import escaped, quoted, to_bytes
from multirsh.transports.base import Stdin

TELLTALES: Final = (b"printf multirsh-", b'eval "set --;$(printf')
"""Parts of our texts, by which a line is known that merely repeats them."""

LOGGED: Final = 1000
"""Characters of the user's command that logs are given, where they do not stand in the text anyway."""

_RS_PREFIX: Final = b"[sudo: "
"""What sudo-rs writes before the prompt that it is given (src/pam in sudo-rs); PAM's own follows."""

_PIECE: Final = 512
"""Bytes of input in one line of a terminal: as escapes no more than its 4,095 bytes hold (termios(3))."""


class Marks(NamedTuple):
    """What tells the conversation's words from all others; what has not seen them cannot write them.

    None of them stands in the text that is run. A shell that traces what it does, and a sudo that repeats
    what it does not allow, write no mark.

    Attributes:
        prompt: sudo's prompt.
        ready: Written on both streams when sudo has let us in, just before the command begins.
        here: Written on both streams just before sudo is started.
    """

    prompt: bytes
    ready: bytes
    here: bytes

    @property
    def prompts(self) -> tuple[bytes, bytes]:
        """The prompt as sudo writes it, and as sudo-rs does."""
        return self.prompt, _RS_PREFIX + self.prompt


def new_marks() -> Marks:
    """Marks for one attempt at one host."""
    names = ("asks", "ready", "here")
    return Marks(*(f"multirsh-{word}%{secrets.token_hex(16)}:".encode("ascii") for word in names))


def wrapped(job: Job, sudo: Sudo, marks: Marks, *, may_ask: bool, has_input: bool, tty: bool) -> str:
    """POSIX text that runs ``job`` as another user, by /bin/sh, with the standard streams as they are.

    sudo asks on stderr and reads on stdin (``-S``), byte by byte and no further than the line's end. doas and
    su ask and read on the terminal. Each takes the place of the shell that reads this text: its parent is the
    server, as a command's is.

    The first mark says that the login shell has run this text; the second one says that the command is about
    to begin. Both are written on both streams, since a start-up file may have joined or discarded one.

    Args:
        job: What to run.
        sudo: As which user, and by what.
        marks: Written as ``Marks`` says.
        may_ask: Whether sudo may ask for a password; else, where it would have to, it fails (``-n``).
        has_input: Whether input for the command comes as ``OnTerminal`` writes it; of programs that need a
            terminal only.
        tty: Whether the user wants the command itself to have the terminal.
    """
    asks, ready, here = (mark.decode("ascii").replace("%", "%%") for mark in marks)
    words = [quoted(job.told)]
    if job.script is None:
        run = LOGIN_SHELL.replace("%s", "")
    else:
        # On one line, as sudo's log and its complaints show it; the comment keeps line feeds at the end.
        words = [quoted(job.told[:LOGGED]), quoted(escaped(to_bytes(f"{job.script}\n#")).decode("ascii"))]
        run = 'eval "set --;$(printf %b "$2")"'
    if sudo.needs_tty and not tty:
        run = _decoding(run) if has_input else f"exec </dev/null;{run}"
    # sudoers' noexec lets the shell start no program: better said by our own status than by the shell.
    inner = f"case $LD_PRELOAD in *sudo_noexec*)exit {NOT_BEGUN};;esac;{_said(ready)};{run}"
    shell = " ".join(["/bin/sh -c", f"'{inner}'", "sh", *words])
    user = quoted(sudo.user)
    match sudo.by:
        case Become.SUDO:
            # In a prompt as in a format, "%%" is one "%" (sudo(8), -p; printf(1)). "%p" is the user whose
            # password it is, which rootpw and targetpw in sudoers change.
            how = f"-S -p '{asks}%p;'" if may_ask else "-n"
            program = f"exec sudo {how} -u {user} -- {shell}"
        case Become.DOAS:
            program = f"exec doas {'' if may_ask else '-n '}-u {user} -- {shell}"
        case Become.SU:
            # What it runs, the user's own login shell reads.
            program = f"exec su {user} -c {quoted(portable.line(f'exec {shell}'))}"
        case _:
            assert_never(sudo.by)
    return f"{_said(here)}\n{program}"


def announced(job: Job, marks: Marks) -> str:
    """POSIX text that runs ``job`` as it is, and tells before that it does."""
    return f"{_said(marks.ready.decode('ascii').replace('%', '%%'))}\n{job.text}"


def _said(mark: str) -> str:
    return f"printf {mark};printf {mark}>&2"


_BEGINNING: Final = b"\\:\n"
"""Before the first line; what a terminal holds before it is not the command's. The other user's login shell,
which su starts, may have a start-up file that writes what looks like a prompt, and reads no answer."""


def _decoding(run: str) -> str:
    """``run`` with the input that ``OnTerminal`` writes; no quotes, as it stands between some."""
    skip = r"while IFS= read -r l;do case $l in \\:)break;;esac;done;"
    return (
        skip + r'while IFS= read -r l;do case $l in \\.)exit;;esac;printf %b "$l"||exit;done|{ ' + run + ";}"
    )


class OnTerminal:
    """A ``Stdin`` (``transports.base``) whose bytes pass through a terminal, as lines of printable ones.

    It is read once, from its beginning to its end.
    """

    def __init__(self, stdin: Stdin) -> None:
        """Begin at the beginning of ``stdin``."""
        self._stdin = stdin
        self._offset = 0
        self._has_ended = False

    async def read(self, offset: int) -> bytes:  # noqa: ARG002 - in order
        """Some lines more; nothing once the end has been said.

        Raises:
            OSError: The input cannot be read.
        """
        if self._has_ended:
            return b""
        data = await self._stdin.read(self._offset)
        beginning = b"" if self._offset else _BEGINNING
        self._offset += len(data)
        self._has_ended = not data
        pieces = (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
        return beginning + (b"".join(map(escaped_line, pieces)) or END)

    async def size(self) -> int:
        """It is not known before it is read.

        Raises:
            OSError: Always.
        """
        raise OSError("its size is not known")

    def at(self, offset: int) -> bytes:
        """As ``size``.

        Raises:
            OSError: Always.
        """
        raise OSError(f"nothing is known of it at {offset}")
