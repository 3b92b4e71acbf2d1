"""What sudo, doas or su says before the command begins, and what it is answered; then the command's streams.

It stands between a connection and the user's ends of a command, as the
``Sink`` and the ``Stdin`` of ``transports.base``::

    remote's output ──▶ write() ─ marks taken out ──▶ the user's sink
    remote's input ◀── read()  ◀─ the password, if our prompt was seen
                               ◀─ the user's input, once the command has begun

The marks are looked for on both streams: a start-up file, or a forced command, may have joined or discarded
one of them.
"""

from __future__ import annotations

import asyncio
import enum
import errno
import re
from collections.abc import Callable, Mapping
from typing import Final

from multirsh.commands.sudo.scanner import Scanner
from multirsh.commands.sudo.wrapping import TELLTALES, Marks
from multirsh.errors import IllegalTransition
from multirsh.transports.base import Sink, Stdin, Stream
from multirsh.transports.passwords import Password
from multirsh.transports.words import one_line

SCRUBBED: Final = b"***"
"""In place of the password, where a host writes it before the command begins."""

TAIL_BYTES: Final = 2048
"""Of each stream, kept for messages."""

KILLED_S: Final = 2.0
"""Seconds that a program has to die of KILL; then its input ends instead."""

_SAID_ANYWAY: Final = (
    "a password is required",
    "error initializing audit plugin sudoers_audit",
    "This incident has been reported to the administrator.",
)
"""What sudo adds where it has said before what is wrong, such as that an account has expired."""

_SAID_BEFORE: Final = "sudo: unable to resolve host"
"""What it says where nothing is wrong that concerns us."""

LONGEST_NAME: Final = 256
"""Bytes of a user's name (LOGIN_NAME_MAX, limits.h)."""

_QUESTION: Final = re.compile(b"(:|\xef\xbc\x9a)\\s?\\Z")
"""The end of a prompt, in whatever language (U+FF1A is a colon, too): doas's, su's, and those of PAM."""

_COMPLAINT: Final = re.compile(rb"\A\r?(sudo|doas|su|[a-z]*sh): ?")
"""The beginning of an error message (err(3)), whose parts, each with a colon at its end, may come apart."""

_ONE_TIME: Final = re.compile(
    rb"\A(?!\r?doas \().*\b(one.time|otp|token|verification|passcode|yubikey|pin|code)\b", re.IGNORECASE
)
"""A question for something else than the password: pam_oath(8), pam_google_authenticator(8), pam_yubico(8)
and others may ask before it. doas's own prompt has the user's name in it, which may be anything."""

_MUST_CHANGE: Final = re.compile(
    r"(current|old|new)\b.*password|password.*expired|must.*change", re.IGNORECASE
)
"""In the questions of PAM's modules (pam_chauthtok(3)), and in what sudo says before them."""

_ECHO: Final = b"*\b \r\n"
"""What a terminal shows for a password that is typed: sudo's pwfeedback, and the line's end."""


class Stage(enum.Enum):
    """Where the conversation is."""

    QUIET = "quiet"
    """The login shell has not come to our text, as far as is known."""
    STARTED = "started"
    """sudo has been started."""
    ASKED = "asked"
    """It has asked for the password."""
    ANSWERED = "answered"
    """It was given it."""
    REFUSED = "refused"
    """It has complained, and asked again."""
    MORE = "more"
    """It has asked for something else besides, without a complaint: a second factor, or a new password."""
    WITHHELD = "withheld"
    """It has asked, and is not given it."""
    BEGUN = "begun"
    """The command runs."""


class Event(enum.Enum):
    """What moves it on."""

    START = "start"
    PROMPT = "prompt"
    AGAIN = "again"
    QUESTION = "question"
    READY = "ready"
    ANSWER = "answer"
    WITHHOLD = "withhold"


