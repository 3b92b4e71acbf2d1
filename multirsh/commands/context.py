"""What a command finds around it: its directory, its environment, and which host of which run it is on.

POSIX text that sets these and then becomes the user's login shell with the
user's command, as sshd would start it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from multirsh.commands.command import OURS
from multirsh.model import Assignment
from multirsh.sh_text import quoted

NOT_BEGUN: Final = 125
"""The exit status where something of ours failed on the host before the command began, as of env(1)."""

MENTION: Final = "MULTIRSH_"
"""A command in which this stands finds the variables that begin with it."""


class Job(NamedTuple):
    """What is to be run on a host, and what logs call it.

    Attributes:
        told: The user's command; a script by its name and arguments.
        script: POSIX text that runs it; ``None`` if ``told`` is all that the login shell is given.
    """

    told: str
    script: str | None = None

    @property
    def text(self) -> str:
        """POSIX text that runs it."""
        return login_shell(self.told) if self.script is None else self.script


LOGIN_SHELL: Final = (
    "case ${SHELL:=/bin/sh} in */nologin|*/false)SHELL=/bin/sh;;esac;"
    # sshd sets none. A shell counts itself, and not all of them take that back when they become another.
    "unset SHLVL;"
    'set -- -c "$1";'
    "case ${SHELL##*/} in"
    " sh|ash|bash|dash|ksh|ksh93|lksh|mksh|oksh|pdksh|posh|rbash|rksh|yash|zsh)"
    'set -- "$@" "${SHELL##*/}";;esac;'
    'exec %s"$SHELL" "$@"'
)
"""Become the login shell with ``$1`` as its command; in the place of ``%s`` stand words that go before it.

sshd starts a login shell by its path, and tells it that its name is the last part of that. A shell of sh's
kin learns such a name from the word behind the command; to others that word would be an argument. Users that
cannot log in, but as which sudo may run a command, get /bin/sh."""


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

    Args:
        text: The user's.
        before: Words that go before the shell's, such as those of ``setting``.
    """
    return f"set -- {quoted(text)}\n" + LOGIN_SHELL.replace("%s", before)
