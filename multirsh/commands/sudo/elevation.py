"""One fleet's sudo: hosts wait for their turn with the password, run, and are judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from multirsh.commands.assemble import Order, Wrap
from multirsh.commands.sudo import failures
from multirsh.commands.sudo.conversation import Conversation, Stage
from multirsh.commands.sudo.options import Sudo
from multirsh.commands.sudo.trial import Answer, Trial, Verdict
from multirsh.commands.sudo.trial import Stage as TrialStage
from multirsh.commands.sudo.wrapping import new_marks, wrapped
from multirsh.errors import HostError
from multirsh.model import Outcome
from multirsh.transports.awake import awake_timeout
from multirsh.transports.base import Connection, Sink, Warn
from multirsh.transports.passwords import Password

TURN_S: Final = 10.0
"""Seconds until a host that does not say whether a password is right holds up the others no more."""

LOGIN_S: Final = 120.0
"""Seconds from sudo's start to the command's, at the most: somebody may have to press a button on a phone."""

GOODBYE_S: Final = 10.0
"""Seconds that sudo has to end once its answer is no."""

SECONDS: Final[Mapping[Stage, float | None]] = {
    Stage.QUIET: LOGIN_S,
    Stage.ASKED: LOGIN_S,
    Stage.ANSWERED: LOGIN_S,
    Stage.REFUSED: GOODBYE_S,
    Stage.WITHHELD: GOODBYE_S,
    Stage.BEGUN: None,
}
"""How long each stage may last; the command itself is not bounded here."""

Make: TypeAlias = Callable[[Wrap | None], Order]
"""Makes what a host is given, with something put around what is run."""


class Turns:
    """Who may have the password of a fleet, and when."""

    def __init__(self, warn: Warn) -> None:
        """Nobody has had it.

        Args:
            warn: Takes a line for people.
        """
        self.trial = Trial()
        self._warn = warn
        self._changed = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def ask(self, host: str) -> Answer:
        """Whether ``host`` may have it now; after ``YES``, ``tell`` has to follow."""
        answer = self.trial.ask(host)
        if answer is Answer.YES and host not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[host] = loop.call_later(TURN_S, self._overdue, host)
        return answer

    async def turn(self, host: str) -> Answer:
        """Wait until that is known; the one after the other, each for ``TURN_S`` at the longest."""
        while (answer := self.ask(host)) is Answer.WAIT:
            await self._changed.wait()
        return answer

    def tell(self, host: str, verdict: Verdict) -> None:
        """What became of it on ``host``, once."""
        timer = self._timers.pop(host, None)
        if timer is None:
            return
        timer.cancel()
        was_stopped = self.is_stopped
        self.trial.tell(host, verdict)
        if self.is_stopped and not was_stopped:
            self._warn(failures.stopped(self.trial))
        self._wake()

    @property
    def is_stopped(self) -> bool:
        """Whether nobody gets it any more."""
        return self.trial.stage is TrialStage.STOPPED

    def _overdue(self, host: str) -> None:
        self.trial.overdue(host)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Elevation:
    """A ``Runner`` (``commands.assemble``): runs commands by sudo on the hosts of one run."""

    def __init__(self, sudo: Sudo, password: Password | None, turns: Turns) -> None:
        """Take what all hosts share.

        Args:
            sudo: As whom.
            password: What sudo is answered; ``None`` where it is not known.
            turns: The fleet's.
        """
        self._user = sudo.user
        self._password = password
        self._turns = turns

    def sample(self, text: str) -> str:
        """``text`` as it will be wrapped, for its length."""
        return wrapped(text, self._user, new_marks(), may_ask=True)

    async def run(self, connection: Connection, sink: Sink, host: str, make: Make) -> Outcome:
        """Run what ``make`` makes, by sudo.

        A host whose turn has not come is asked to run it without a password first: it may need none.

        Args:
            connection: Open.
            sink: Takes the command's output, and what sudo says before.
            host: Its name.
            make: What to run.

        Raises:
            HostError: sudo does not let us, or as of ``Connection.run``.
        """
        if self._password is None:
            return self._judged(host, *await self._attempt(connection, sink, host, make))
        if self._turns.ask(host) is not Answer.YES:
            talk, outcome = await self._attempt(connection, sink, host, make, holds=True)
            if talk.has_begun or outcome == failures.NOT_FOUND:
                talk.release()
                return self._judged(host, talk, outcome)
            if await self._turns.turn(host) is Answer.NO:
                raise HostError(host, *failures.not_tried(self._turns.trial))
        try:
            return self._judged(host, *await self._attempt(connection, sink, host, make, may_ask=True))
        finally:
            self._turns.tell(host, Verdict.NONE)  # if it has not told anything else

    async def _attempt(
        self,
        connection: Connection,
        sink: Sink,
        host: str,
        make: Make,
        *,
        may_ask: bool = False,
        holds: bool = False,
    ) -> tuple[Conversation, Outcome]:
        """Run it once, and give the conversation with how it ended."""
        marks = new_marks()
        order = make(lambda text: wrapped(text, self._user, marks, may_ask=may_ask))
        progress = _Progress(lambda verdict: self._turns.tell(host, verdict))
        talk = Conversation(
            sink,
            order.stdin,
            marks,
            answer=self._answer,
            moved=progress.moved,
            tty=order.tty,
            holds=holds,
        )
        scope: asyncio.Timeout | None = None
        try:
            async with awake_timeout(LOGIN_S) as scope:
                with progress.bounding(scope):
                    # Without a password sudo reads nothing, and what is there is the command's.
                    stdin = talk if may_ask else order.stdin
                    outcome = await connection.run(order.line, talk, stdin, tty=order.tty)
        except TimeoutError:
            if scope is None or not scope.expired():
                raise
            raise HostError(host, *self._unfinished(talk)) from None
        talk.end()
        return talk, outcome

    def _answer(self) -> Password | None:
        """What sudo is told when it asks."""
        return None if self._turns.is_stopped else self._password

    def _unfinished(self, talk: Conversation) -> failures.Ending:
        """Why the command has not begun."""
        match talk.stage:
            case Stage.REFUSED:
                return failures.refused()
            case Stage.WITHHELD:
                return failures.not_tried(self._turns.trial)
            case _:
                return failures.not_begun(talk.last_words, LOGIN_S)

    def _judged(self, host: str, talk: Conversation, outcome: Outcome) -> Outcome:
        """The outcome, if it is the command's own.

        Raises:
            HostError: It is sudo's.
        """
        if talk.has_begun:
            return outcome
        if talk.stage is Stage.ANSWERED:
            verdict = failures.verdict(talk.tail)
            self._turns.tell(host, verdict)
            if verdict is Verdict.REFUSED:
                raise HostError(host, *failures.refused())
        if talk.stage in {Stage.REFUSED, Stage.WITHHELD}:
            raise HostError(host, *self._unfinished(talk))
        raise HostError(host, *failures.denied(talk.last_words, outcome))


class _Progress:
    """What the stages of a conversation mean for its time, and for the trial."""

    def __init__(self, tell: Callable[[Verdict], None]) -> None:
        self._tell = tell
        self._was_answered = False
        self._scope: asyncio.Timeout | None = None

    @contextmanager
    def bounding(self, scope: asyncio.Timeout) -> Iterator[None]:
        """Move ``scope``'s deadline meanwhile; output that comes later does not."""
        self._scope = scope
        try:
            yield
        finally:
            self._scope = None

    def moved(self, stage: Stage) -> None:
        """The conversation is at ``stage``."""
        if self._scope is not None and not self._scope.expired():
            seconds = SECONDS[stage]
            now = asyncio.get_running_loop().time()
            self._scope.reschedule(None if seconds is None else now + seconds)
        if stage is Stage.BEGUN and self._was_answered:
            self._tell(Verdict.ACCEPTED)
        elif stage is Stage.REFUSED:
            self._tell(Verdict.REFUSED)
        self._was_answered = stage is Stage.ANSWERED
