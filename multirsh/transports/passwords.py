"""Passwords: read once, used for all hosts, and never shown.

A password is held in a ``Password`` from the moment it is read. It appears in
no argument list, environment, log, error or ``repr``; only the code that sends
it calls ``reveal``.
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
"""Prompts the user for a secret with the given text, without echo. Blocks."""

STDIN: Final = "-"
LONGEST_BYTES: Final = 64 * 1024
"""The longest first line that is accepted as a password, in bytes."""


class Password:
    """A secret that does not show itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Hold the secret ``value``."""
        self._value = value

    def reveal(self) -> str:
        """Return the secret, to be sent at once."""
        return self._value

    def __repr__(self) -> str:
        return "Password(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not pickled")


class _Kept:
    """The password that was read, for later calls."""

    __slots__ = ("lock", "password")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.password: Password | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSource:
    """The source of a password; at most one of its attributes may be set.

    The password is read once. Where the same object is used twice, such as for the login and for sudo, both
    get the same password after one prompt.

    Attributes:
        ask: Whether to prompt the user once, at the start (``--ask-pass``, ``-K``).
        file: A file whose first line is the password (``--password-file``).
        command: A command whose first line of output is the password (``--password-command``).
        call: A function that returns the password. It is called once, in a thread; its exceptions propagate.
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
        """Return the password, reading it on the first call. Blocks.

        Args:
            ask: Prompts the user for a secret; ``None`` without a terminal.
            prompt: The text of the prompt.

        Returns:
            The password; ``None`` if there is no source.

        Raises:
            CredentialError: The password cannot be read.
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
    """Prompt the user for a password. Blocks.

    Raises:
        CredentialError: There is no terminal for the prompt.
    """
    if ask is None:
        raise CredentialError(
            "there is no terminal to ask for the password on",
            hint="use --password-file or --password-command, or run at a terminal",
        )
    return Password(ask(prompt))


def read_password_file(path: str) -> Password:
    """Read a password from the first line of a file. Blocks.

    Args:
        path: A file that no other user can read; a pipe, such as ``/dev/fd/3``; or ``-`` for standard input,
            of which only one line is consumed.

    Raises:
        CredentialError: The file cannot be read, other users can read it, or its first line is no password.
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
    """Read a password from the first line that a command prints. Blocks.

    Args:
        command: A command for ``/bin/sh -c``. Its standard input is empty; its standard error is ours.

    Raises:
        CredentialError: The command cannot be run or fails, or its first line is no password. The error never
            contains the command's output.
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
    """Read one line byte by byte, so that what follows is left for other readers of the descriptor."""
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
