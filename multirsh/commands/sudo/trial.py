"""Decides whether one more host gets the sudo password. Pure.

A wrong password is a failed attempt against an account, which may be locked
for it; if one directory serves all hosts, each host's attempt is against the
same account. So a password is on trial until a host has accepted it: one host
gets it, and the others wait without starting sudo. If that host refuses it, no
other host gets it. Hosts that need no password should not have to wait: once
one such host has been found, the others are probed side by side. A probe that
is asked for the password is killed at the prompt, which counts as no attempt.
"""

from __future__ import annotations

import enum
from typing import Final

ENOUGH_REFUSALS: Final = 3
"""The number of refusals that end it even if other hosts have accepted the password."""


class Permission(enum.Enum):
    """The decision for a host that wants the password."""

    YES = "yes"
    WAIT = "wait"
    PROBE = "probe"
    """Another host has it; but some hosts need no password, and this may be one of them."""
    NO = "no"


class TrialState(enum.Enum):
    """The state of a password."""

    UNPROVEN = "unproven"
    """No host has accepted it: it is given to one host at a time."""
    PROVEN = "proven"
    """A host has accepted it: every host may have it."""
    STOPPED = "stopped"
    """It was refused: no more hosts get it."""


class PasswordVerdict(enum.Enum):
    """The result on a host that had permission to use the password."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_NEEDED = "not needed"
    """The command has begun without a question."""
    UNKNOWN = "unknown"
    """Nothing shows whether the password is right; for example, the connection was lost."""


class PasswordTrial:
    """The trial of one password.

    Attributes:
        state: Its state.
        refused_on: The hosts that refused the password, in order.
    """

    def __init__(self) -> None:
        self.state = TrialState.UNPROVEN
        self.refused_on: list[str] = []
        self._on_trial: str | None = None
        self._some_need_none = False

    def ask(self, host: str, *, has_probed: bool = False) -> Permission:
        """Decide whether ``host`` gets the password; after ``YES``, ``judge`` has to follow.

        Args:
            host: The host's name.
            has_probed: Whether a probe has shown that the host asks for a password.
        """
        if self.state is TrialState.PROVEN:
            return Permission.YES
        if self.state is TrialState.STOPPED:
            return Permission.NO
        if self._on_trial is None or self._on_trial == host:
            self._on_trial = host
            return Permission.YES
        return Permission.PROBE if self._some_need_none and not has_probed else Permission.WAIT

    def overdue(self, host: str) -> None:
        """Let another host have the password, too, as ``host`` takes too long. Its verdict still counts."""
        if self._on_trial == host:
            self._on_trial = None

    def judge(self, host: str, verdict: PasswordVerdict) -> None:
        """Record the verdict of ``host``."""
        self.overdue(host)
        match verdict:
            case PasswordVerdict.ACCEPTED if self.state is TrialState.UNPROVEN:
                self.state = TrialState.PROVEN
            case PasswordVerdict.NOT_NEEDED:
                self._some_need_none = True
            case PasswordVerdict.REFUSED:
                self.refused_on.append(host)
        enough = 1 if self.state is TrialState.UNPROVEN else ENOUGH_REFUSALS
        if len(self.refused_on) >= enough:
            self.state = TrialState.STOPPED
