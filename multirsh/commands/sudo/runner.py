"""Runs commands as another user on the hosts of a run: hosts take turns with the password, and are judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from multirsh.commands.prepare import PreparedCommand, Wrap, WrappedJob
from multirsh.commands.remote_shell import Job
from multirsh.commands.sudo import failures
from multirsh.commands.sudo.conversation import UNANSWERED, SudoConversation, SudoState
from multirsh.commands.sudo.options import Become, Sudo
from multirsh.commands.sudo.trial import PasswordTrial, PasswordVerdict, Permission, TrialState
from multirsh.commands.sudo.wrapping import Marks, TerminalStdin, new_marks, wrapped
from multirsh.errors import HostError
from multirsh.model import Outcome
from multirsh.transports.base import Connection, Killable, Sink, Stdin, Warn
from multirsh.transports.login_deadline import awake_timeout
from multirsh.transports.passwords import Password

TURN_S: Final = 10.0
"""Seconds after which a host that does not say whether the password is right no longer holds up the
others."""

LOGIN_S: Final = 120.0
"""Seconds from sudo's start to the command's, at most: a person may have to press a button on a phone."""

START_S: Final = 30.0
"""Seconds from the request to sudo's start: a login shell may have much to read when it starts, but one whose
start-up files read standard input waits for ever."""

QUESTION_S: Final = 1.0
"""Seconds without output after which an unfinished line is a question."""

END_S: Final = 10.0
"""Seconds that sudo has to end when it gets no answer."""

STATE_TIMEOUTS: Final[Mapping[SudoState, float | None]] = {
    SudoState.QUIET: START_S,
    SudoState.STARTED: LOGIN_S,
    SudoState.PROMPTED: LOGIN_S,
    SudoState.ANSWERED: LOGIN_S,
    SudoState.REFUSED: END_S,
    SudoState.EXTRA_QUESTION: END_S,
    SudoState.WITHHELD: END_S,
    SudoState.BEGUN: None,
}
"""How many seconds each state may last; the command itself is not bounded here."""

Make: TypeAlias = Callable[[Wrap | None], PreparedCommand]
"""Prepares a command, wrapped as given."""


class PasswordQueue:
    """The hosts of a fleet that wait for their turn with the password."""

    def __init__(self, warn: Warn) -> None:
        """Begin with an unproven password.

        Args:
            warn: Receives a line for people.
        """
        self._trial = PasswordTrial()
        self._warn = warn
        self._changed = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def is_proven(self) -> bool:
        """Whether a host has accepted the password, and hosts may still get it."""
        return self._trial.state is TrialState.PROVEN

    @property
    def is_stopped(self) -> bool:
        """Whether no more hosts get the password."""
        return self._trial.state is TrialState.STOPPED

    @property
    def refused_on(self) -> list[str]:
        """The hosts that refused the password, in order."""
        return self._trial.refused_on

    async def turn(self, host: str, *, has_probed: bool = False) -> Permission:
        """Wait for the decision about ``host``; after ``YES``, ``judge`` has to follow.

        Hosts take turns, each for at most ``TURN_S``.
        """
        while (permission := self._trial.ask(host, has_probed=has_probed)) is Permission.WAIT:
            await self._changed.wait()
        if permission is Permission.YES and host not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[host] = loop.call_later(TURN_S, self._overdue, host)
        return permission

    def judge(self, host: str, verdict: PasswordVerdict) -> None:
        """Record the verdict of ``host``; only the first one counts."""
        timer = self._timers.pop(host, None)
        if timer is None:
            return
        timer.cancel()
        was_stopped = self.is_stopped
        self._trial.judge(host, verdict)
        if self.is_stopped and not was_stopped:
            self._warn(failures.stopped(self.refused_on))
        self._wake()

    def _overdue(self, host: str) -> None:
        self._trial.overdue(host)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class SudoRunner:
    """A ``CommandRunner`` (``commands.prepare``) that runs commands as another user, on a run's hosts."""

    def __init__(self, sudo: Sudo, password: Password | None, queue: PasswordQueue) -> None:
        """Keep what all hosts share.

        Args:
            sudo: The user, and the program that switches to it.
            password: The password; ``None`` if there is none.
            queue: The fleet's queue for the password.
        """
        self._sudo = sudo
        self._password = password
        self._queue = queue

    def sample(self, job: Job, stdin: Stdin | None, tty: bool) -> WrappedJob:  # noqa: FBT001 - a ``Wrap``
        """Wrap ``job`` as it will be, to find out how long it is."""
        return self._wrapped(job, stdin, new_marks(), tty=tty)

    async def run(self, connection: Connection, sink: Sink, host: str, make: Make) -> Outcome:
        """Run a command.

        A host that waits for its turn has not started sudo yet. If no more hosts get the password, sudo is
        started all the same, since it may need none; at its prompt it is killed.

        Args:
            connection: An open connection.
            sink: Receives the command's output, and what sudo writes before.
            host: The host's name.
            make: Prepares the command.

        Raises:
            HostError: sudo does not run the command; or see ``Connection.run``.
        """
        if self._password is None:
            return self._judged(host, *await self._attempt(connection, sink, host, make))
        permission = await self._queue.turn(host)
        if permission is not Permission.YES:
            conversation, outcome = await self._attempt(connection, sink, host, make)
            if conversation.state is not SudoState.WITHHELD or permission is Permission.NO:
                return self._judged(host, conversation, outcome)
            # It was killed at the prompt, so nothing has begun.
            if await self._queue.turn(host, has_probed=True) is Permission.NO:
                raise HostError(host, *failures.not_tried(self._queue.refused_on))
        try:
            return self._judged(host, *await self._attempt(connection, sink, host, make, answer=self._answer))
        finally:
            self._queue.judge(host, PasswordVerdict.UNKNOWN)  # unless there was a verdict before

    def _wrapped(self, job: Job, stdin: Stdin | None, marks: Marks, *, tty: bool) -> WrappedJob:
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
            stdin = TerminalStdin(stdin)
        return WrappedJob(text, stdin, tty or needs_tty)

    @property
    def _may_ask(self) -> bool:
        # su has no option against asking.
        return self._password is not None or self._sudo.by is Become.SU

    async def _attempt(
        self,
        connection: Connection,
        sink: Sink,
        host: str,
        make: Make,
        *,
        answer: Callable[[], Password | None] = lambda: None,
    ) -> tuple[SudoConversation, Outcome]:
        """Run the command once; return the conversation, and how it ended."""
        marks = new_marks()
        command = make(lambda job, stdin, tty: self._wrapped(job, stdin, marks, tty=tty))
        watch = _ProgressWatch(lambda verdict: self._queue.judge(host, verdict))
        conversation = SudoConversation(
            sink,
            command.stdin,
            marks,
            answer=answer,
            on_progress=watch.on_progress,
            kill=lambda: isinstance(connection, Killable) and connection.kill_command(),
            tty=command.tty,
            has_marked_prompt=self._sudo.by is Become.SUDO,
            user=connection.user,
        )
        scope: asyncio.Timeout | None = None
        try:
            async with awake_timeout(STATE_TIMEOUTS[SudoState.QUIET]) as scope:
                with watch.bounding(scope, conversation):
                    # Without a password sudo reads nothing, and the input is the command's.
                    stdin = conversation if self._may_ask else command.stdin
                    outcome = await connection.run(command.line, conversation, stdin, tty=command.tty)
        except TimeoutError:
            if scope is None or not scope.expired():
                raise
            raise HostError(host, *self._failure(conversation)) from None
        finally:
            conversation.end()  # also after a timeout: what was held back belongs to the command
        return conversation, outcome

    def _answer(self) -> Password | None:
        """What to answer sudo's prompt."""
        return None if self._queue.is_stopped else self._password

    def _failure(self, conversation: SudoConversation) -> failures.Ending:
        """Why the command has not begun."""
        match conversation.state:
            case SudoState.REFUSED:
                return failures.refused(owner=conversation.other_owner)
            case SudoState.EXTRA_QUESTION if conversation.wants_new_password:
                return failures.must_change()
            case SudoState.EXTRA_QUESTION:
                question = conversation.extra_question
                return failures.extra_question(question, is_first=not conversation.has_answered)
            case SudoState.WITHHELD if self._password is None:
                return failures.not_given()
            case SudoState.WITHHELD:
                return failures.not_tried(self._queue.refused_on)
            case state:
                seconds = STATE_TIMEOUTS[state] or 0.0
                if state is SudoState.QUIET:
                    return failures.silent(conversation.last_line, seconds, program=self._sudo.by)
                return failures.not_begun(conversation.last_line, seconds)

    def _judged(self, host: str, conversation: SudoConversation, outcome: Outcome) -> Outcome:
        """Return the outcome if it is the command's own.

        Raises:
            HostError: The outcome is sudo's.
        """
        if conversation.has_begun:
            return outcome
        if conversation.wants_new_password:
            self._queue.judge(host, PasswordVerdict.ACCEPTED)  # accounts are checked after the password
        if conversation.state in UNANSWERED:
            raise HostError(host, *self._failure(conversation))
        last_line = conversation.last_line
        if conversation.state is SudoState.QUIET:
            if conversation.is_echoed:
                raise HostError(host, *failures.unreadable(last_line))
            raise HostError(host, *failures.no_sign(last_line, outcome))
        if conversation.is_echoed:
            self._queue.judge(host, PasswordVerdict.UNKNOWN)
            raise HostError(host, *failures.no_shell(last_line))
        if conversation.state is SudoState.ANSWERED:
            verdict = failures.verdict(conversation.tail, outcome)
            self._queue.judge(host, verdict)
            if verdict is PasswordVerdict.REFUSED:
                raise HostError(host, *failures.refused(last_line, owner=conversation.other_owner))
        raise HostError(host, *failures.denied(last_line, outcome))


