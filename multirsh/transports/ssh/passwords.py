"""Passwords: read once, used for all hosts, shown nowhere.

A password is held in a ``Password`` from the moment it is read. It goes into
no argument list, environment, log, error or ``repr``; ``reveal`` is called
where it is sent.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

from multirsh.errors import CredentialError

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
    if len(text) > LONGEST_BYTES or b"\0" in text:
        raise CredentialError(f"the first line of {named} is no password")
    try:
        return Password(text.decode())
    except UnicodeDecodeError:
        # "from None": the cause would carry the password.
        raise CredentialError(f"the first line of {named} is not UTF-8") from None
