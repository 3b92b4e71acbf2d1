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
        help="Set an environment variable for the command, even if the server refuses it. Repeatable.",
    ),
    _of_running(
        "--cwd", "directory", metavar="DIR", configurable=False, help="Run the command in DIR on the host."
    ),
    _of_running(
        "--template",
        "is_template",
        is_flag=True,
        configurable=False,
        help="Replace {host}, {user}, {index} and {var.NAME} in the command, each quoted for the shell; {{"
        " is a literal brace.",
    ),
)

TTY = _of_running(
    "--tty",
    is_flag=True,
    configurable=False,
    help="Give the command a terminal of 80x24; its stderr is then part of stdout.",
)

INPUT = together(
    _of_running(
        "-I",
        "--stdin",
        is_flag=True,
        configurable=False,
        help="Send all of standard input to every host.  [default: the command's input is empty]",
    ),
    _of_running(
        "--stdin-file",
        configurable=False,
        metavar="FILE",
        help="Send all of FILE to every host: a file, a FIFO, or <(...).",
    ),
    _of_running(
        "-n",
        "--no-stdin",
        is_flag=True,
        configurable=False,
        help="Leave standard input alone, and do not check it for waiting bytes; for loops, as in ssh.",
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
        """Return the command of ``text``, or of a script, with these options.

        Raises:
            UsageError: Options exclude each other, or a value is invalid.
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
"""The name of our standard input as a file."""

_OURS_TOO: Final = frozenset({STDIN_NAME, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
"""Names of files that are our standard input."""

LATE_BYTES: Final = (
    "multirsh: data arrived on standard input during the run and was not sent to the hosts; "
    "use -I to send it, or -n to ignore it"
)
"""Printed once, at the end of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StdinOptions:
    """The standard input of the commands; the fields are the options.

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
        """The file that is sent, ``-`` for our standard input; ``None`` for none."""
        return STDIN_NAME if self.stdin else self.stdin_file

    def check(self, *, read_by_others: Sequence[str]) -> None:
        """Check that the options agree, and that no bytes are waiting that no option accounts for.

        Args:
            read_by_others: Other options that read our standard input: the bytes there are for them.

        Raises:
            UsageError: Options exclude each other, or such bytes are waiting.
        """
        if self.stdin and self.stdin_file is not None:
            raise UsageError("-I and --stdin-file exclude each other", hint="use one of them")
        sends_ours = self.name is not None and is_our_stdin(self.name)
        if sends_ours and self.no_stdin:
            option = "-I" if self.stdin else f"--stdin-file {self.stdin_file}"
            raise UsageError(f"{option} and -n exclude each other", hint="use one of them")
        if sends_ours and read_by_others:
            raise UsageError(
                f"standard input is read by {read_by_others[0]} and cannot be sent to the hosts, too",
                hint="name a file for one of them",
            )
        if self.must_be_asked(read_by_others) and has_waiting_bytes():
            raise UsageError(
                "standard input has data, and no option says what it is for",
                hint="use -I to send it to every host, or -n to ignore it",
            )

    def must_be_asked(self, read_by_others: Sequence[str]) -> bool:
        """Whether bytes on our standard input would be silently dropped."""
        is_settled = self.no_stdin or self.stdin_default is not None or bool(read_by_others)
        return not is_settled and (self.name is None or not is_our_stdin(self.name))

    def open(self) -> Spool | None:
        """Open the input; ``None`` for no input. Blocks on a FIFO until it is opened for writing.

        Raises:
            UsageError: The input cannot be read.
        """
        if self.name is None:
            return None
        from multirsh.engine.spool import Spool  # noqa: PLC0415 - not needed for --help, which must be quick

        descriptor = STDIN if self.name == STDIN_NAME else _opened(self.name)
        if os.isatty(descriptor):
            # In the background, reading would stop us; with the signal ignored it fails, and is repeated.
            signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        return Spool(descriptor)


def has_waiting_bytes() -> bool:
    """Whether our standard input is a pipe, a socket or a file with data to read now.

    Nothing is consumed, and this never blocks. Terminals are ignored, since what is typed ahead is for the
    next program, and so are devices such as /dev/null.
    """
    try:
        found = os.fstat(STDIN)
        if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
            count = array.array("i", [0])
            fcntl.ioctl(STDIN, termios.FIONREAD, count)  # pipe(7), unix(7), tcp(7)
            return count[0] > 0
        if stat.S_ISREG(found.st_mode):
            # The size is no answer: it is 0 for files in /proc, and above 0 for a log that is open only for
            # writing. pread(2) does not move the offset.
            return bool(os.pread(STDIN, 1, os.lseek(STDIN, 0, os.SEEK_CUR)))
    except OSError:  # open only for writing, or a listening socket: nothing can be read
        pass
    return False


def is_our_stdin(name: str) -> bool:
    """Whether a file name stands for our standard input, as ``-`` and ``/dev/stdin`` do."""
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
        raise UsageError(f"--stdin-file {name}: it is a directory", hint=hint)
    return descriptor
