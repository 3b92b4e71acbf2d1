"""Passwords: read once, used for all hosts, shown nowhere.

A password is held in a ``Password`` from the moment it is read. It goes into
no argument list, environment, log, error or ``repr``; ``reveal`` is called
where it is sent.
"""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from multirsh.arguments import check_fields
from multirsh.errors import CredentialError, UsageError

Ask: TypeAlias = Callable[[str], str]
"""Asks a person for a secret with the given prompt, unechoed. Blocks."""

STDIN: Final = "-"
LONGEST_BYTES: Final = 64 * 1024
"""More than this before the end of the first line is no password."""


class Password:
    """A secret that does not show itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep ``value`` to itself."""
        self._value = value

    def reveal(self) -> str:
        """Give the secret, to be sent at once."""
        return self._value

    def __repr__(self) -> str:
        return "Password(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not pickled")


class _Kept:
    """What was read, for whoever asks again."""

    __slots__ = ("lock", "password")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.password: Password | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSource:
    """Where a password comes from; at most one of these.

    It is read once. The same object in two places, such as for the login and for sudo, gives both the one
    password, and nobody is asked twice.

    Attributes:
        ask: Ask a person once, at the start (``--ask-pass``, ``-K``).
        file: Its first line (``--password-file``).
        command: The first line it prints (``--password-command``).
        call: What it returns; called in a thread, once. What it raises is passed on.
    """

    ask: bool = False
    file: Path | None = None
    command: str | None = None
    call: Callable[[], str] | None = field(default=None, repr=False)
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if sum(bool(source) for source in (self.ask, self.file, self.command, self.call)) > 1:
            raise UsageError("there are several sources for one password", hint="give one of them")

    @property
    def is_none(self) -> bool:
        """Whether there is no password."""
        return not (self.ask or self.file or self.command or self.call)

    def read(self, ask: Ask | None, *, prompt: str = "Password: ") -> Password | None:
        """Give the password. Blocks.

        Args:
            ask: How to ask a person; ``None`` where nobody can be asked.
            prompt: What the person is asked.

        Returns:
            ``None`` where there is no source.

        Raises:
            CredentialError: It cannot be had.
        """
        with self._kept.lock:
            if self._kept.password is None:
                self._kept.password = self._read(ask, prompt)
            return self._kept.password

    def _read(self, ask: Ask | None, prompt: str) -> Password | None:
        if self.ask:
            return ask_password(ask, prompt)
        if self.file is not None:
            return read_password_file(str(self.file))
        if self.command is not None:
            return run_password_command(self.command)
        return None if self.call is None else _password(self.call().encode(), "what was returned")


def ask_password(ask: Ask | None, prompt: str = "Password: ") -> Password:
    """Ask a person. Blocks.

    Raises:
        CredentialError: Nobody can be asked.
    """
    if ask is None:
        raise CredentialError(
            "there is no terminal to ask for the password on",
            hint="use --password-file or --password-command, or run at a terminal",
        )
    return Password(ask(prompt))


def read_password_file(path: str) -> Password:
    """Take the first line of a file. Blocks.

    Args:
        path: A file of ours that only we can read; a pipe, such as ``/dev/fd/3``; or ``-``: of standard input
            one line is taken, and what follows it is left there.

    Raises:
        CredentialError: It cannot be read, others can read it, or its first line is no password.
    """
    named = "standard input" if path == STDIN else path
    try:
        descriptor = os.dup(0) if path == STDIN else os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise CredentialError(f"the password cannot be read from {named}: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if path != STDIN and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            raise CredentialError(
                f"the password file {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
                hint=f"chmod 600 {path}",
            )
        return _password(_first_line(descriptor), named)
    except OSError as error:
        raise CredentialError(f"the password cannot be read from {named}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def run_password_command(command: str) -> Password:
    """Take the first line that a command prints. Blocks.

    Args:
        command: For ``/bin/sh -c``. Its standard input is empty; what it writes to standard error is seen.

    Raises:
        CredentialError: It cannot be run, fails, or its first line is no password. Its output is not told.
    """
    try:
        with subprocess.Popen(  # noqa: S603 - the user's own command
            ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            output = b"" if process.stdout is None else process.stdout.read(LONGEST_BYTES + 1)
            if len(output) > LONGEST_BYTES:
                process.kill()
                raise CredentialError("the password command prints too much to be a password")
    except OSError as error:
        raise CredentialError(f"the password command cannot be run: {error.strerror}") from error
    if process.returncode < 0:
        raise CredentialError(f"the password command was ended by signal {-process.returncode}")
    if process.returncode > 0:
        raise CredentialError(f"the password command failed with exit status {process.returncode}")
    return _password(output.partition(b"\n")[0], "the password command")


def _first_line(descriptor: int) -> bytes:
    """Read one line and nothing of the next, byte by byte: the rest may be meant for somebody else."""
    line = bytearray()
    while len(line) <= LONGEST_BYTES and (byte := os.read(descriptor, 1)) not in {b"", b"\n"}:
        line += byte
    return bytes(line)


def _password(line: bytes, named: str) -> Password:
    text = line.removesuffix(b"\r")
    if not text:
        raise CredentialError(f"the first line of {named} is empty, and should be the password")
    if len(text) > LONGEST_BYTES or b"\0" in text or b"\n" in text:
        raise CredentialError(f"the first line of {named} is no password")
    try:
        return Password(text.decode())
    except UnicodeDecodeError:
        # "from None": the cause would carry the password.
        raise CredentialError(f"the first line of {named} is not UTF-8") from None
