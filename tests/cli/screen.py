"""A terminal that answers as real ones do, and shows a screen: tmux(1)."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.cli.program import Program
from tests.servers.requirement import program as tool

PATIENCE_S: Final = 45.0
HISTORY: Final = "-1000"


class Screen:
    """One program in a tmux of its own; it ends with it.

    Args:
        program: Whose home and environment it has.
        argv: What runs in it; how that exits is shown as ``ended N``.
        folder: For the socket.
    """

    def __init__(self, program: Program, argv: Sequence[str], folder: Path) -> None:
        self._tmux = [str(tool("tmux", package="tmux")), "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._environ = program.environ | {"NO_COLOR": "1"}
        # Ctrl-C is for the program; a shell that waits for it would end with it.
        command = f"trap : INT; {shlex.join(argv)}; echo ended $?; exec sleep {PATIENCE_S:.0f}"
        self._tell("new-session", "-d", "-x", "100", "-y", "40", "-c", str(program.home), "sh", "-c", command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(subprocess.CalledProcessError):  # hung up
            self._tell("kill-server")

    def hang_up(self) -> None:
        """Take the terminal away."""
        self._tell("kill-server")

    def line(self, text: str) -> None:
        """Type a line."""
        self.type(text)
        self.key("Enter")

    def type(self, text: str) -> None:
        """Type, without the end of a line."""
        self._tell("send-keys", "-l", "--", text)

    def paste(self, text: str) -> None:
        """Paste, as a terminal does for programs that can tell it from typing (bracketed paste)."""
        self._tell("set-buffer", "--", text)
        self._tell("paste-buffer", "-p", "-r")

    def key(self, name: str) -> None:
        """Press a key, as tmux calls it: ``C-c``, ``Tab``, ``Up``."""
        self._tell("send-keys", name)

    @property
    def shown(self) -> str:
        """What is on it and what has left it above, lines that were too long in one."""
        return self._tell("capture-pane", "-p", "-J", "-S", HISTORY).rstrip()

    def expect(self, pattern: str) -> str:
        """Wait until ``pattern``, whose ``$`` is the end of a line, is shown; all that is, then.

        Raises:
            AssertionError: It is not in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, shown := self.shown, re.MULTILINE):
            assert time.monotonic() < deadline, f"no {pattern!r} in\n{shown}"
            time.sleep(0.02)
        return shown

    def _tell(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], check=True, capture_output=True, text=True, env=self._environ
        )
        return done.stdout
