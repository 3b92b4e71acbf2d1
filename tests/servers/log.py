"""A server's log: read as it is written, kept for the test, waited on instead of slept for."""

from __future__ import annotations

import re
import threading
from typing import IO

from tests.waiting import HANG_GUARD_S


class ServerLog:
    """The lines a server writes, collected by a thread until the stream ends.

    Args:
        stream: The server's standard error; this object closes it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._collect, name="server-log", daemon=True)
        self._thread.start()

    @property
    def lines(self) -> tuple[str, ...]:
        """What was written so far."""
        with self._changed:
            return tuple(self._lines)

    def count(self, pattern: str) -> int:
        """Count the lines in which the regular expression ``pattern`` is found."""
        return sum(1 for line in self.lines if re.search(pattern, line))

    def wait_for(self, pattern: str, *, times: int = 1) -> str:
        """Wait until ``times`` lines match the regular expression ``pattern``; the last of them.

        Raises:
            AssertionError: The log ended, or the time did, before that; the log is in the message.
        """

        def matches() -> list[str]:
            return [line for line in self._lines if re.search(pattern, line)]

        with self._changed:
            self._changed.wait_for(lambda: len(matches()) >= times or self._ended, HANG_GUARD_S)
            found = matches()
            if len(found) < times:
                tail = "\n".join(self._lines[-40:])
                raise AssertionError(f"{len(found)} of {times} lines with {pattern!r} in the log:\n{tail}")
            return found[times - 1]

    def close(self) -> None:
        """Wait for the stream's end, which comes when the last process that could write to it is gone."""
        self._thread.join(HANG_GUARD_S)

    def _collect(self) -> None:
        with self._stream:
            for line in self._stream:
                with self._changed:
                    self._lines.append(line.decode(errors="replace").rstrip("\r\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
