"""One fleet's sudo: hosts wait for their turn with the password, run, and are judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from multirsh.commands.assemble import Order, Wrap, Wrapped
from multirsh.commands.context import Job
from multirsh.commands.sudo import failures
from multirsh.commands.sudo.conversation import IS_OVER, Conversation, Stage
from multirsh.commands.sudo.options import Become, Sudo
from multirsh.commands.sudo.trial import Answer, Trial, Verdict
from multirsh.commands.sudo.trial import Stage as TrialStage
from multirsh.commands.sudo.wrapping import Marks, OnTerminal, new_marks, wrapped
from multirsh.errors import HostError
from multirsh.model import Outcome
from multirsh.transports.awake import awake_timeout
from multirsh.transports.base import Connection, Killable, Sink, Stdin, Warn
from multirsh.transports.passwords import Password

TURN_S: Final = 10.0
"""Seconds until a host that does not say whether a password is right holds up the others no more."""

LOGIN_S: Final = 120.0
"""Seconds from sudo's start to the command's, at the most: somebody may have to press a button on a phone."""

START_S: Final = 30.0
"""Seconds from the command's request to sudo's start: a login shell may have much to read when it starts, but
one that reads standard input waits for ever."""

ASKS_S: Final = 1.0
"""Seconds without output after which a line that has no end is a question."""

GOODBYE_S: Final = 10.0
"""Seconds that sudo has to end once its answer is no."""

SECONDS: Final[Mapping[Stage, float | None]] = {
    Stage.QUIET: START_S,
    Stage.STARTED: LOGIN_S,
    Stage.ASKED: LOGIN_S,
    Stage.ANSWERED: LOGIN_S,
    Stage.REFUSED: GOODBYE_S,
    Stage.MORE: GOODBYE_S,
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

    def ask(self, host: str, *, has_probed: bool = False) -> Answer:
        """Whether ``host`` may have it now; after ``YES``, ``tell`` has to follow."""
        answer = self.trial.ask(host, has_probed=has_probed)
        if answer is Answer.YES and host not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[host] = loop.call_later(TURN_S, self._overdue, host)
        return answer

    async def turn(self, host: str, *, has_probed: bool = False) -> Answer:
        """Wait until that is known; the one after the other, each for ``TURN_S`` at the longest."""
        while (answer := self.ask(host, has_probed=has_probed)) is Answer.WAIT:
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
    """A ``Runner`` (``commands.assemble``): runs commands as another user on the hosts of one run."""

    def __init__(self, sudo: Sudo, password: Password | None, turns: Turns) -> None:
        """Take what all hosts share.

        Args:
            sudo: As which user, and by what.
            password: What is answered; ``None`` where it is not known.
            turns: The fleet's.
        """
        self._sudo = sudo
        self._password = password
        self._turns = turns

    def sample(self, job: Job, stdin: Stdin | None, tty: bool) -> Wrapped:  # noqa: FBT001 - as ``Wrap``
        """``job`` as it will be wrapped, for its length."""
        return self._wrapped(job, stdin, new_marks(), tty=tty)

    async def run(self, connection: Connection, sink: Sink, host: str, make: Make) -> Outcome:
        """Run what ``make`` makes.

        A host whose turn has not come waits, and has not touched sudo yet. Where the password is given to no
        host any more, sudo is asked all the same, for it may need none; at its prompt it is killed.

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
        answer = await self._turns.turn(host)
        if answer is not Answer.YES:
            talk, outcome = await self._attempt(connection, sink, host, make)
            if talk.stage is not Stage.WITHHELD or answer is Answer.NO:
                return self._judged(host, talk, outcome)
            # At the prompt it was killed, so nothing has begun.
            if await self._turns.turn(host, has_probed=True) is Answer.NO:
                raise HostError(host, *failures.not_tried(self._turns.trial))
        try:
            return self._judged(host, *await self._attempt(connection, sink, host, make, answer=self._answer))
        finally:
            self._turns.tell(host, Verdict.NONE)  # if it has not told anything else

    def _wrapped(self, job: Job, stdin: Stdin | None, marks: Marks, *, tty: bool) -> Wrapped:
        text = wrapped(
            job,
            self._sudo,
            marks,
            may_ask=self._may_ask,
            has_input=stdin is not None,
            tty=tty,
        )
        needs_tty = self._sudo.needs_tty
        if needs_tty and not tty and stdin is not None:
            stdin = OnTerminal(stdin)
        return Wrapped(text, stdin, tty or needs_tty)

    @property
    def _may_ask(self) -> bool:
        # su has no option that keeps it from asking.
        return self._password is not None or self._sudo.by is Become.SU

    async def _attempt(
        self,
        connection: Connection,
        sink: Sink,
        host: str,
        make: Make,
        *,
        answer: Callable[[], Password | None] = lambda: None,
    ) -> tuple[Conversation, Outcome]:
        """Run it once, and give the conversation with how it ended."""
        marks = new_marks()
        order = make(lambda job, stdin, tty: self._wrapped(job, stdin, marks, tty=tty))
        progress = _Progress(lambda verdict: self._turns.tell(host, verdict))
        talk = Conversation(
            sink,
            order.stdin,
            marks,
            answer=answer,
            moved=progress.moved,
            kill=lambda: isinstance(connection, Killable) and connection.kill_command(),
            tty=order.tty,
            by_mark=self._sudo.by is Become.SUDO,
            user=connection.user,
        )
        scope: asyncio.Timeout | None = None
        try:
            async with awake_timeout(SECONDS[Stage.QUIET]) as scope:
                with progress.bounding(scope, talk):
                    # Without a password sudo reads nothing, and what is there is the command's.
                    stdin = talk if self._may_ask else order.stdin
                    outcome = await connection.run(order.line, talk, stdin, tty=order.tty)
        except TimeoutError:
            if scope is None or not scope.expired():
                raise
            raise HostError(host, *self._unfinished(talk)) from None
        finally:
            talk.end()  # where it was given up on, too: what was held back is the command's
        return talk, outcome

    def _answer(self) -> Password | None:
        """What sudo is told when it asks."""
        return None if self._turns.is_stopped else self._password

    def _unfinished(self, talk: Conversation) -> failures.Ending:
        """Why the command has not begun."""
        match talk.stage:
            case Stage.REFUSED:
                return failures.refused(whose=talk.of_another)
            case Stage.MORE if talk.wants_change:
                return failures.must_change()
            case Stage.MORE:
                return failures.asks_more(talk.label, is_first=not talk.has_answered)
            case Stage.WITHHELD if self._password is None:
                return failures.not_given()
            case Stage.WITHHELD:
                return failures.not_tried(self._turns.trial)
            case stage:
                seconds = SECONDS[stage] or 0.0
                if stage is Stage.QUIET:
                    return failures.silent(talk.last_words, seconds, program=self._sudo.by)
                return failures.not_begun(talk.last_words, seconds)

    def _judged(self, host: str, talk: Conversation, outcome: Outcome) -> Outcome:
        """The outcome, if it is the command's own.

        Raises:
            HostError: It is sudo's.
        """
        if talk.has_begun:
            return outcome
        if talk.wants_change:
            self._turns.tell(host, Verdict.ACCEPTED)  # accounts are looked at when the password was right
        if talk.stage in IS_OVER:
            raise HostError(host, *self._unfinished(talk))
        if talk.stage is Stage.QUIET:
            if talk.repeats:
                raise HostError(host, *failures.unreadable(talk.last_words))
            raise HostError(host, *failures.unseen(talk.last_words, outcome))
        if talk.repeats:
            self._turns.tell(host, Verdict.NONE)
            raise HostError(host, *failures.no_shell(talk.last_words))
        if talk.stage is Stage.ANSWERED:
            verdict = failures.verdict(talk.tail, outcome)
            self._turns.tell(host, verdict)
            if verdict is Verdict.REFUSED:
                raise HostError(host, *failures.refused(talk.last_words, whose=talk.of_another))
        raise HostError(host, *failures.denied(talk.last_words, outcome))