TABLE: Final[Mapping[tuple[Stage, Event], Stage]] = {
    (Stage.QUIET, Event.START): Stage.STARTED,
    (Stage.QUIET, Event.PROMPT): Stage.ASKED,
    (Stage.STARTED, Event.PROMPT): Stage.ASKED,
    (Stage.ASKED, Event.ANSWER): Stage.ANSWERED,
    (Stage.ASKED, Event.WITHHOLD): Stage.WITHHELD,
    (Stage.STARTED, Event.QUESTION): Stage.MORE,
    (Stage.ANSWERED, Event.AGAIN): Stage.REFUSED,
    (Stage.ANSWERED, Event.QUESTION): Stage.MORE,
    **{(stage, Event.READY): Stage.BEGUN for stage in Stage if stage is not Stage.BEGUN},
}
"""What else comes changes nothing."""

IS_OVER: Final = frozenset({Stage.REFUSED, Stage.MORE, Stage.WITHHELD})
"""The stages in which sudo waits for an answer that it does not get."""


class Conversation:
    """Of one attempt to run a command as another user.

    Attributes:
        stage: Where it is.
        repeats: Whether our own text came back: sudo does not allow it, or the login shell cannot read it.
        whose: The user whose password is asked for, where sudo has said so; empty where it has not.
        label: What was asked for besides the password, as far as it was said; empty if nothing was.
    """

    def __init__(
        self,
        sink: Sink,
        stdin: Stdin | None,
        marks: Marks,
        *,
        answer: Callable[[], Password | None] = lambda: None,
        moved: Callable[[Stage], None] = lambda _stage: None,
        kill: Callable[[], bool] = lambda: False,
        tty: bool = False,
        by_mark: bool = True,
        user: str | None = None,
    ) -> None:
        """Begin it.

        Args:
            sink: The user's; gets all output but the conversation.
            stdin: The user's, for the command.
            marks: As ``wrapping`` gave them.
            answer: Gives the password when it is asked for; ``None`` to give none.
            moved: Is called with each new stage, and again when output comes after an answer.
            kill: Kills the program that waits for an answer; returns whether that is possible. An end of its
                input instead is counted by PAM's modules as one more failed attempt.
            tty: Whether all output comes on one stream, stdout.
            by_mark: Whether prompts carry our mark; else each line without an end is one, once our text runs.
            user: The login's.
        """
        self.stage = Stage.QUIET
        self.repeats = False
        self.whose = self.label = ""
        self._sink = sink
        self._stdin = stdin
        self._marks = marks
        self._answer = answer
        self._moved = moved
        self._kill = kill
        self._tty = tty
        self._by_mark = by_mark
        self._user = user
        self._password: Password | None = None
        self._answer_bytes = 0
        self._changed = asyncio.Event()
        self._since = self._line = b""
        self._ready_left = 2
        self._skips: dict[Stream, bytes | None] = {"stdout": None, "stderr": None}
        self._names: dict[Stream, bytes | None] = {"stdout": None, "stderr": None}
        self._tails: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self._scanners: dict[Stream, Scanner] = {"stdout": Scanner(), "stderr": Scanner()}
        self._look_for(*self._words)

    @property
    def _words(self) -> tuple[bytes, ...]:
        return (*self._marks, self._marks.prompts[1], *TELLTALES)

    # The sink.

    def write(self, stream: Stream, data: bytes) -> None:
        """Take output."""
        if not self._ready_left:
            self._sink.write(stream, data)
            return
        for piece in self._scanners[stream].pieces(data):
            self._take(stream, piece.text, before=piece.word)
            if piece.word is not None:
                self._found(stream, piece.word)
        if not self._ready_left:
            self.end()
        elif self.stage is Stage.ANSWERED or (self.stage is Stage.STARTED and not self._by_mark):
            self._look_at_question(stream)

    @property
    def of_another(self) -> str:
        """The user whose password is asked for, if it is not the login's; else empty."""
        return "" if self._user is None or self.whose == self._user else self.whose

    @property
    def has_answered(self) -> bool:
        """Whether the password was given."""
        return self._answer_bytes > 0

    @property
    def has_begun(self) -> bool:
        """Whether the command runs, or has run."""
        return self.stage is Stage.BEGUN

    def end(self) -> None:
        """No mark comes any more: what looked like the beginning of one was none."""
        for stream, scanner in self._scanners.items():
            self._take(stream, scanner.rest(), before=b"")

    @property
    def tail(self) -> bytes:
        """The end of what was said since sudo was started, without marks."""
        return self._tails["stderr"] or self._tails["stdout"]

    @property
    def last_words(self) -> str:
        """The last line that says something; empty where there is none."""
        lines = [
            line
            for line in self.tail.decode("utf-8", "replace").splitlines()
            if line.strip() and not line.startswith(_SAID_BEFORE)
        ]
        while len(lines) > 1 and lines[-1].endswith(_SAID_ANYWAY):
            del lines[-1]
        return one_line(lines[-1]) if lines else ""

    @property
    def wants_change(self) -> bool:
        """Whether what it asks for besides is a new password."""
        said = f"{self.tail.decode('utf-8', 'replace')}\n{self.label}"
        return self.stage is Stage.MORE and _MUST_CHANGE.search(said) is not None

    @property
    def question(self) -> str:
        """What is asked by a prompt that is not ours; empty where nothing is, as far as can be seen."""
        if self.stage is not Stage.ANSWERED or any(skipped is not None for skipped in self._skips.values()):
            return ""
        return self._unended

    @property
    def _unended(self) -> str:
        """The line that has no end yet, or nothing."""
        for tail in (self._tails["stderr"], self._tails["stdout"]):
            line = tail.rpartition(b"\n")[2].strip(b"\r")
            if line.strip():
                return one_line(line.decode("utf-8", "replace")).strip()
        return ""

    def ask_more(self) -> None:
        """It waits for something else than the password, as nothing more has come for a while."""
        self.label = self._unended
        self._step(Event.QUESTION)

    def _found(self, stream: Stream, word: bytes) -> None:
        if word == self._marks.ready:
            self._begin()
        elif self.has_begun:
            if word != self._marks.here:
                self._sink.write(stream, word)
        elif word == self._marks.here:
            self._tails[stream] = b""
            self._step(Event.START)
        elif word in self._marks.prompts and self._by_mark:
            # What sudo-rs writes behind the mark is PAM's prompt, to the end of the line.
            self._skips[stream] = b"" if word == self._marks.prompts[1] else _ECHO if self._tty else None
            self._names[stream] = b""
            self._asked()
        elif word in TELLTALES:
            self.repeats = True
            self._skips[stream] = b""
        elif word not in self._marks.prompts:
            self._take(stream, SCRUBBED)

    def _begin(self) -> None:
        self._ready_left -= 1
        if self._ready_left:
            self._step(Event.READY)
            if self._password is not None:  # it has not waited for it, and the command is not to get it
                self._password, self._answer_bytes = None, 0
            self._skips = dict.fromkeys(self._skips)
            self._look_for(self._marks.ready, self._marks.here)
        else:
            self._look_for()

    def _asked(self) -> None:
        if self.stage is Stage.ANSWERED:
            self._step(Event.AGAIN if self._since.strip(_ECHO) else Event.QUESTION)
            return
        if self.stage not in {Stage.QUIET, Stage.STARTED}:
            return
        self._step(Event.PROMPT)
        self._password = self._answer()
        if self._password is None:
            self._step(Event.WITHHOLD)
            return
        secret = self._password.reveal().encode()
        self._answer_bytes = len(secret) + 1
        self._look_for(*self._words, *([secret] if secret else []))
        self._tails = dict.fromkeys(self._tails, b"")
        self._step(Event.ANSWER)

    def _look_at_question(self, stream: Stream) -> None:
        """Find a prompt that carries no mark."""
        line = self._tails[stream].rpartition(b"\n")[2]
        if self._by_mark or _COMPLAINT.match(line) or not _QUESTION.search(line):
            self._moved(self.stage)
        elif self.stage is Stage.STARTED and _ONE_TIME.match(line):
            self.ask_more()
        elif self.stage is Stage.STARTED:
            self._tails[stream] = self._line = b""
            self._skips[stream] = _ECHO
            self._asked()
        elif self._skips[stream] is None:
            self.ask_more()

    def _look_for(self, *words: bytes) -> None:
        for scanner in self._scanners.values():
            scanner.look_for(*words)

    def _step(self, event: Event) -> None:
        if event is Event.START and self.stage is not Stage.QUIET:
            return  # on the other stream
        if (self.stage, event) not in TABLE:
            raise IllegalTransition(f"{event} when {self.stage}")
        self.stage = TABLE[self.stage, event]
        self._changed.set()
        self._moved(self.stage)

    def _take(self, stream: Stream, data: bytes, before: bytes | None = None) -> None:
        """Take text that is no mark.

        Args:
            stream: Where it came.
            data: The text.
            before: The mark or the like that follows it.
        """
        if self.has_begun:
            if data:
                self._sink.write(stream, data)
            return
        data = self._without_skipped(stream, self._without_name(stream, data, is_all=before is not None))
        if before in TELLTALES:
            data = data[: data.rfind(b"\n") + 1]
        if not data:
            return
        self._tails[stream] = (self._tails[stream] + data)[-TAIL_BYTES:]
        self._since = (self._since + data)[-TAIL_BYTES:] if self.stage is Stage.ANSWERED else b""
        if self.stage in IS_OVER:
            return
        if not self._by_mark and self.stage is not Stage.QUIET:  # what has no line's end may be a prompt
            lines, end, self._line = (self._line + data).rpartition(b"\n")
            data = (lines + end).lstrip(b"\r\n")
            stream = "stderr"  # the terminal is ours; what doas or su says is none of the command's output
        if data:
            self._sink.write(stream, data)

    def _without_name(self, stream: Stream, data: bytes, *, is_all: bool) -> bytes:
        """``data`` without the name and the semicolon that follow our prompt's mark.

        Args:
            stream: Where it came.
            data: What came.
            is_all: Whether nothing follows that could belong to the name.
        """
        held = self._names[stream]
        if held is None:
            return data
        held += data
        name, end, rest = held.partition(b";")
        is_name = len(name) <= LONGEST_NAME and not name.strip(_ECHO).count(b" ") and b"\n" not in name
        if is_name and not end and not is_all:
            self._names[stream] = held
            return b""
        self._names[stream] = None
        if not (is_name and end):
            return held
        self.whose = one_line(name.decode("utf-8", "replace"))
        return rest

    def _without_skipped(self, stream: Stream, data: bytes) -> bytes:
        """``data`` without what belongs to the prompt before it, if that is not over."""
        skipped = self._skips[stream]
        if skipped is None or not data:
            return data
        line, newline, rest = data.partition(b"\n")
        if self.stage in {Stage.MORE, Stage.REFUSED} and skipped == b"":
            self.label = one_line((self.label + line.decode("utf-8", "replace")).lstrip("] "))
        if skipped and line.strip(skipped):
            self._skips[stream] = None
            return data.lstrip(skipped)
        if newline:
            self._skips[stream] = None
        return rest

    # The standard input.

    async def read(self, offset: int) -> bytes:
        """Some bytes from ``offset``: of the password's line, then of the user's input.

        Raises:
            OSError: The user's cannot be read.
        """
        while True:
            if self._password is not None:
                password, self._password = self._password, None
                # In no variable: an exception would carry this frame.
                return password.reveal().encode() + b"\n"
            if self.stage is Stage.BEGUN:
                return b"" if self._stdin is None else await self._stdin.read(offset - self._answer_bytes)
            if self.stage in IS_OVER:
                if self._kill():
                    await asyncio.sleep(KILLED_S)
                return b""
            self._changed.clear()
            await self._changed.wait()

    async def size(self) -> int:
        """It is not known before sudo has asked, or not: a transport that must know cannot be used.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.ESPIPE, "its size depends on what sudo asks")

    def at(self, offset: int) -> bytes:
        """As ``size``.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.ESPIPE, f"nothing is known of it at {offset}")
