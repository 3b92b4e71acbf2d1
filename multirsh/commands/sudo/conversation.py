"""The conversation with sudo, doas or su before the command begins; after that, the command's own streams.

It stands between a connection and the command's streams, as the ``Sink`` and
the ``Stdin`` of ``transports.base``::

    remote's output ──▶ write() ─ marks removed ──▶ the user's sink
    remote's input ◀── read()  ◀─ the password, once our prompt was seen
                               ◀─ the user's input, once the command has begun

Marks are looked for on both streams: a start-up file or a forced command may
have merged or discarded one of them.
"""

from __future__ import annotations

import asyncio
import enum
import errno
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from multirsh.commands.sudo.wrapping import ECHO_SIGNS, Marks
from multirsh.errors import IllegalTransition
from multirsh.transports.base import Sink, Stdin, Stream
from multirsh.transports.messages import one_line
from multirsh.transports.passwords import Password

SCRUBBED: Final = b"***"
"""Replaces the password if a host writes it before the command begins."""

TAIL_BYTES: Final = 2048
"""Bytes of each stream that are kept for messages."""

KILL_TIMEOUT_S: Final = 2.0
"""Seconds that a killed program has to end; after that its input ends instead."""

LONGEST_NAME: Final = 256
"""The longest user name, in bytes (LOGIN_NAME_MAX, limits.h)."""

_REDUNDANT_ENDS: Final = (
    "a password is required",
    "error initializing audit plugin sudoers_audit",
    "This incident has been reported to the administrator.",
)
"""What sudo adds after it has said what is wrong, such as that an account has expired."""

_HARMLESS_START: Final = "sudo: unable to resolve host"
"""A warning of sudo's that does not concern us."""

_PROMPT_END: Final = re.compile(b"(:|\xef\xbc\x9a)\\s?\\Z")
"""The end of a prompt of doas, su or PAM in any language (U+FF1A is a colon, too)."""

_ERROR_START: Final = re.compile(rb"\A\r?(sudo|doas|su|[a-z]*sh): ?")
"""The beginning of an error message (err(3)). Its parts end in colons, and may arrive separately."""

_ONE_TIME_CODE: Final = re.compile(
    rb"\A(?!\r?doas \().*\b(one.time|otp|token|verification|passcode|yubikey|pin|code)\b", re.IGNORECASE
)
"""A question for something other than the password, which pam_oath(8), pam_google_authenticator(8),
pam_yubico(8) and others may ask first. doas's own prompt is excluded, since it contains the user's name,
which may be anything."""

_PASSWORD_CHANGE: Final = re.compile(
    r"(current|old|new)\b.*password|password.*expired|must.*change", re.IGNORECASE
)
"""In the questions of PAM's modules (pam_chauthtok(3)), and in what sudo writes before them."""

_ECHO: Final = b"*\b \r\n"
"""What a terminal shows while a password is typed: sudo's pwfeedback, and the end of the line."""


class Piece(NamedTuple):
    """A piece of a stream, up to the next mark.

    Attributes:
        text: What comes before the mark.
        mark: The mark that ends the piece; ``None`` if there is none yet.
    """

    text: bytes
    mark: bytes | None