class _Progress:
    """What the stages of a conversation mean for its time, and for the trial."""

    def __init__(self, tell: Callable[[Verdict], None]) -> None:
        self._tell = tell
        self._stage = Stage.QUIET
        self._scope: asyncio.Timeout | None = None
        self._talk: Conversation | None = None
        self._asking: asyncio.TimerHandle | None = None

    @contextmanager
    def bounding(self, scope: asyncio.Timeout, talk: Conversation) -> Iterator[None]:
        """Move ``scope``'s deadline meanwhile; output that comes later does not."""
        self._scope, self._talk = scope, talk
        try:
            yield
        finally:
            self._scope = self._talk = None
            self._wait_no_more()

    def moved(self, stage: Stage) -> None:
        """The conversation is at ``stage``, or has come no further but has got output."""
        self._wait_no_more()
        if stage is self._stage:
            if self._talk is not None and self._talk.question:
                self._asking = asyncio.get_running_loop().call_later(ASKS_S, self._talk.ask_more)
            return
        if self._scope is not None and not self._scope.expired():
            seconds = SECONDS[stage]
            now = asyncio.get_running_loop().time()
            self._scope.reschedule(None if seconds is None else now + seconds)
        if stage is Stage.BEGUN:
            self._tell(Verdict.ACCEPTED if self._stage is Stage.ANSWERED else Verdict.FREE)
        elif stage is Stage.REFUSED:
            self._tell(Verdict.REFUSED)
        self._stage = stage

    def _wait_no_more(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
