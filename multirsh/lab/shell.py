"""The shell and environment of a lab's commands, and their results in SSH's terms. Pure.

The model is OpenSSH's sshd: the user's shell with ``-c``, the user's home
directory, and a small environment without the lab's terminal and agent.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Final

from multirsh.model import Exited, Outcome, Signalled

FALLBACK_SHELL: Final = "/bin/sh"

HOST_VARIABLE: Final = "MULTIRSH_LAB_HOST"
"""The variable with the name of the lab's host, since all hosts are the same machine."""

KEPT: Final = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")
"""The variables of the lab's environment that commands inherit, besides ``LC_*``."""

RFC_SIGNALS: Final = frozenset(
    {"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}
)
"""The signal names that SSH defines (RFC 4254, section 6.10)."""

FOREIGN_SIGNAL: Final = "lab.invalid"
"""The domain for signals that SSH does not define; RFC 4254 wants ``name@domain`` for those."""


def choose_shell(environ: Mapping[str, str], *, is_executable: Callable[[str], bool]) -> str:
    """Return the shell that runs commands: ``$SHELL`` if that is a program, otherwise ``/bin/sh``.

    Args:
        environ: The lab's environment.
        is_executable: Returns whether a path is a program that may be run.
    """
    shell = environ.get("SHELL", "")
    return shell if shell.startswith("/") and is_executable(shell) else FALLBACK_SHELL


def command_words(shell: str, command: str | None) -> tuple[str, ...]:
    """Return the words to execute for a command, or for a shell that reads commands from standard input.

    Args:
        shell: The path of the shell.
        command: The command that the client sent; ``None`` for a shell.
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
        account: The name of the user that the command runs as.
        shell: The shell that will run.
        requested: The variables that the client sent (``SendEnv``); only ``LANG`` and ``LC_*`` are accepted,
            as by Debian's sshd.
        connection: The client's address and port and the server's, as in sshd's ``SSH_CONNECTION``.
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
    """Return the outcome of a child that has ended.

    Args:
        returncode: The exit status or the negated number of a signal, as in ``subprocess``.
    """
    if returncode >= 0:
        return Exited(returncode)
    return Signalled(ssh_signal_name(-returncode))


def ssh_signal_name(number: int) -> str:
    """Return SSH's name of a signal: ``TERM``, or ``BUS@lab.invalid`` for one that the RFC does not name."""
    try:
        name = signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # real-time signals have numbers only
        name = str(number)
    return name if name in RFC_SIGNALS else f"{name}@{FOREIGN_SIGNAL}"


def signal_by_name(name: str) -> signal.Signals | None:
    """Return the signal of a name that a client sent; ``None`` if SSH does not define it."""
    return signal.Signals[f"SIG{name}"] if name in RFC_SIGNALS else None
