"""What a lab host's shell is given, and how a command's ending is worded for SSH.

Pure: the caller passes the environment in and asks the file system itself.
The model is OpenSSH's sshd: the user's shell with ``-c``, the user's home,
and a small environment that holds nothing of the lab's own terminal or agent.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Final

from multirsh.model import Exited, Outcome, Signalled

FALLBACK_SHELL: Final = "/bin/sh"

HOST_VARIABLE: Final = "MULTIRSH_LAB_HOST"
"""Tells a command on which of the lab's hosts it runs; all else is the same machine."""

KEPT: Final = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")
"""Variables of the lab's own environment that its hosts have too, beside ``LC_*``."""

RFC_SIGNALS: Final = frozenset(
    {"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}
)
"""The signal names that SSH defines (RFC 4254, section 6.10)."""

FOREIGN_SIGNAL: Final = "lab.invalid"
"""The domain for signals that SSH does not define; RFC 4254 wants ``name@domain`` for those."""


def choose_shell(environ: Mapping[str, str], *, is_executable: Callable[[str], bool]) -> str:
    """Pick the shell that runs commands: ``$SHELL`` where that is a program, else ``/bin/sh``.

    Args:
        environ: The lab's environment.
        is_executable: Whether a path is a program that may be run.
    """
    shell = environ.get("SHELL", "")
    return shell if shell.startswith("/") and is_executable(shell) else FALLBACK_SHELL


def command_words(shell: str, command: str | None) -> tuple[str, ...]:
    """The words to execute for a command, or for a shell that reads its commands from standard input.

    Args:
        shell: Path of the shell.
        command: As the client sent it; ``None`` where it asked for a shell.
    """
    return (shell,) if command is None else (shell, "-c", command)


def command_environment(
    environ: Mapping[str, str],
    *,
    host: str,
    account: str,
    shell: str,
    requested: Mapping[str, str],
    connection: str,
) -> dict[str, str]:
    """Make the environment of a command.

    Args:
        environ: The lab's environment.
        host: The lab host's name.
        account: Name of the user as whom the command runs.
        shell: The shell that will run.
        requested: What the client asked to set (``SendEnv``); only ``LANG`` and ``LC_*`` are taken, which
            is what Debian's sshd accepts.
        connection: Client's address and port, server's address and port, as in sshd's ``SSH_CONNECTION``.
    """
    made = {name: value for name, value in environ.items() if name in KEPT or name.startswith("LC_")}
    made |= {name: value for name, value in requested.items() if name == "LANG" or name.startswith("LC_")}
    return made | {
        "USER": account,
        "LOGNAME": account,
        "SHELL": shell,
        "SSH_CONNECTION": connection,
        HOST_VARIABLE: host,
    }


def outcome_of(returncode: int) -> Outcome:
    """Read what ``subprocess`` says of a child that has ended.

    Args:
        returncode: Exit status, or the signal's number negated.
    """
    if returncode >= 0:
        return Exited(returncode)
    return Signalled(ssh_signal_name(-returncode))


def ssh_signal_name(number: int) -> str:
    """Name a signal as SSH does: ``TERM``, or ``BUS@lab.invalid`` for one that the RFC has no name for."""
    try:
        name = signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # real-time signals have numbers only
        name = str(number)
    return name if name in RFC_SIGNALS else f"{name}@{FOREIGN_SIGNAL}"


def signal_by_name(name: str) -> signal.Signals | None:
    """Find the signal that a client names; ``None`` for what SSH does not define."""
    return signal.Signals[f"SIG{name}"] if name in RFC_SIGNALS else None
