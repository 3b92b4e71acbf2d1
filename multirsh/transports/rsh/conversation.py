"""One host's conversation, from the request to the command's end: bytes in, output and an ending out.

Pure: no socket, no loop, no clock. Two streams feed it, or one where stderr
was not parted from stdout; whatever pieces they come in, and however the two
are interleaved, the same comes out of each.
"""

from __future__ import annotations

import enum

from multirsh.model import Exited
from multirsh.transports.base import Stream
from multirsh.transports.rsh import failures
from multirsh.transports.rsh.failures import Reason
from multirsh.transports.rsh.rcmd import ReplyKind, ReplyParser
from multirsh.transports.rsh.wrapper import LONGEST_PRELUDE, MarkerFinder, Part


class Stage(enum.Enum):
    """How far it is."""

    ASKED = "asked"
    """The request is out; the server has not replied."""
    ACCEPTED = "accepted"
    """It said yes; our script has not begun."""
    READY = "ready"
    """The script waits for its command: we are logged in."""
    RUNNING = "running"
    """It has the command."""
    OVER = "over"
    """The command has ended, or nothing can come of it any more."""


class Conversation:
    """What two streams of bytes mean.

    Attributes:
        stage: How far it is.
        outcome: How the command ended; ``None`` if it did not, or not yet.
        reason: Why there will be no outcome; ``None`` if there is one, or may be.
    """

    def __init__(self, key: bytes, *, is_merged: bool) -> None:
        """Begin with the request.

        Args:
            key: The script's.
            is_merged: Whether stderr comes on the main connection.
        """
        self._reply: ReplyParser | None = ReplyParser()
        self._finders: dict[Stream, MarkerFinder] = (
            {"stdout": MarkerFinder(key, beginnings=2)}
            if is_merged
            else {"stdout": MarkerFinder(key), "stderr": MarkerFinder(key)}
        )
        self._ended: set[Stream] = set()
        self._error: OSError | None = None
        self.stage = Stage.ASKED
        self.outcome: Exited | None = None
        self.reason: Reason | None = None

    @property
    def is_broken(self) -> bool:
        """Whether a stream has ended too early: the other one may still say something, but not for long."""
        return self.stage is not Stage.OVER and any(
            self._finders[stream].part is not Part.AFTER for stream in self._ended
        )

    def order(self) -> None:
        """The command was sent.

        Raises:
            RuntimeError: The script does not wait for one.
        """
        if self.stage is not Stage.READY:
            raise RuntimeError(f"no command is waited for: {self.stage.value}")
        self.stage = Stage.RUNNING

    def receive(self, stream: Stream, data: bytes) -> bytes:
        """Take what came on a stream.

        Returns:
            The command's output in it.
        """
        if self.stage is Stage.OVER:
            return b""
        if stream == "stdout" and self._reply is not None:
            reply = self._reply.feed(data)
            if reply is None:
                return b""
            self._reply = None
            if reply.answer is not ReplyKind.ACCEPTED:
                words = failures.refused if reply.answer is ReplyKind.REFUSED else failures.not_rsh
                self.fail(words(reply.text))
                return b""
            self.stage = Stage.ACCEPTED
            data = reply.rest
        finder = self._finders[stream]
        output = finder.feed(data)
        if finder.part is Part.BEFORE and len(finder.prelude) > LONGEST_PRELUDE:
            self.fail(failures.too_much_said(LONGEST_PRELUDE))
        else:
            self._go_on()
        return output

    def end(self, stream: Stream, error: OSError | None) -> bytes:
        """A stream has ended.

        Args:
            stream: Which.
            error: Why, if not by the remote's FIN.

        Returns:
            Output of the command that was held back, as it could have been a marker.
        """
        if self.stage is Stage.OVER:
            return b""
        self._ended.add(stream)
        self._error = self._error or error
        if stream == "stdout" and self._reply is not None:
            reply = self._reply.end()
            if reply is not None:
                self.fail(failures.refused(reply.text))
                return b""
        output = self._finders[stream].end()
        if all(name in self._ended or finder.part is Part.AFTER for name, finder in self._finders.items()):
            self.give_up()
        return output

    def give_up(self) -> None:
        """No more is waited for: it is over, without an outcome."""
        match self.stage:
            case Stage.ASKED:
                self.fail(failures.no_answer(self._error))
            case Stage.ACCEPTED:
                words = b"\n".join(finder.prelude for finder in self._finders.values())
                self.fail(failures.not_begun(words, self._error))
            case Stage.READY:
                self.fail(failures.gone_before_command(self._error))
            case Stage.RUNNING:
                self.fail(failures.no_status(self._error))
            case Stage.OVER:
                pass

    def _go_on(self) -> None:
        parts = {finder.part for finder in self._finders.values()}
        if self.stage is Stage.ACCEPTED and Part.BEFORE not in parts:
            self.stage = Stage.READY
        if parts == {Part.AFTER}:
            if self.stage is Stage.RUNNING:
                self.stage = Stage.OVER
                self.outcome = self._finders["stdout"].outcome
            else:
                self.fail(failures.ended_unasked())

    def fail(self, reason: Reason) -> None:
        """It is over, and this is why; the first to say so is right."""
        if self.stage is Stage.OVER:
            return
        self.stage = Stage.OVER
        self.reason = reason