class MarkScanner:
    """Finds marks in a stream that arrives in pieces; holds back only what may be the start of a mark."""

    def __init__(self, *marks: bytes) -> None:
        """Look for ``marks``, none of which is empty."""
        self._held = b""
        self.look_for(*marks)

    def look_for(self, *marks: bytes) -> None:
        """Look for these marks from now on, and for no others."""
        self._marks = marks
        # Of two marks that begin alike, the longer one has to be found.
        longest_first = sorted(marks, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def pieces(self, data: bytes) -> Iterator[Piece]:
        """Split ``data`` at marks. The marks may be changed between two pieces."""
        self._held += data
        while (found := self._pattern.search(self._held)) is not None and found[0]:
            text, self._held = self._held[: found.start()], self._held[found.end() :]
            yield Piece(text, found[0])
        keep = self._partial_mark()
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if text:
            yield Piece(text, None)

    def rest(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        rest, self._held = self._held, b""
        return rest

    def _partial_mark(self) -> int:
        """How many bytes at the end may be the beginning of a mark."""
        for count in range(min(len(self._held), max(map(len, self._marks), default=1) - 1), 0, -1):
            end = self._held[-count:]
            if any(mark.startswith(end) for mark in self._marks):
                return count
        return 0


class SudoState(enum.Enum):
    """The state of the conversation. "sudo" means doas and su as well."""

    QUIET = "quiet"
    """Nothing shows that the login shell has reached our text."""
    STARTED = "started"
    """sudo has been started."""
    PROMPTED = "prompted"
    """sudo has asked for the password."""
    ANSWERED = "answered"
    """The password has been sent."""
    REFUSED = "refused"
    """sudo has complained and asked again."""
    EXTRA_QUESTION = "extra question"
    """sudo has asked for something else without a complaint: a second factor, or a new password."""
    WITHHELD = "withheld"
    """sudo has asked for the password, and does not get it."""
    BEGUN = "begun"
    """The command runs."""


class SudoEvent(enum.Enum):
    """What changes the state."""

    START = "start"
    PROMPT = "prompt"
    PROMPT_AGAIN = "prompt again"
    QUESTION = "question"
    READY = "ready"
    ANSWER = "answer"
    WITHHOLD = "withhold"


TRANSITIONS: Final[Mapping[tuple[SudoState, SudoEvent], SudoState]] = {
    (SudoState.QUIET, SudoEvent.START): SudoState.STARTED,
    (SudoState.QUIET, SudoEvent.PROMPT): SudoState.PROMPTED,
    (SudoState.STARTED, SudoEvent.PROMPT): SudoState.PROMPTED,
    (SudoState.PROMPTED, SudoEvent.ANSWER): SudoState.ANSWERED,
    (SudoState.PROMPTED, SudoEvent.WITHHOLD): SudoState.WITHHELD,
    (SudoState.STARTED, SudoEvent.QUESTION): SudoState.EXTRA_QUESTION,
    (SudoState.ANSWERED, SudoEvent.PROMPT_AGAIN): SudoState.REFUSED,
    (SudoState.ANSWERED, SudoEvent.QUESTION): SudoState.EXTRA_QUESTION,
    **{(state, SudoEvent.READY): SudoState.BEGUN for state in SudoState if state is not SudoState.BEGUN},
}
"""Output that is none of these events changes nothing."""

UNANSWERED: Final = frozenset({SudoState.REFUSED, SudoState.EXTRA_QUESTION, SudoState.WITHHELD})
"""The states in which sudo waits for an answer that it will not get."""


class SudoConversation:
    """The conversation of one attempt to run a command as another user.

    Attributes:
        state: Its state.
        is_echoed: Whether our own text came back: sudo does not allow it, or the login shell cannot read it.
        password_owner: The user whose password sudo asks for, if sudo said so; otherwise empty.
        extra_question: What was asked besides the password, as far as it could be read; otherwise empty.
    """

    def __init__(
        self,
        sink: Sink,
        stdin: Stdin | None,
        marks: Marks,
        *,
        answer: Callable[[], Password | None] = lambda: None,
        on_progress: Callable[[SudoState], None] = lambda _state: None,
        kill: Callable[[], bool] = lambda: False,
        tty: bool = False,
        has_marked_prompt: bool = True,
        user: str | None = None,
    ) -> None:
        """Begin the conversation.

        Args:
            sink: Receives all output except the conversation itself.
            stdin: The command's standard input.
            marks: The marks that the wrapped command writes.
            answer: Returns the password when sudo asks for it; ``None`` to withhold it.
            on_progress: Called with each new state, and again when output follows an answer.
            kill: Kills the program that waits for an answer; returns whether that is possible. To end its
                input instead would count as one more failed attempt in PAM's modules.
            tty: Whether all output arrives on stdout.
            has_marked_prompt: Whether the prompt is our mark. If not, each unfinished line counts as a
                prompt, once our text runs.
            user: The user that is logged in.
        """
        self.state = SudoState.QUIET
        self.is_echoed = False
        self.password_owner = self.extra_question = ""
        self._sink = sink
        self._stdin = stdin
        self._marks = marks
        self._answer = answer
        self._on_progress = on_progress
        self._kill = kill
        self._tty = tty
        self._has_marked_prompt = has_marked_prompt
        self._user = user
        self._password: Password | None = None
        self._answer_bytes = 0
        self._changed = asyncio.Event()
        self._since_answer = self._line = b""
        self._ready_left = 2
        self._skips: dict[Stream, bytes | None] = {"stdout": None, "stderr": None}
        self._names: dict[Stream, bytes | None] = {"stdout": None, "stderr": None}
        self._tails: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self._scanners: dict[Stream, MarkScanner] = {"stdout": MarkScanner(), "stderr": MarkScanner()}
        self._look_for(*self._all_marks)

    @property
    def _all_marks(self) -> tuple[bytes, ...]:
        return (*self._marks, self._marks.prompts[1], *ECHO_SIGNS)

    # The sink.

    def write(self, stream: Stream, data: bytes) -> None:
        """Receive output."""
        if not self._ready_left:
            self._sink.write(stream, data)
            return
        for piece in self._scanners[stream].pieces(data):
            self._take(stream, piece.text, before=piece.mark)
            if piece.mark is not None:
                self._found(stream, piece.mark)
        if not self._ready_left:
            self.end()
        elif self.state is SudoState.ANSWERED or (
            self.state is SudoState.STARTED and not self._has_marked_prompt
        ):
            self._look_for_question(stream)

    @property
    def other_owner(self) -> str:
        """The user whose password sudo asks for, if it is not the logged-in user; otherwise empty."""
        return "" if self._user is None or self.password_owner == self._user else self.password_owner

    @property
    def has_answered(self) -> bool:
        """Whether the password was sent."""
        return self._answer_bytes > 0

    @property
    def has_begun(self) -> bool:
        """Whether the command runs, or has run."""
        return self.state is SudoState.BEGUN

    def end(self) -> None:
        """Expect no more marks: pass on what was held back as the possible beginning of one."""
        for stream, scanner in self._scanners.items():
            self._take(stream, scanner.rest(), before=b"")

    @property
    def tail(self) -> bytes:
        """The end of the output since sudo was started, without marks."""
        return self._tails["stderr"] or self._tails["stdout"]

    @property
    def last_line(self) -> str:
        """The last line that says something; empty if there is none."""
        lines = [
            line
            for line in self.tail.decode("utf-8", "replace").splitlines()
            if line.strip() and not line.startswith(_HARMLESS_START)
        ]
        while len(lines) > 1 and lines[-1].endswith(_REDUNDANT_ENDS):
            del lines[-1]
        return one_line(lines[-1]) if lines else ""

    @property
    def wants_new_password(self) -> bool:
        """Whether the extra question is for a new password."""
        output = f"{self.tail.decode('utf-8', 'replace')}\n{self.extra_question}"
        return self.state is SudoState.EXTRA_QUESTION and _PASSWORD_CHANGE.search(output) is not None

    @property
    def question(self) -> str:
        """A prompt after the answer that is not ours; empty if there seems to be none."""
        if self.state is not SudoState.ANSWERED or any(skip is not None for skip in self._skips.values()):
            return ""
        return self._unfinished_line

    @property
    def _unfinished_line(self) -> str:
        for tail in (self._tails["stderr"], self._tails["stdout"]):
            line = tail.rpartition(b"\n")[2].strip(b"\r")
            if line.strip():
                return one_line(line.decode("utf-8", "replace")).strip()
        return ""

    def assume_question(self) -> None:
        """Take the unfinished line as an extra question, since nothing has followed it for a while."""
        self.extra_question = self._unfinished_line
        self._step(SudoEvent.QUESTION)

    def _found(self, stream: Stream, mark: bytes) -> None:
        if mark == self._marks.ready:
            self._begin()
        elif self.has_begun:
            if mark != self._marks.started:
                self._sink.write(stream, mark)
        elif mark == self._marks.started:
            self._tails[stream] = b""
            self._step(SudoEvent.START)
        elif mark in self._marks.prompts and self._has_marked_prompt:
            # After the mark, sudo-rs writes PAM's own prompt, up to the end of the line.
            is_rs = mark == self._marks.prompts[1]
            self._skips[stream] = b"" if is_rs else _ECHO if self._tty else None
            self._names[stream] = b""
            self._prompted()
        elif mark in ECHO_SIGNS:
            self.is_echoed = True
            self._skips[stream] = b""
        elif mark not in self._marks.prompts:
            self._take(stream, SCRUBBED)

    def _begin(self) -> None:
        self._ready_left -= 1
        if self._ready_left:
            self._step(SudoEvent.READY)
            if self._password is not None:  # sudo has not waited for it, and the command must not get it
                self._password, self._answer_bytes = None, 0
            self._skips = dict.fromkeys(self._skips)
            self._look_for(self._marks.ready, self._marks.started)
        else:
            self._look_for()

    def _prompted(self) -> None:
        if self.state is SudoState.ANSWERED:
            has_complained = bool(self._since_answer.strip(_ECHO))
            self._step(SudoEvent.PROMPT_AGAIN if has_complained else SudoEvent.QUESTION)
            return
        if self.state not in {SudoState.QUIET, SudoState.STARTED}:
            return
        self._step(SudoEvent.PROMPT)
        self._password = self._answer()
        if self._password is None:
            self._step(SudoEvent.WITHHOLD)
            return
        secret = self._password.reveal().encode()
        self._answer_bytes = len(secret) + 1
        self._look_for(*self._all_marks, *([secret] if secret else []))
        self._tails = dict.fromkeys(self._tails, b"")
        self._step(SudoEvent.ANSWER)

    def _look_for_question(self, stream: Stream) -> None:
        """Find a prompt that is not our mark."""
        line = self._tails[stream].rpartition(b"\n")[2]
        if self._has_marked_prompt or _ERROR_START.match(line) or not _PROMPT_END.search(line):
            self._on_progress(self.state)
        elif self.state is SudoState.STARTED and _ONE_TIME_CODE.match(line):
            self.assume_question()
        elif self.state is SudoState.STARTED:
            self._tails[stream] = self._line = b""
            self._skips[stream] = _ECHO
            self._prompted()
        elif self._skips[stream] is None:
            self.assume_question()

    def _look_for(self, *marks: bytes) -> None:
        for scanner in self._scanners.values():
            scanner.look_for(*marks)

    def _step(self, event: SudoEvent) -> None:
        if event is SudoEvent.START and self.state is not SudoState.QUIET:
            return  # the same mark on the other stream
        if (self.state, event) not in TRANSITIONS:
            raise IllegalTransition(f"{event} when {self.state}")
        self.state = TRANSITIONS[self.state, event]
        self._changed.set()
        self._on_progress(self.state)

    def _take(self, stream: Stream, data: bytes, before: bytes | None = None) -> None:
        """Receive text that is not a mark.

        Args:
            stream: Its stream.
            data: The text.
            before: The mark that follows it, if any.
        """
        if self.has_begun:
            if data:
                self._sink.write(stream, data)
            return
        data = self._without_skipped(stream, self._without_name(stream, data, is_all=before is not None))
        if before in ECHO_SIGNS:
            data = data[: data.rfind(b"\n") + 1]
        if not data:
            return
        self._tails[stream] = (self._tails[stream] + data)[-TAIL_BYTES:]
        is_answered = self.state is SudoState.ANSWERED
        self._since_answer = (self._since_answer + data)[-TAIL_BYTES:] if is_answered else b""
        if self.state in UNANSWERED:
            return
        if (
            not self._has_marked_prompt and self.state is not SudoState.QUIET
        ):  # an unfinished line may be a prompt
            lines, end, self._line = (self._line + data).rpartition(b"\n")
            data = (lines + end).lstrip(b"\r\n")
            stream = "stderr"  # the terminal is ours, and what doas or su writes is not the command's output
        if data:
            self._sink.write(stream, data)

    def _without_name(self, stream: Stream, data: bytes, *, is_all: bool) -> bytes:
        """Remove the name and the semicolon that follow our prompt's mark.

        Args:
            stream: The stream of ``data``.
            data: The text.
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
        self.password_owner = one_line(name.decode("utf-8", "replace"))
        return rest

    def _without_skipped(self, stream: Stream, data: bytes) -> bytes:
        """Remove what still belongs to the prompt before ``data``."""
        skipped = self._skips[stream]
        if skipped is None or not data:
            return data
        line, newline, rest = data.partition(b"\n")
        if self.state in {SudoState.EXTRA_QUESTION, SudoState.REFUSED} and skipped == b"":
            text = self.extra_question + line.decode("utf-8", "replace")
            self.extra_question = one_line(text.lstrip("] "))
        if skipped and line.strip(skipped):
            self._skips[stream] = None
            return data.lstrip(skipped)
        if newline:
            self._skips[stream] = None
        return rest

    # The standard input.

    async def read(self, offset: int) -> bytes:
        """Return some bytes from ``offset``: of the password's line, then of the user's input.

        Raises:
            OSError: The user's input cannot be read.
        """
        while True:
            if self._password is not None:
                password, self._password = self._password, None
                # Not kept in a variable: an exception would carry this frame.
                return password.reveal().encode() + b"\n"
            if self.state is SudoState.BEGUN:
                return b"" if self._stdin is None else await self._stdin.read(offset - self._answer_bytes)
            if self.state in UNANSWERED:
                if self._kill():
                    await asyncio.sleep(KILL_TIMEOUT_S)
                return b""
            self._changed.clear()
            await self._changed.wait()

    async def size(self) -> int:
        """Not known before sudo has asked or not: a transport that needs the size cannot be used.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.ESPIPE, "its size depends on what sudo asks")

    def at(self, offset: int) -> bytes:
        """Not possible, like ``size``.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.ESPIPE, f"its content at {offset} depends on what sudo asks")
