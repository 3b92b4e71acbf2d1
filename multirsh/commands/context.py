"""What a command finds around it: its directory, its environment, and which host of which run it is on.

POSIX text that sets these and then becomes the user's login shell with the
user's command, as sshd would start it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from multirsh.commands.command import OURS
from multirsh.model import Assignment
from multirsh.sh_text import quoted

NOT_BEGUN: Final = 125
"""The exit status where something of ours failed on the host before the command began, as of env(1)."""

MENTION: Final = "MULTIRSH_"
"""A command in which this stands finds the variables that begin with it."""


def about(assignment: Assignment) -> dict[str, str]:
    """The variables that tell a command where it runs."""
    return dict(zip(OURS, (assignment.host.name, str(assignment.place), assignment.run), strict=True))


def entering(directory: str | None) -> str:
    """Go to ``directory``; the shell's own message says why it cannot."""
    if directory is None:
        return ""
    # "-" would be the directory before this one, and CDPATH is for what people type.
    there = "./-" if directory == "-" else directory
    return f"CDPATH= cd -- {quoted(there)} >/dev/null||exit {NOT_BEGUN}\n"


def setting(environment: Mapping[str, str]) -> str:
    """The words that run what follows them with ``environment``.

    By env(1), since a shell has variables of its own that cannot be set, such as ``UID``.
    """
    if not environment:
        return ""
    return "env " + "".join(f"{quoted(f'{name}={value}')} " for name, value in environment.items())


def login_shell(text: str, *, before: str = "") -> str:
    """Become the login shell with ``text`` as its command.

    sshd starts it by its path, and tells it that its name is the last part of that. A shell of sh's kin
    learns such a name from the word behind the command; to others that word would be an argument. Users that
    nobody can log in as, whom sudo may run a command as, get /bin/sh.

    Args:
        text: The user's.
        before: Words that go before the shell's, such as those of ``setting``.
    """
    return (
        "case ${SHELL:=/bin/sh} in */nologin|*/false)SHELL=/bin/sh;;esac\n"
        # sshd sets none. A shell counts itself, and not all of them take that back when they become another.
        "unset SHLVL\n"
        f"set -- -c {quoted(text)}\n"
        "case ${SHELL##*/} in"
        " sh|ash|bash|dash|ksh|ksh93|lksh|mksh|oksh|pdksh|posh|rbash|rksh|yash|zsh)"
        'set -- "$@" "${SHELL##*/}";;esac\n'
        f'exec {before}"$SHELL" "$@"'
    )
