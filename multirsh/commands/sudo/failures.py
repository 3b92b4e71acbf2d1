"""Why a command was not begun by sudo, told as a host's status and failure. Pure."""

from __future__ import annotations

from typing import Final, TypeAlias

from multirsh.commands.sudo.trial import Trial, Verdict
from multirsh.inventory import fold
from multirsh.model import ErrorKind, Exited, Failure, Outcome, Phase, Signalled, Status

Ending: TypeAlias = tuple[Status, Failure]

NOT_FOUND: Final = Exited(127)
"""A shell that finds no sudo (POSIX, Exit Status for Commands)."""

_PASSWORDS_FAULT: Final = b"incorrect password attempt"
"""sudo's words where it does not ask again (``passwd_tries``, sudoers(5)), in English."""

_NOT_PASSWORDS_FAULT: Final = b"sudoers"
"""In its words, in whatever language, where it knows the user and allows nothing."""


def verdict(tail: bytes) -> Verdict:
    """What sudo, which was given a password and ended, has said of that.

    Args:
        tail: Its words.
    """
    if _PASSWORDS_FAULT in tail:
        return Verdict.REFUSED
    return Verdict.NONE if _NOT_PASSWORDS_FAULT in tail else Verdict.DOUBTED


def refused() -> Ending:
    """It was the wrong password."""
    return Status.AUTH, Failure(ErrorKind.DENIED, Phase.SUDO, "the password was refused")


def denied(words: str, outcome: Outcome) -> Ending:
    """Sudo has ended before the command began.

    Args:
        words: Its last line, or nothing.
        outcome: How it ended.
    """
    if not words:
        match outcome:
            case Exited(status=status):
                words = f"it ended with exit status {status} before the command began"
            case Signalled(signal=name):
                words = f"signal {name} ended it before the command began"
    return Status.AUTH, Failure(ErrorKind.DENIED, Phase.SUDO, words)


def not_begun(words: str, seconds: float) -> Ending:
    """Sudo neither asked for the password nor began the command nor ended.

    Args:
        words: Its last line, or nothing.
        seconds: Waited for.
    """
    message = f"the command did not begin within {seconds:g} s"
    if words:
        message += f", and the last that was said is: {words}"
    return Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, Phase.SUDO, message)


def not_tried(trial: Trial) -> Ending:
    """The password is not given to this host."""
    message = f"{_blame(trial)}, and was not tried here"
    return Status.AUTH, Failure(ErrorKind.UNTRIED, Phase.SUDO, message)


def stopped(trial: Trial) -> str:
    """The password is given to nobody any more, for people."""
    return f"sudo: {_blame(trial)}; it is not tried on other hosts"


def _blame(trial: Trial) -> str:
    how = "was refused" if trial.refused_on else "has let nobody in"
    return f"the password {how} on {fold(trial.blamed)}"