class _ProgressWatch:
    """Bounds the time of each state of a conversation, and derives verdicts from them."""

    def __init__(self, judge: Callable[[PasswordVerdict], None]) -> None:
        self._judge = judge
        self._state = SudoState.QUIET
        self._scope: asyncio.Timeout | None = None
        self._conversation: SudoConversation | None = None
        self._question_timer: asyncio.TimerHandle | None = None

    @contextmanager
    def bounding(self, scope: asyncio.Timeout, conversation: SudoConversation) -> Iterator[None]:
        """Move the deadline of ``scope`` inside of the block; output that arrives later does not move it."""
        self._scope, self._conversation = scope, conversation
        try:
            yield
        finally:
            self._scope = self._conversation = None
            self._cancel_question_timer()

    def on_progress(self, state: SudoState) -> None:
        """Handle a new state, or output in the same state."""
        self._cancel_question_timer()
        if state is self._state:
            if self._conversation is not None and self._conversation.question:
                loop = asyncio.get_running_loop()
                self._question_timer = loop.call_later(QUESTION_S, self._conversation.assume_question)
            return
        if self._scope is not None and not self._scope.expired():
            seconds = STATE_TIMEOUTS[state]
            now = asyncio.get_running_loop().time()
            self._scope.reschedule(None if seconds is None else now + seconds)
        if state is SudoState.BEGUN:
            was_answered = self._state is SudoState.ANSWERED
            self._judge(PasswordVerdict.ACCEPTED if was_answered else PasswordVerdict.NOT_NEEDED)
        elif state is SudoState.REFUSED:
            self._judge(PasswordVerdict.REFUSED)
        self._state = state

    def _cancel_question_timer(self) -> None:
        if self._question_timer is not None:
            self._question_timer.cancel()
            self._question_timer = None
