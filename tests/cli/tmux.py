"""A window of a real terminal emulator, tmux(1): what a person would see in it, whatever was written."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Final, Self

from tests.cli.program import MULTIRSH, Program
from tests.servers.requirement import program as installed

PATIENCE_S: Final = 45.0


class Window:
    """One with a bash in it, in which ``multirsh`` is the program. Ends as a context manager does."""

    def __init__(self, program: Program, *, columns: int = 80, lines: int = 24) -> None:
        # Not below the test's own folder: the path of a socket has 107 characters at the most (unix(7)).
        self._folder = tempfile.TemporaryDirectory(prefix="multirsh-tmux-")
        self._tmux = [
            str(installed("tmux", package="tmux")),
            "-S",
            f"{self._folder.name}/s",
            "-f",
            "/dev/null",
        ]
        self._environ = program.environ | {"TERM": "xterm-256color"}
        self._home = program.home
        rc = program.write("tmux-bashrc", f"multirsh() {{ {' '.join(MULTIRSH)} \"$@\"; }}\nPS1='$ '\n")
        shell = ["bash", "--noprofile", "--rcfile", str(rc), "-i"]
        self._tell("new-session", "-d", "-x", str(columns), "-y", str(lines), *shell)
        self.wait_for(r"^\$")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell("kill-server")
        self._folder.cleanup()

    def run(self, line: str) -> None:
        """Type a line."""
        self._tell("send-keys", "-l", line)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys, by their names in tmux(1), such as ``C-c``."""
        self._tell("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Make it wider or narrower."""
        self._tell("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self, *, scrolled: bool = False) -> str:
        """What is on it.

        Args:
            scrolled: Whether with what has left it at the top.

        Returns:
            Lines without blanks at their ends; lines that the window's width has broken are one.
        """
        shown = self._tell("capture-pane", "-p", "-J", *(("-S", "-") if scrolled else ()))
        return "\n".join(line.rstrip() for line in shown.splitlines())

    def wait_for(self, pattern: str) -> str:
        """Wait until ``pattern`` is there.

        Returns:
            The screen.

        Raises:
            AssertionError: It does not come in time; the screen is in the message.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, screen := self.screen(), re.MULTILINE):
            assert time.monotonic() < deadline, f"no {pattern!r} on\n{screen}"
            time.sleep(0.05)
        return screen

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
