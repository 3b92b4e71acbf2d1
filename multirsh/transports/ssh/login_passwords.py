"""Which password a server is given: the hosts' own, or a jump host's, which a person is asked for.

The password that is given for a run is that of the run's hosts. A jump host
is not one of them: it has a password of its own, and a person is asked for
that when the jump host wants one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from multirsh.transports.passwords import Ask, Password
from multirsh.transports.threads import in_daemon_thread

PASSWORD_ATTEMPTS: Final = 3
"""How often a person is asked for a password that is refused (NumberOfPasswordPrompts of ssh)."""


class LoginPassword(Protocol):
    """The password of one user on one host."""

    async def give(self, attempt: int) -> Password | None:
        """Give the password; ``None`` where there is none, or no other.

        Args:
            attempt: From 1 in each connection; any higher one says that the last password was refused.
        """


@dataclass(frozen=True, slots=True)
class GivenPassword:
    """A ``LoginPassword`` that is known before the run.

    Attributes:
        password: The password.
    """

    password: Password

    async def give(self, attempt: int) -> Password | None:
        """Give it once."""
        return self.password if attempt == 1 else None


class AskedPassword:
    """A ``LoginPassword`` that a person is asked for when it is first needed."""

    def __init__(self, ask: Ask, prompt: str) -> None:
        """Ask for nothing yet.

        Args:
            ask: How to ask a person; called in a thread.
            prompt: What the person is asked; it names the user and the host.
        """
        self._ask = ask
        self._prompt = prompt
        self._asking = asyncio.Lock()
        self._password: Password | None = None

    async def give(self, attempt: int) -> Password | None:
        """Ask, unless the last answer has not been refused; ``None`` where the person gives no answer."""
        if attempt > PASSWORD_ATTEMPTS:
            return None
        async with self._asking:
            if self._password is None or attempt > 1:
                self._password = await in_daemon_thread(self._answer, name="multirsh-password")
            return self._password

    def _answer(self) -> Password | None:
        try:
            return Password(self._ask(self._prompt))
        except (EOFError, OSError):
            return None
