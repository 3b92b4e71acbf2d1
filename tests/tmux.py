"""A window of a real terminal emulator, tmux(1): what a person would see in it, whatever was written."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tests.program import MULTIRSH, Program
from tests.servers.requirement import program as installed
from tests.waiting import HANG_GUARD_S

LOOKED_S: Final = 0.02
SCROLLED: Final = "-1000"
"""So many lines of what has left the window at its top are looked at, too."""


class Window:
    """One program in a tmux of its own. Ends as a context manager does.

    Args:
        program: Whose home and environment it has.
        argv: What runs in it; how that exits is shown as ``ended N``. By default a bash in which ``multirsh``
            is the program.
        columns: How wide it is.
        lines: How high.
    """

    def __init__(
        self, program: Program, argv: Sequence[str] = (), *, columns: int = 100, lines: int = 40
    ) -> None:
        # Not below the test's own folder: the path of a socket has 107 characters at the most (unix(7)).
        self._folder = tempfile.TemporaryDirectory(prefix="multirsh-tmux-")
        tmux = str(installed("tmux", package="tmux"))
        self._tmux = [tmux, "-S", f"{self._folder.name}/s", "-f", "/dev/null"]
        self._environ = program.environ | {"TERM": "xterm-256color", "NO_COLOR": "1"}
        self._home = program.home
        size = ("-x", str(columns), "-y", str(lines))
        if argv:
            # Ctrl-C is for the program; a shell that waits for it would end with it.
            command = f"trap : INT; {shlex.join(argv)}; echo ended $?; exec sleep {HANG_GUARD_S:.0f}"
            self._tell("new-session", "-d", *size, "sh", "-c", command)
        else:
            function = f'multirsh() {{ {" ".join(MULTIRSH)} "$@"; }}\n'
            rc = program.write("tmux-bashrc", f"{function}PS1='$ '\n")
            self._tell("new-session", "-d", *size, "bash", "--noprofile", "--rcfile", str(rc), "-i")
            self.expect(r"^\$")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(subprocess.CalledProcessError):  # hung up
            self.hang_up()
        self._folder.cleanup()

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

    def resize(self, columns: int, lines: int) -> None:
        """Make it wider or narrower."""
        self._tell("resize-window", "-x", str(columns), "-y", str(lines))

    @property
    def screen(self) -> str:
        """What is on it: lines without blanks at their ends, and lines that were too long for it as one."""
        return self._captured()

    @property
    def shown(self) -> str:
        """The same with what has left it above, and without the empty lines at the end."""
        return self._captured("-S", SCROLLED).rstrip()

    def expect(self, pattern: str, *, scrolled: bool = True) -> str:
        """Wait until ``pattern``, whose ``$`` is the end of a line, is shown.

        Args:
            pattern: A regular expression.
            scrolled: Whether it may have left the window by now.

        Returns:
            ``shown``, or, if it may not, ``screen``.

        Raises:
            AssertionError: It is not in time; what is shown is in the message.
        """
        deadline = time.monotonic() + HANG_GUARD_S
        while not re.search(pattern, seen := self.shown if scrolled else self.screen, re.MULTILINE):
            assert time.monotonic() < deadline, f"no {pattern!r} in\n{seen}"
            time.sleep(LOOKED_S)
        return seen

    def _captured(self, *more: str) -> str:
        captured = self._tell("capture-pane", "-p", "-J", *more)
        return "\n".join(line.rstrip() for line in captured.splitlines())

    def _tell(self, *words: str) -> str:
        told = subprocess.run(
            [*self._tmux, *words],
            env=self._environ,
            cwd=self._home,
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout
