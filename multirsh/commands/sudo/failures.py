"""Why a command was not begun by sudo, doas or su, told as a host's status and failure. Pure."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from multirsh.commands.context import NOT_BEGUN
from multirsh.commands.sudo.trial import Trial, Verdict
from multirsh.inventory import fold
from multirsh.model import ErrorKind, Exited, Failure, Outcome, Phase, Signalled, Status

Ending: TypeAlias = tuple[Status, Failure]

_NOT_PASSWORDS_FAULT: Final = re.compile(
    rb"sudoers|not allowed|may not|can't do that|not permitted|expired|is your account locked"
    rb"|account is locked|tty|unknown user|user '.*' not found|no user|account validation",
    re.IGNORECASE,
)
"""In what sudo, sudo-rs, doas or su say where they know the user and allow nothing, or know no such user."""

NO_SHELL: Final = "programs that its rules allow are run with: multirsh 'sudo -n PROGRAM'"

_WAYS_OUT: Final = (
    (re.compile(r"must have a tty|tty is required"), "give --tty"),
    (re.compile(r"can't do that"), NO_SHELL),
    (
        re.compile(r"account locked|account is locked", re.IGNORECASE),
        "unlock it there: passwd -u, faillock --reset",
    ),
    (re.compile(r"expired", re.IGNORECASE), "extend it there: chage"),
    (re.compile(r"(sudo|doas|su): (command )?not found"), "install it there, or see to the login's PATH"),
)
"""What is appended to the words in which something stands."""


def verdict(tail: bytes, outcome: Outcome) -> Verdict:
    """What became of the password, where it was given and the command has not begun.

    It counts as refused unless the words say otherwise: those of a refusal differ by program, module and
    language, and one refusal that is taken for something else costs an attempt on each further host.

    Args:
        tail: What was said.
        outcome: How it ended.
    """
    if isinstance(outcome, Signalled) or _NOT_PASSWORDS_FAULT.search(tail):
        return Verdict.NONE
    return Verdict.REFUSED


def refused(words: str = "", *, whose: str = "") -> Ending:
    """It was the wrong password.

    Args:
        words: The last line that was said, where that is not known to mean it.
        whose: The user whose password is wanted, if it is not the login's; else empty.
    """
    if whose:
        words = f"sudo asks for that of {whose} (rootpw or targetpw in sudoers); give it with -K"
    return _denied(f"the password was refused: {words}" if words else "the password was refused")


def must_change() -> Ending:
    """It is the right one, and another one is wanted."""
    return _denied("the password is right and must be changed there first: log in and run passwd")


def asks_more(label: str, *, is_first: bool = False) -> Ending:
    """It wants more than the password.

    Args:
        label: What it asked; empty if that was not said.
        is_first: Whether it was asked for before the password, which was not given then.
    """
    asked = f" ({label})" if label else ""
    if is_first:
        return _denied(f"something else than the password is asked for{asked}, which multirsh cannot answer")
    return _denied(f"after the password a second factor is asked for{asked}, which multirsh cannot answer")


def no_shell(words: str) -> Ending:
    """Sudo lets us in, and allows no shell.

    Args:
        words: What it said; its complaint that repeats our text is not among it.
    """
    said = f"{words}: " if words else ""
    return _denied(f"{said}sudo allows no shell here (/bin/sh); {NO_SHELL}")


def denied(words: str, outcome: Outcome) -> Ending:
    """Sudo has ended before the command began.

    Args:
        words: Its last line, or nothing.
        outcome: How it ended.
    """
    if not words:
        match outcome:
            case Exited(status=status) if status == NOT_BEGUN:
                words = f"sudoers' noexec lets the shell start no program; {NO_SHELL}"
            case Exited(status=status):
                words = f"it ended with exit status {status} before the command began"
            case Signalled(signal=name):
                words = f"signal {name} ended it before the command began"
    ways = [way for pattern, way in _WAYS_OUT if pattern.search(words)]
    return _denied(f"{words} ({'; '.join(ways)})" if ways else words)


def unseen(words: str, outcome: Outcome) -> Ending:
    """Nothing says that the command has begun, nor that sudo was started.

    Args:
        words: The last line that came, or nothing.
        outcome: How it ended.
    """
    how = f"exit status {outcome.status}" if isinstance(outcome, Exited) else f"signal {outcome.signal}"
    last = f"; the last that was said is: {words}" if words else ""
    message = (
        f"it ended ({how}), and no sign of it came back: the login shell may run something else, or a"
        f" start-up file discards its output. The command may or may not have run{last}"
    )
    return Status.LOST, Failure(ErrorKind.PROTOCOL, Phase.SUDO, message)


def unreadable(words: str) -> Ending:
    """The login shell cannot read the line that starts sudo.

    Args:
        words: What it said.
    """
    said = f": {words}" if words else ""
    return _denied(f"the login shell does not read the command as sh, csh or fish would{said}")


def not_begun(words: str, seconds: float) -> Ending:
    """The program was started, and has neither ended nor let the command begin.

    Args:
        words: The last line that was said, or nothing.
        seconds: Waited for.
    """
    return _timeout(f"the command did not begin within {seconds:g} s", words)


def silent(words: str, seconds: float, *, program: str) -> Ending:
    """Nothing says that the program was started, and nothing has ended.

    Args:
        words: The last line that was said, or nothing.
        seconds: Waited for.
        program: Such as sudo.
    """
    return _timeout(
        f"nothing has said within {seconds:g} s that {program} was started: a start-up file may read standard"
        " input; or all output is discarded or held back, and the command may have run",
        words,
    )


def _timeout(message: str, words: str) -> Ending:
    message += f"; the last that was said is: {words}" if words else ""
    return Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, Phase.SUDO, message)


def not_given() -> Ending:
    """A password is asked for, and there is none."""
    return _denied("a password is required")


def not_tried(trial: Trial) -> Ending:
    """The password is not given to this host."""
    message = f"{_blame(trial)}, and was not tried here"
    return Status.AUTH, Failure(ErrorKind.UNTRIED, Phase.SUDO, message)


def stopped(trial: Trial) -> str:
    """The password is given to no host any more, for people."""
    return f"sudo: {_blame(trial)}; it is not tried on other hosts"


def _denied(message: str) -> Ending:
    return Status.AUTH, Failure(ErrorKind.DENIED, Phase.SUDO, message)


def _blame(trial: Trial) -> str:
    return f"the password was refused on {fold(trial.refused_on)}"
