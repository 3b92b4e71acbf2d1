"""The options of what runs on each host: its variables, its directory, its terminal, its standard input.

A user who pipes a file into multirsh means it for the commands. So bytes that wait on our standard input are
refused unless an option says what they are for: ``cat new.conf | multirsh ... 'cat > live.conf'`` would empty
``live.conf`` and report success. Looking at the input never takes a byte from it: what a loop such as
``while read host; do multirsh ...; done`` has not read yet stays there for the loop.
"""

from __future__ import annotations

import array
import fcntl
import os
import signal
import stat
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from multirsh.cli import values
from multirsh.cli.options.declare import option, together
from multirsh.cli.process import STDIN
from multirsh.cli.syntax import Setting
from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.commands.command import Command, Script
    from multirsh.engine.spool import Spool


_of_running = partial(option, section="Run")

CONTEXT = together(
    _of_running(
        "--env",
        "environment",
        type=values.assignment,
        multiple=True,
        metavar="K=V",
        configurable=False,
        help="Set a variable for the command, whatever the server accepts. Repeatable.",
    ),
    _of_running("--cwd", "directory", metavar="DIR", configurable=False, help="Run in DIR on the host."),
    _of_running(
        "--template",
        "is_template",
        is_flag=True,
        configurable=False,
        help="Fill in {host}, {user}, {index} and {var.NAME}, each quoted for the shell; {{ is a brace.",
    ),
)

TTY = _of_running(
    "--tty",
    is_flag=True,
    configurable=False,
    help="Give the command a terminal of 80x24; its stderr then comes with stdout.",
)

INPUT = together(
    _of_running(
        "-I",
        "--stdin",
        is_flag=True,
        configurable=False,
        help="Send standard input in full to every host.  [default: the commands see its end at once]",
    ),
    _of_running(
        "--stdin-file",
        configurable=False,
        metavar="FILE",
        help="Send FILE in full to every host: a file, a FIFO, <(...).",
    ),
    _of_running(
        "-n",
        "--no-stdin",
        is_flag=True,
        configurable=False,
        help="Leave standard input alone, and do not ask what waits there: for loops, as in ssh.",
    ),
    _of_running("--stdin-default", key="stdin", cls=Setting, type=click.Choice(["none"])),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """What the command is to find around it; the fields are the options."""

    environment: tuple[tuple[str, str], ...]
    directory: str | None
    is_template: bool

    def command(self, text: str = "", *, tty: bool = False, script: Script | None = None) -> Command:
        """The command of ``text``, or of a script, in this context.

        Raises:
            UsageError: It cannot be meant.
        """
        from multirsh.commands.command import Command  # noqa: PLC0415 - not needed for --help

        return Command(
            text,
            environment=dict(self.environment),
            directory=self.directory,
            is_template=self.is_template,
            tty=tty,
            script=script,
        )


STDIN_NAME: Final = "-"
"""Our own standard input."""

_OURS_TOO: Final = frozenset({STDIN_NAME, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
"""Names of files that are our own standard input."""

LATE_BYTES: Final = (
    "multirsh: bytes came on standard input during the run and were not sent to the hosts; "
    "-I sends it, -n says that it is not for them"
)
"""Printed once, at the end of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StdinOptions:
    """What the commands' standard input is; the fields are the options.

    Attributes:
        stdin: ``-I``.
        stdin_file: ``--stdin-file``, or ``None``.
        no_stdin: ``-n``.
        stdin_default: The setting ``stdin``: ``"none"`` is ``-n`` for good; or ``None``.
    """

    stdin: bool = False
    stdin_file: str | None = None
    no_stdin: bool = False
    stdin_default: str | None = None

    @property
    def name(self) -> str | None:
        """The file that is sent, ``-`` for our standard input; ``None`` where nothing is."""
        return STDIN_NAME if self.stdin else self.stdin_file

    def check(self, *, read_by_others: Sequence[str]) -> None:
        """Refuse options that contradict each other, and bytes of which no option says what becomes of them.

        Args:
            read_by_others: Options that read our standard input themselves: what is there is for them.

        Raises:
            UsageError: They do, or there are such bytes.
        """
        if self.stdin and self.stdin_file is not None:
            raise UsageError("-I and --stdin-file each give the commands their input", hint="use one of them")
        sends_ours = self.name is not None and is_our_stdin(self.name)
        if sends_ours and self.no_stdin:
            option = "-I" if self.stdin else f"--stdin-file {self.stdin_file}"
            raise UsageError(f"{option} sends standard input, and -n does not", hint="use one of them")
        if sends_ours and read_by_others:
            raise UsageError(
                f"standard input is read by {read_by_others[0]} and cannot be sent to the hosts, too",
                hint="name a file for one of them",
            )
        if self.must_be_asked(read_by_others) and has_waiting_bytes():
            raise UsageError(
                "bytes wait on standard input, and no option says what they are for",
                hint="-I sends them to every host, -n leaves them where they are",
            )

    def must_be_asked(self, read_by_others: Sequence[str]) -> bool:
        """Whether bytes on our standard input would be dropped without a word."""
        is_settled = self.no_stdin or self.stdin_default is not None or bool(read_by_others)
        return not is_settled and (self.name is None or not is_our_stdin(self.name))

    def open(self) -> Spool | None:
        """Open it; ``None`` where nothing is sent. A FIFO that is not open for writing yet is waited for.

        Raises:
            UsageError: It cannot be read.
        """
        if self.name is None:
            return None
        from multirsh.engine.spool import Spool  # noqa: PLC0415 - not needed for --help, which must be quick

        descriptor = STDIN if self.name == STDIN_NAME else _opened(self.name)
        if os.isatty(descriptor):
            # In the background a read would stop us; with the signal ignored it fails, and is repeated.
            signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        return Spool(descriptor)


def has_waiting_bytes() -> bool:
    """Whether our standard input is a pipe, a socket or a file that has something to read now.

    Nothing is read away, and this never waits. Terminals are not looked at, since what is typed ahead is for
    the next program, nor are devices such as /dev/null.
    """
    try:
        found = os.fstat(STDIN)
        if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
            count = array.array("i", [0])
            fcntl.ioctl(STDIN, termios.FIONREAD, count)  # pipe(7), unix(7), tcp(7)
            return count[0] > 0
        if stat.S_ISREG(found.st_mode):
            # Its size would not say: it is 0 for files of /proc, and a log that is open for writing alone has
            # one. pread(2) leaves the place as it is.
            return bool(os.pread(STDIN, 1, os.lseek(STDIN, 0, os.SEEK_CUR)))
    except OSError:  # open for writing alone, a socket that listens: there is nothing that could be read
        pass
    return False


def is_our_stdin(name: str) -> bool:
    """Whether a file's name means our standard input, as ``-`` and ``/dev/stdin`` do."""
    return name in _OURS_TOO


def _opened(name: str) -> int:
    hint = "give a file that can be read"
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"--stdin-file {name}: {error.strerror}", hint=hint) from None
    except ValueError:  # a NUL in the name
        raise UsageError(f"--stdin-file {name!r}: no file can have this name", hint=hint) from None
    if Path(name).is_dir():
        os.close(descriptor)
        raise UsageError(f"--stdin-file {name}: it is a folder", hint=hint)
    return descriptor
