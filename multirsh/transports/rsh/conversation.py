"""What passes between multirsh and one rsh server, from the request to the end of the command.

Pure: bytes go in, output and an outcome come out, without a socket, a loop or
a clock. It reads two streams, or one if stderr is merged into stdout. The
result does not depend on how the streams are cut into pieces, nor on how the
two are interleaved.
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
    """The stages of a conversation."""

    ASKED = "asked"
    """The request was sent, and the server has not replied."""
    ACCEPTED = "accepted"
    """The server has accepted the request, and the script has not begun."""
    READY = "ready"
    """The script waits for its command: the login is complete."""
    RUNNING = "running"
    """The command was sent."""
    OVER = "over"
    """The command has ended, or its outcome cannot arrive any more."""


class Conversation:
    """Interprets the streams of one connection.

    Attributes:
        stage: The stage that was reached.
        outcome: How the command ended; ``None`` if it has not.
        reason: Why there cannot be an outcome; ``None`` if there is one, or may be.
    """

    def __init__(self, key: bytes, *, is_merged: bool) -> None:
        """Begin when the request is sent.

        Args:
            key: The key of the script, as given to ``wrapper.line``.
            is_merged: Whether stderr arrives on the main connection.
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
        """Whether a stream has ended too early. The other may still say why, but only for a short time."""
        return self.stage is not Stage.OVER and any(
            self._finders[stream].part is not Part.AFTER for stream in self._ended
        )

    def order(self) -> None:
        """Note that the command was sent.

        Raises:
            RuntimeError: The script does not wait for a command.
        """
        if self.stage is not Stage.READY:
            raise RuntimeError(f"the script does not wait for a command: {self.stage.value}")
        self.stage = Stage.RUNNING

    def receive(self, stream: Stream, data: bytes) -> bytes:
        """Take bytes that a stream received.

        Returns:
            The output of the command in them.
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
        """Note that a stream has ended.

        Args:
            stream: The stream.
            error: The error that ended it; ``None`` for the remote's FIN.

        Returns:
            Output of the command that was held back because it could have been part of a marker.
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
        """End the conversation without an outcome, and say why by its stage."""
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
        """End the conversation for ``reason``; the first reason counts."""
        if self.stage is Stage.OVER:
            return
        self.stage = Stage.OVER
        self.reason = reason
