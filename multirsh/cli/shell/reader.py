"""Where lines come from: a person at a terminal, or a file or pipe."""

from __future__ import annotations

import os
from typing import Final, Protocol

from multirsh.cli.process import STDERR, STDIN
from multirsh.transports.threads import in_daemon_thread

CHUNK: Final = 65536


class Reader(Protocol):
    """A source of lines."""

    @property
    def is_person(self) -> bool:
        """Whether somebody sits there who reads what we say, and may answer."""

    async def read(self, prompt: tuple[str, str], *, is_line_ours: bool) -> str | None:
        """The next line, without its end; ``None`` at the end.

        Args:
            prompt: Shown before it, where a person is.
            is_line_ours: Whether nobody has written to the cursor's line, so that what stands there is only
                the echo of what was typed ahead.
        """

    def drop_ahead(self) -> bool:
        """Forget what a person has typed that was not yet asked for; whether there was something."""


class Lines:
    """Standard input, line by line."""

    is_person = False

    def __init__(self) -> None:
        self._rest = bytearray()

    async def read(self, prompt: tuple[str, str], *, is_line_ours: bool) -> str | None:  # noqa: ARG002 - not seen
        """The next line."""
        while b"\n" not in self._rest:
            more = await in_daemon_thread(lambda: os.read(STDIN, CHUNK), name="multirsh-shell-lines")
            if not more:
                last, self._rest = bytes(self._rest), bytearray()
                return os.fsdecode(last) if last else None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return os.fsdecode(bytes(line.removesuffix(b"\r")))

    def drop_ahead(self) -> bool:
        """Nothing: nobody types."""
        return False


def is_terminal() -> bool:
    """Whether a person can be prompted: the prompt goes to stderr, since stdout carries remote output."""
    return os.isatty(STDIN) and os.isatty(STDERR)
