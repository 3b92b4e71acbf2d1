"""Why sudo, doas or su did not begin a command, as a host's status and failure. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from multirsh.commands.remote_shell import NOT_BEGUN
from multirsh.commands.sudo.trial import PasswordVerdict
from multirsh.inventory import fold
from multirsh.model import ErrorKind, Exited, Failure, Outcome, Phase, Signalled, Status

Ending: TypeAlias = tuple[Status, Failure]

_NOT_THE_PASSWORD: Final = re.compile(
    rb"sudoers|not allowed|may not|can't do that|not permitted|expired|is your account locked"
    rb"|account is locked|tty|unknown user|user '.*' not found|no user|account validation",
    re.IGNORECASE,
)
"""In what sudo, sudo-rs, doas or su say if they know the user but allow nothing, or do not know the user."""

RUN_DIRECTLY: Final = "programs that its rules allow are run with: multirsh 'sudo -n PROGRAM'"

_HINTS: Final = (
    (re.compile(r"must have a tty|tty is required"), "give --tty"),
    (re.compile(r"can't do that"), RUN_DIRECTLY),
    (
        re.compile(r"account locked|account is locked", re.IGNORECASE),
        "unlock it there: passwd -u, faillock --reset",
    ),
    (re.compile(r"expired", re.IGNORECASE), "extend it there: chage"),
    (re.compile(r"(sudo|doas|su): (command )?not found"), "install it there, or check the login's PATH"),
)
"""Hints that are appended to a message that matches."""


def verdict(tail: bytes, outcome: Outcome) -> PasswordVerdict:
    """Judge a password that was sent, when the command has not begun.

    It counts as refused unless the output says otherwise. Refusals are worded differently by each program,
    module and language, and a refusal that is not recognised costs an attempt on every further host.

    Args:
        tail: The end of the output.
        outcome: How sudo ended.
    """
    if isinstance(outcome, Signalled) or _NOT_THE_PASSWORD.search(tail):
        return PasswordVerdict.UNKNOWN
    return PasswordVerdict.REFUSED


def refused(last_line: str = "", *, owner: str = "") -> Ending:
    """The password was wrong.

    Args:
        last_line: The last line of output, if it is not known to mean that.
        owner: The user whose password is wanted, if it is not the logged-in user; otherwise empty.
    """
    if owner:
        last_line = f"sudo asks for that of {owner} (rootpw or targetpw in sudoers); give it with -K"
    return _denied(f"the password was refused: {last_line}" if last_line else "the password was refused")


def must_change() -> Ending:
    """The password is right, but a new one is required."""
    return _denied("the password is right and must be changed there first: log in and run passwd")


def extra_question(question: str, *, is_first: bool = False) -> Ending:
    """Something other than the password is required.

    Args:
        question: What was asked; empty if that is not known.
        is_first: Whether it was asked before the password, which was then not sent.
    """
    shown = f" ({question})" if question else ""
    if is_first:
        return _denied(f"it asks for something besides the password{shown}, which multirsh cannot answer")
    return _denied(f"after the password it asks for a second factor{shown}, which multirsh cannot answer")


def no_shell(last_line: str) -> Ending:
    """Sudo lets us in, but allows no shell.

    Args:
        last_line: Its output, without the complaint that repeats our text.
    """
    before = f"{last_line}: " if last_line else ""
    return _denied(f"{before}sudo allows no shell here (/bin/sh); {RUN_DIRECTLY}")


def denied(last_line: str, outcome: Outcome) -> Ending:
    """Sudo ended before the command began.

    Args:
        last_line: The last line of its output, if any.
        outcome: How it ended.
    """
    if not last_line:
        match outcome:
            case Exited(status=status) if status == NOT_BEGUN:
                last_line = f"noexec in sudoers lets the shell start no program; {RUN_DIRECTLY}"
            case Exited(status=status):
                last_line = f"it ended with exit status {status} before the command began"
            case Signalled(signal=name):
                last_line = f"signal {name} ended it before the command began"
    hints = [hint for pattern, hint in _HINTS if pattern.search(last_line)]
    return _denied(f"{last_line} ({'; '.join(hints)})" if hints else last_line)


def no_sign(last_line: str, outcome: Outcome) -> Ending:
    """Everything ended, and nothing shows that sudo was started or that the command began.

    Args:
        last_line: The last line of output, if any.
        outcome: How it ended.
    """
    how = f"exit status {outcome.status}" if isinstance(outcome, Exited) else f"signal {outcome.signal}"
    message = (
        f"it ended ({how}) without a sign of sudo: the login shell may run something else, or a start-up file"
        f" discards its output. The command may or may not have run{_last(last_line)}"
    )
    return Status.LOST, Failure(ErrorKind.PROTOCOL, Phase.SUDO, message)


def unreadable(last_line: str) -> Ending:
    """The login shell cannot read the line that starts sudo.

    Args:
        last_line: The last line of its output, if any.
    """
    after = f": {last_line}" if last_line else ""
    return _denied(f"the login shell does not read commands as sh, csh or fish do{after}")


def not_begun(last_line: str, seconds: float) -> Ending:
    """The program was started, but has neither ended nor begun the command.

    Args:
        last_line: The last line of output, if any.
        seconds: How long it was waited for.
    """
    return _timeout(f"the command did not begin within {seconds:g} s{_last(last_line)}")


def silent(last_line: str, seconds: float, *, program: str) -> Ending:
    """Nothing shows that the program was started, and nothing has ended.

    Args:
        last_line: The last line of output, if any.
        seconds: How long it was waited for.
        program: The program, such as sudo.
    """
    return _timeout(
        f"no sign within {seconds:g} s that {program} was started: a start-up file may read standard input,"
        f" or all output is discarded or held back and the command may have run{_last(last_line)}"
    )


def not_given() -> Ending:
    """A password is asked for, and none was given to multirsh."""
    return _denied("a password is required")


def not_tried(refused_on: Sequence[str]) -> Ending:
    """The password was not sent to this host, since others have refused it."""
    message = f"{_refusal(refused_on)}, and was not tried here"
    return Status.AUTH, Failure(ErrorKind.UNTRIED, Phase.SUDO, message)


def stopped(refused_on: Sequence[str]) -> str:
    """A warning for people: no more hosts get the password."""
    return f"sudo: {_refusal(refused_on)}; it is not tried on other hosts"


def _denied(message: str) -> Ending:
    return Status.AUTH, Failure(ErrorKind.DENIED, Phase.SUDO, message)


def _timeout(message: str) -> Ending:
    return Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, Phase.SUDO, message)


def _last(line: str) -> str:
    return f"; the last output was: {line}" if line else ""


def _refusal(refused_on: Sequence[str]) -> str:
    return f"the password was refused on {fold(refused_on)}"
