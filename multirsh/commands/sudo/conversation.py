"""What sudo says before the command begins, and what it is answered; then the command's own input and output.

It stands between a connection and the user's ends of a command, as the
``Sink`` and the ``Stdin`` of ``transports.base``::

    remote's output ──▶ write() ─ marks taken out ──▶ the user's sink
    remote's input ◀── read()  ◀─ the password, if our prompt was seen
                               ◀─ the user's input, once the command has begun
"""

from __future__ import annotations

import asyncio
import enum
import errno
from collections.abc import Callable, Mapping
from typing import Final

from multirsh.commands.sudo.scanner import Scanner
from multirsh.commands.sudo.wrapping import Marks
from multirsh.errors import IllegalTransition
from multirsh.transports.base import Sink, Stdin, Stream
from multirsh.transports.passwords import Password
from multirsh.transports.words import one_line

SCRUBBED: Final = b"***"
"""In place of the password, where a host writes it before the command begins."""

TAIL_BYTES: Final = 2048
"""Of sudo's words kept for a message."""

HELD_BYTES: Final = 64 * 1024
"""Of output kept back at the most, where it is not known yet whether anybody is to see it."""


SAID_ANYWAY: Final = "a password is required"
"""What sudo adds where it has said before what is wrong, such as that an account has expired."""


class Stage(enum.Enum):
    """Where the conversation is."""

    QUIET = "quiet"
    """sudo has neither asked nor begun."""
    ASKED = "asked"
    """It has asked for the password."""
    ANSWERED = "answered"
    """It was given it."""
    REFUSED = "refused"
    """It has asked again."""
    WITHHELD = "withheld"
    """It has asked, and is not given it."""
    BEGUN = "begun"
    """The command runs."""


class Event(enum.Enum):
    """What moves it on."""

    PROMPT = "prompt"
    READY = "ready"
    ANSWER = "answer"
    WITHHOLD = "withhold"


TABLE: Final[Mapping[tuple[Stage, Event], Stage]] = {
    (Stage.QUIET, Event.PROMPT): Stage.ASKED,
    (Stage.ASKED, Event.PROMPT): Stage.ASKED,
    (Stage.ANSWERED, Event.PROMPT): Stage.REFUSED,
    (Stage.REFUSED, Event.PROMPT): Stage.REFUSED,
    (Stage.WITHHELD, Event.PROMPT): Stage.WITHHELD,
    (Stage.ASKED, Event.ANSWER): Stage.ANSWERED,
    (Stage.ASKED, Event.WITHHOLD): Stage.WITHHELD,
    **{(stage, Event.READY): Stage.BEGUN for stage in Stage if stage is not Stage.BEGUN},
}
"""After ``BEGUN`` nothing is looked for any more."""

_INPUT_ENDS: Final = frozenset({Stage.REFUSED, Stage.WITHHELD})


class Conversation:
    """Of one attempt to run a command by sudo.

    Attributes:
        stage: Where it is.
        tail: The end of what sudo has written, without marks.
    """

    def __init__(
        self,
        sink: Sink,
        stdin: Stdin | None,
        marks: Marks,
        *,
        answer: Callable[[], Password | None] = lambda: None,
        moved: Callable[[Stage], None] = lambda _stage: None,
        tty: bool = False,
        holds: bool = False,
    ) -> None:
        """Begin it.

        Args:
            sink: The user's; gets all output but the marks, and what sudo says once its answer is no.
            stdin: The user's, for the command.
            marks: As ``wrapping`` gave them to sudo.
            answer: Gives the password when sudo asks; ``None`` to give it none.
            moved: Told of each new stage.
            tty: Whether all output comes on one stream, stdout.
            holds: Whether output is kept back until the command begins.
        """
        self.stage = Stage.QUIET
        self.tail = b""
        self._sink = sink
        self._stdin = stdin
        self._marks = marks
        self._answer = answer
        self._moved = moved
        self._tty = tty
        self._holds = holds
        self._held: list[tuple[Stream, bytes]] = []
        self._held_bytes = 0
        self._password: Password | None = None
        self._answer_bytes = 0
        self._awaits_newline = False
        self._changed = asyncio.Event()
        self._sudos: Stream = "stdout" if tty else "stderr"
        self._scanners: dict[Stream, Scanner] = {"stdout": Scanner(), "stderr": Scanner()}
        self._scanners[self._sudos].look_for(*marks)

    # The sink.

    def write(self, stream: Stream, data: bytes) -> None:
        """Take output."""
        if self.has_begun:
            self._sink.write(stream, data)
            return
        for piece in self._scanners[stream].pieces(data):
            self._pass_on(stream, piece.text)
            if piece.word is not None:
                self._found(stream, piece.word)
            if self.has_begun:
                self._pass_on(stream, self._scanners[stream].rest())
                return

    @property
    def has_begun(self) -> bool:
        """Whether the command runs, or has run."""
        return self.stage is Stage.BEGUN

    def end(self) -> None:
        """The remote has ended: what looked like the beginning of a mark was none."""
        for stream, scanner in self._scanners.items():
            self._pass_on(stream, scanner.rest())

    def release(self) -> None:
        """Hand on what was held."""
        self._holds = False
        held, self._held = self._held, []
        for stream, data in held:
            self._sink.write(stream, data)

    @property
    def last_words(self) -> str:
        """sudo's last line, for people; empty where it said nothing."""
        lines = [line for line in self.tail.decode("utf-8", "replace").splitlines() if line.strip()]
        if len(lines) > 1 and lines[-1].endswith(SAID_ANYWAY) and lines[-2].startswith("sudo:"):
            del lines[-1]
        return one_line(lines[-1]) if lines else ""

    def _found(self, stream: Stream, word: bytes) -> None:
        if stream == self._sudos and word == self._marks.prompt:
            self._asked()
        elif stream == self._sudos and word == self._marks.ready:
            self._step(Event.READY)
            if self._password is not None:  # it has not waited for it, and the command is not to get it
                self._password, self._answer_bytes = None, 0
            for other, scanner in self._scanners.items():
                scanner.look_for()
                if other != stream:
                    self._pass_on(other, scanner.rest())
            self.release()
        else:
            self._pass_on(stream, SCRUBBED)

    def _asked(self) -> None:
        self._step(Event.PROMPT)
        if self.stage is not Stage.ASKED:
            return
        self._password = self._answer()
        if self._password is None:
            self._step(Event.WITHHOLD)
            return
        self._look_for(self._password.reveal().encode())
        self._awaits_newline = self._tty
        self._step(Event.ANSWER)

    def _look_for(self, secret: bytes) -> None:
        self._answer_bytes = len(secret) + 1
        for stream, scanner in self._scanners.items():
            marks = self._marks if stream == self._sudos else ()
            scanner.look_for(*marks, *([secret] if secret else []))

    def _step(self, event: Event) -> None:
        if (self.stage, event) not in TABLE:
            raise IllegalTransition(f"{event} when {self.stage}")
        self.stage = TABLE[self.stage, event]
        self._changed.set()
        self._moved(self.stage)

    def _pass_on(self, stream: Stream, data: bytes) -> None:
        if self._awaits_newline and data:
            # sudo's own, in place of the one that was typed unseen.
            self._awaits_newline = False
            data = data.removeprefix(b"\r").removeprefix(b"\n")
        if not data:
            return
        if stream == self._sudos and not self.has_begun:
            self.tail = (self.tail + data)[-TAIL_BYTES:]
        if self.stage in _INPUT_ENDS:
            return
        if not self._holds:
            self._sink.write(stream, data)
            return
        self._held.append((stream, data))
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES:
            self.release()

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
            if self.stage in _INPUT_ENDS:
                return b""
            self._changed.clear()
            await self._changed.wait()

    async def size(self) -> int:
        """Nobody knows before sudo has asked, or not: a transport that must know cannot be used.

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
