"""Whether a password is given to one host more. Pure.

A wrong password is an attempt against an account, which may be locked for it;
with one directory behind all hosts, each host's is one against the same
account. So a password is on trial until a host has accepted it: one host is
asked, and the others wait, without asking sudo to ask. If that host refuses
it, no other is given it. Hosts that ask for no password need not wait for that:
once one of them has been found, the others are probed side by side. A probe
that is asked for the password is killed at the prompt, which nothing counts.
"""

from __future__ import annotations

import enum
from typing import Final

ENOUGH: Final = 3
"""So many refusals stop it even where others have accepted it."""


class Answer(enum.Enum):
    """What a host that wants the password is told."""

    YES = "yes"
    WAIT = "wait"
    PROBE = "probe"
    """Another host has it; but hosts have been found that ask for none, and so may this one be."""
    NO = "no"


class Stage(enum.Enum):
    """How a password stands."""

    UNPROVEN = "unproven"
    """No host has accepted it: one at a time is given it."""
    PROVEN = "proven"
    """A host has accepted it: all may have it."""
    STOPPED = "stopped"
    """It was refused: nobody is given it any more."""


class Verdict(enum.Enum):
    """What became of the password on a host that was told yes."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FREE = "free"
    """The host did not ask, and the command has begun."""
    NONE = "none"
    """Nothing that says something of it, as where the host was lost."""


class Trial:
    """Of one password.

    Attributes:
        stage: How it stands.
        refused_on: The hosts that refused it, in order.
    """

    def __init__(self) -> None:
        self.stage = Stage.UNPROVEN
        self.refused_on: list[str] = []
        self._on_trial: str | None = None
        self._has_free = False

    def ask(self, host: str, *, has_probed: bool = False) -> Answer:
        """Whether ``host`` may be given it; after ``YES``, ``tell`` has to follow.

        Args:
            host: Which.
            has_probed: Whether it is known to ask.
        """
        if self.stage is Stage.PROVEN:
            return Answer.YES
        if self.stage is Stage.STOPPED:
            return Answer.NO
        if self._on_trial is None or self._on_trial == host:
            self._on_trial = host
            return Answer.YES
        return Answer.PROBE if self._has_free and not has_probed else Answer.WAIT

    def overdue(self, host: str) -> None:
        """``host`` takes too long: let another one have it, too. Its verdict counts when it comes."""
        if self._on_trial == host:
            self._on_trial = None

    def tell(self, host: str, verdict: Verdict) -> None:
        """What became of it on ``host``."""
        self.overdue(host)
        match verdict:
            case Verdict.ACCEPTED if self.stage is Stage.UNPROVEN:
                self.stage = Stage.PROVEN
            case Verdict.FREE:
                self._has_free = True
            case Verdict.REFUSED:
                self.refused_on.append(host)
        enough = 1 if self.stage is Stage.UNPROVEN else ENOUGH
        if len(self.refused_on) >= enough:
            self.stage = Stage.STOPPED
