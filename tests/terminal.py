"""A terminal with a shell in it, and a person who types (pty(7), setsid(1))."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from types import TracebackType
from typing import Self

from tests.program import MULTIRSH, Program
from tests.waiting import HANG_GUARD_S


class Terminal:
    """A pseudo-terminal whose session is a bash with job control, in which ``multirsh`` is the program.

    Attributes:
        seen: All that was written to it, the echo of what was typed included.
    """

    def __init__(self, program: Program) -> None:
        self.seen = ""
        self._used = 0
        self._master, slave = pty.openpty()
        rc = program.write(
            "bashrc",
            f"multirsh() {{ {' '.join(MULTIRSH)} \"$@\"; }}\nPS1='$ '\nPS2=\nstty cols 80 rows 24\n"
            "bind 'set enable-bracketed-paste off'\n",
        )
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--noprofile", "--rcfile", rc, "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=program.environ | {"NO_COLOR": "1"},
            cwd=program.home,
        )
        os.close(slave)
        self.expect(r"\$ $")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shell.kill()
        os.close(self._master)
        self._shell.wait(HANG_GUARD_S)

    def type(self, text: str) -> None:
        """Type ``text``; what ends a line is a carriage return."""
        os.write(self._master, text.encode())

    def expect(self, pattern: str) -> str:
        """Wait until ``pattern`` appears in what came since the last call.

        Returns:
            What came up to the end of the match.

        Raises:
            AssertionError: It does not in time; what came is in the message.
        """
        deadline = time.monotonic() + HANG_GUARD_S
        while (found := re.search(pattern, self.seen[self._used :], re.MULTILINE)) is None:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._master], [], [], left)[0]
            assert ready, f"no {pattern!r} in {self.seen[self._used :]!r}"
            self.seen += os.read(self._master, 65536).decode(errors="replace")
        start, self._used = self._used, self._used + found.end()
        return self.seen[start : self._used]

    def shows(self, text: str, *, within_s: float) -> bool:
        """Whether ``text`` appears soon in what came since the last call of ``expect``."""
        deadline = time.monotonic() + within_s
        while text not in self.seen[self._used :]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._master], [], [], left)[0]:
                return False
            self.seen += os.read(self._master, 65536).decode(errors="replace")
        return True

    def run(self, line: str) -> None:
        """Type a line, and take its echo."""
        self.type(line + "\r")
        self.expect(re.escape(line[-20:]) + r"\s*\n")

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed; asked of stty(1), at the shell's prompt."""
        self.run("stty -a | tr ';' '\\n' | grep -ow -e '-*echo'")
        return self.expect(r"^-?echo\b").endswith("\necho") or self.seen[: self._used].endswith("\necho")
